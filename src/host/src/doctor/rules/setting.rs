//! The keywords of our drop-in: whether they are in force for everybody, by what sshd says.

use std::path::Path;

use super::by_value;
use crate::config::OUR_KEYWORDS;
use crate::content;
use crate::doctor::directives::Directive;
use crate::doctor::facts::{Facts, Look};
use crate::doctor::finding::Severity::{Critical, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingWeakness {
    /// sshd refuses its configuration: what it says.
    SshdRefuses(String),
    /// There is no drop-in, and nothing else sets our keywords.
    DropInMissing,
    /// The drop-in can not be read: why.
    DropInUnreadable(String),
    /// Somebody else wrote it, or changed its head.
    DropInForeign,
    /// Nothing reads it.
    DropInNotRead,
    /// It is read under this `Match`.
    DropInUnderMatch(String),
    /// This keyword is set before it.
    DropInNotFirst(&'static str),
    /// The CA keys are not ours: whose logins, what is in force.
    CaNotTrusted { who: String, value: String },
    /// Another file of CA keys is trusted.
    ForeignCa { who: String, value: String },
    /// The principals files are not ours.
    PrincipalsNotInForce { who: String, value: String },
    /// A command names principals; whether this sshd has the order fault.
    PrincipalsCommand { who: String, value: String, order_fault: bool },
    /// A command for principals is dropped for one for keys before it.
    OrderFault,
    /// A `Match` sets one of our keywords for connections nobody asked about.
    MatchOverrides { under: String, setting: String },
}

use SettingWeakness as W;

/// Keywords that open another way in, unless they are `no` or `none`.
const DOORS: [&str; 9] = [
    "AuthorizedKeysFile",
    "AuthorizedKeysCommand",
    "PasswordAuthentication",
    "KbdInteractiveAuthentication",
    "ChallengeResponseAuthentication",
    "HostbasedAuthentication",
    "GSSAPIAuthentication",
    "KerberosAuthentication",
    "PermitEmptyPasswords",
];

const AGAIN: &str = "run jit-ssh-host setup again; it says what stands in the way";

impl SettingWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::SshdRefuses(said) => Description::new(
                "SSHD_REFUSES",
                Critical,
                format!("{said} It would not start or reload, and what it enforces is unknown."),
                "mend the line that sshd names, then check with: sshd -t",
            )
            .breaks(Effect::Shut("sshd refuses its configuration")),
            W::DropInMissing => Description::new(
                "DROP_IN_MISSING",
                Critical,
                "The drop-in of jit-ssh is not there: nothing makes sshd use the CA keys and principals files.",
                AGAIN,
            ),
            W::DropInUnreadable(why) => Description::new(
                "DROP_IN_UNREADABLE",
                Critical,
                format!("The drop-in of jit-ssh can not be read: {why}."),
                "chmod 0644 it, owned by root; then run jit-ssh-host setup again",
            ),
            W::DropInForeign => Description::new(
                "DROP_IN_FOREIGN",
                Warning,
                "The drop-in does not begin as jit-ssh-host writes it: setup will refuse to touch it, and --remove to take it out.",
                "move it away, then run jit-ssh-host setup again",
            ),
            W::DropInNotRead => Description::new(
                "DROP_IN_NOT_READ",
                Critical,
                "No Include of sshd's configuration reads the drop-in: it has no effect.",
                "put `Include /etc/ssh/sshd_config.d/*.conf` first in sshd_config, or run jit-ssh-host setup again",
            ),
            W::DropInUnderMatch(under) => Description::new(
                "DROP_IN_UNDER_MATCH",
                Critical,
                format!("The Include that reads the drop-in stands under `{under}`: for other connections the drop-in has no effect."),
                "move the Include above every Match, to the head of the file",
            ),
            W::DropInNotFirst(keyword) => Description::new(
                "DROP_IN_NOT_FIRST",
                Warning,
                format!("{keyword} is set here before sshd reads the drop-in of jit-ssh; sshd takes the first value, so the drop-in's has no say."),
                "take this line out, or move the Include above it",
            ),
            W::CaNotTrusted { who, value } => Description::new(
                "CA_NOT_TRUSTED",
                Critical,
                format!("TrustedUserCAKeys is `{value}` for {who}: certificates of this host's CA are not accepted there."),
                AGAIN,
            )
            .breaks(Effect::Shut("sshd does not trust this host's CA keys")),
            W::ForeignCa { who, value } => Description::new(
                "FOREIGN_CA",
                Critical,
                format!("TrustedUserCAKeys is `{value}` for {who}: whoever holds a key in a file that is not jit-ssh's lets people in without any request or approval."),
                "take the line out that sets it; jit-ssh's drop-in then counts",
            )
            .breaks(Effect::Door("certificates by other CAs")),
            W::PrincipalsNotInForce { who, value } => Description::new(
                "PRINCIPALS_NOT_IN_FORCE",
                Critical,
                format!("AuthorizedPrincipalsFile is `{value}` for {who}: the principals files of jit-ssh do not decide there. Without any, sshd takes a certificate for the bare login, whatever host it was meant for."),
                "take the line out that sets it; jit-ssh's drop-in then counts",
            )
            .breaks(Effect::Unscoped),
            W::PrincipalsCommand { who, value, order_fault } => Description::new(
                "PRINCIPALS_COMMAND",
                Critical,
                format!(
                    "AuthorizedPrincipalsCommand is `{value}` for {who}: principals it names are let in besides those of the files.{}",
                    match order_fault {
                        true => " In OpenSSH 9.2 and 9.3 the last such line wins over the drop-in's `none`.",
                        false => "",
                    }
                ),
                "take the line out that sets it",
            )
            .breaks(Effect::Unscoped),
            W::OrderFault => Description::new(
                "ORDER_FAULT",
                Warning,
                "AuthorizedKeysCommand stands before this AuthorizedPrincipalsCommand: OpenSSH 9.2 and 9.3 silently drop the latter, other versions do not. After an upgrade, the command would name principals.",
                "take the AuthorizedPrincipalsCommand out: the principals files decide",
            ),
            W::MatchOverrides { under, setting } => Description::new(
                "MATCH_OVERRIDES",
                Warning,
                format!("`{setting}` stands under `{under}`: for connections it matches it decides who gets in or whether they are watched, and sshd could not be asked about one here."),
                "take the line out",
            ),
        }
    }
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(said) = &facts.sshd.refused {
        findings.push(W::SshdRefuses(said.clone()).at(Place::file(facts.layout.config())));
    }
    if facts.is_set_up() {
        findings.extend(drop_in(facts));
        findings.extend(in_force(facts));
    } else {
        findings.extend(foreign(facts));
    }
    findings.extend(order_fault(facts));
    findings.extend(unasked(facts));
    findings
}

fn drop_in(facts: &Facts) -> Vec<Finding> {
    let path = facts.layout.drop_in();
    let content = match &facts.drop_in {
        Look::Absent => return vec![W::DropInMissing.at(Place::file(&path))],
        Look::Unreadable(why) => {
            return vec![W::DropInUnreadable(why.clone()).at(Place::file(&path))];
        }
        Look::Seen(content) => content,
    };
    let mut findings = Vec::new();
    if !content::is_marked(content) {
        findings.push(W::DropInForeign.at(Place::file(&path)));
    }
    let all = &facts.sshd.directives;
    let Some(first) = all.iter().position(|line| line.file == path) else {
        findings.push(W::DropInNotRead.at(Place::file(facts.layout.config())));
        return findings;
    };
    let (before, ours) = all.split_at(first);
    if let Some(under) = ours.first().and_then(|line| line.under.clone()) {
        findings.push(W::DropInUnderMatch(under).at(Place::file(facts.layout.config())));
    }
    for line in before.iter().filter(|line| line.under.is_none()) {
        if let Some(keyword) = OUR_KEYWORDS.into_iter().find(|keyword| line.is(keyword)) {
            findings.push(W::DropInNotFirst(keyword).at(Place::line(&line.file, line.line)));
        }
    }
    findings
}

/// Our keywords by what sshd says, for everybody it was asked about.
fn in_force(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (ours, files) =
        (facts.layout.trusted_user_ca_keys(), facts.layout.authorized_principals_file());
    let is_ours = |value: &str| value.split_whitespace().any(|path| path == ours);
    // An account that is no login of this host needs no certificate.
    let of_logins = by_value(facts, |asked| {
        asked.is_login.then(|| asked.effective.get("TrustedUserCAKeys").to_owned())
    });
    for (value, who) in of_logins.into_iter().filter(|(value, _)| !is_ours(value)) {
        let place = facts.place_of("TrustedUserCAKeys", &value);
        findings.push(W::CaNotTrusted { who, value }.at(place));
    }
    for (value, who) in values(facts, "TrustedUserCAKeys") {
        if value.split_whitespace().any(|path| path != ours && path != "none") {
            let place = facts.place_of("TrustedUserCAKeys", &value);
            findings.push(W::ForeignCa { who, value }.at(place));
        }
    }
    for (value, who) in values(facts, "AuthorizedPrincipalsFile") {
        if value != files {
            let place = facts.place_of("AuthorizedPrincipalsFile", &value);
            findings.push(W::PrincipalsNotInForce { who, value }.at(place));
        }
    }
    for (value, who) in values(facts, "AuthorizedPrincipalsCommand") {
        if value != "none" {
            let place = facts.place_of("AuthorizedPrincipalsCommand", &value);
            let order_fault = has_order_fault(facts);
            findings.push(W::PrincipalsCommand { who, value, order_fault }.at(place));
        }
    }
    findings
}

/// On a host that is not set up, a CA that others brought is still worth a word.
fn foreign(facts: &Facts) -> Vec<Finding> {
    let trusted = values(facts, "TrustedUserCAKeys").into_iter();
    trusted
        .filter(|(value, _)| value != "none")
        .map(|(value, who)| {
            let place = facts.place_of("TrustedUserCAKeys", &value);
            W::ForeignCa { who, value }.at(place)
        })
        .collect()
}

fn values(facts: &Facts, keyword: &str) -> Vec<(String, String)> {
    by_value(facts, |asked| Some(asked.effective.get(keyword).to_owned()))
}

fn has_order_fault(facts: &Facts) -> bool {
    // Bug 3574; mended in 9.4.
    matches!(facts.sshd.version, Some((9, 2 | 3)))
}

fn order_fault(facts: &Facts) -> Option<Finding> {
    let lines = &facts.sshd.directives;
    let sets = |line: &&Directive, keyword: &str| line.is(keyword) && line.value() != "none";
    let keys = lines.iter().position(|line| sets(&line, "AuthorizedKeysCommand"))?;
    let (_, after) = lines.split_at(keys);
    let dropped = after.iter().find(|line| sets(line, "AuthorizedPrincipalsCommand"))?;
    let in_force = |value: &str| {
        facts.sshd.asked.iter().any(|a| a.effective.get("AuthorizedPrincipalsCommand") == value)
    };
    // One that is in force for somebody is told as what it is.
    let applies = has_order_fault(facts) && !in_force(&dropped.value());
    applies.then(|| W::OrderFault.at(Place::line(&dropped.file, dropped.line)))
}

/// Settings under a `Match` that no question to sshd fitted.
fn unasked(facts: &Facts) -> Vec<Finding> {
    let ours = |path: &Path| path == facts.layout.drop_in();
    let mut findings = Vec::new();
    for line in facts.sshd.directives.iter().filter(|line| !ours(&line.file)) {
        let Some(under) = &line.under else { continue };
        if !facts.sshd.unasked.contains(under) {
            continue;
        }
        let opens = DOORS.iter().any(|keyword| line.is(keyword))
            && !matches!(line.value().to_ascii_lowercase().as_str(), "no" | "none");
        // The hook is in one PAM service, and another has none.
        let avoids_hook = line.is("PAMServiceName")
            && facts.pam.file.file_name().is_some_and(|name| *name != *line.value());
        if opens || avoids_hook || OUR_KEYWORDS.iter().any(|keyword| line.is(keyword)) {
            let setting = format!("{} {}", line.keyword, line.value());
            let place = Place::line(&line.file, line.line);
            findings.push(W::MatchOverrides { under: under.clone(), setting }.at(place));
        }
    }
    findings
}
