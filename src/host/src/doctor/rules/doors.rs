//! Ways in besides the certificates of this CA, and settings that keep its certificates out.

use jit_ssh_core::names::Login;

use super::{by_value, few, set};
use crate::admission::{self, Weight};
use crate::doctor::facts::{Asked, Facts};
use crate::doctor::finding::Severity::{Critical, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};
use crate::settings::Guard;

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DoorWeakness {
    /// People's key files are read, and keys stand in some.
    StandingKeys { who: String, value: String, keys: String },
    /// People's key files are read; none has a key now.
    KeyFilesRead { who: String, value: String },
    /// A key file trusts a CA: whose file.
    StandingAuthority { user: String },
    /// A command names keys.
    KeysCommand { who: String, value: String },
    /// Another way to prove oneself is on: the way, and for whom.
    Open { way: Way, who: String },
    /// An empty password is one.
    EmptyPasswords { who: String },
    /// root may log in with a password.
    RootPassword,
    /// sshd does not care who may write to the files it believes.
    StrictModesOff { who: String },
    /// PAM is off; whether the guard needs it.
    NoPam { needed: bool },
    /// Nobody gets in with a certificate, or not everybody: the setting, whose logins, what to do.
    ShutOut { weight: Weight, who: String, problem: String, way_out: String },
}

/// Another way to prove oneself to sshd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By password.
    Password,
    /// By answering questions.
    Keyboard,
    /// By the word of another host.
    Hostbased,
    /// By Kerberos through GSSAPI.
    Gssapi,
    /// By a Kerberos password.
    Kerberos,
}

use DoorWeakness as W;

const WAYS: [Way; 5] = [Way::Password, Way::Keyboard, Way::Hostbased, Way::Gssapi, Way::Kerberos];

impl Way {
    fn keyword(self) -> &'static str {
        match self {
            Way::Password => "PasswordAuthentication",
            Way::Keyboard => "KbdInteractiveAuthentication",
            Way::Hostbased => "HostbasedAuthentication",
            Way::Gssapi => "GSSAPIAuthentication",
            Way::Kerberos => "KerberosAuthentication",
        }
    }

    /// What `AuthenticationMethods` calls it.
    fn method(self) -> &'static str {
        match self {
            Way::Password | Way::Kerberos => "password",
            Way::Keyboard => "keyboard-interactive",
            Way::Hostbased => "hostbased",
            Way::Gssapi => "gssapi-with-mic",
        }
    }

    fn code(self) -> &'static str {
        match self {
            Way::Password => "PASSWORD_LOGIN",
            Way::Keyboard => "KEYBOARD_INTERACTIVE_LOGIN",
            Way::Hostbased => "HOSTBASED_LOGIN",
            Way::Gssapi => "GSSAPI_LOGIN",
            Way::Kerberos => "KERBEROS_LOGIN",
        }
    }

    fn door(self) -> &'static str {
        match self {
            Way::Password => "passwords",
            Way::Keyboard => "keyboard-interactive (PAM's questions)",
            Way::Hostbased => "the word of other hosts",
            Way::Gssapi | Way::Kerberos => "Kerberos",
        }
    }
}

impl DoorWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::StandingKeys { who, value, keys } => Description::new(
                "STANDING_KEYS",
                Critical,
                format!("AuthorizedKeysFile is `{value}` for {who}, and keys stand there: {keys}. They let in at any time, without request, approval or end."),
                format!("take the keys out; {}", set("AuthorizedKeysFile none")),
            )
            .breaks(Effect::Door("standing keys")),
            W::KeyFilesRead { who, value } => Description::new(
                "KEY_FILES_READ",
                Warning,
                format!("AuthorizedKeysFile is `{value}` for {who}. No key stands there now, but whoever is let in once can leave one, and come back when the grant is over."),
                set("AuthorizedKeysFile none"),
            )
            .breaks(Effect::Door("keys people leave in authorized_keys")),
            W::StandingAuthority { user } => Description::new(
                "STANDING_AUTHORITY",
                Critical,
                format!("This line has `cert-authority`: whoever holds that key can make certificates to log in as {user}, for any time. Before OpenSSH 10.3, its principals= can be got round with a comma in a certificate."),
                "take the line out; let TrustedUserCAKeys of jit-ssh be the only CA",
            )
            .breaks(Effect::Door("certificates by other CAs")),
            W::KeysCommand { who, value } => Description::new(
                "KEYS_COMMAND",
                Warning,
                format!("AuthorizedKeysCommand is `{value}` for {who}: the keys it names let in without request, approval or end."),
                set("AuthorizedKeysCommand none"),
            )
            .breaks(Effect::Door("keys that a command names")),
            W::Open { way, who } => Description::new(
                way.code(),
                Warning,
                format!("{} is on for {who}: that lets in without request, approval or end.", way.keyword()),
                set(&format!("{} no", way.keyword())),
            )
            .breaks(Effect::Door(way.door())),
            W::EmptyPasswords { who } => Description::new(
                "EMPTY_PASSWORDS",
                Critical,
                format!("PermitEmptyPasswords is on for {who}: accounts without a password are open to everybody."),
                set("PermitEmptyPasswords no"),
            ),
            W::RootPassword => Description::new(
                "ROOT_PASSWORD",
                Critical,
                "PermitRootLogin is yes, and passwords are taken: whoever guesses root's has the host.",
                set("PermitRootLogin prohibit-password"),
            ),
            W::StrictModesOff { who } => Description::new(
                "STRICT_MODES_OFF",
                Warning,
                format!("StrictModes is off for {who}: sshd believes principals and key files that others may write to."),
                set("StrictModes yes"),
            ),
            W::NoPam { needed: true } => Description::new(
                "NO_PAM",
                Critical,
                "UsePAM is no: the hook never runs, so the guard hears of no session and ends none.",
                set("UsePAM yes"),
            )
            .breaks(Effect::Unended("sshd does not use PAM, so the hook never runs")),
            W::NoPam { needed: false } => Description::new(
                "NO_PAM",
                Warning,
                "UsePAM is no: accounts that PAM would refuse get in, and no guard could be told of sessions.",
                set("UsePAM yes"),
            ),
            W::ShutOut { weight: Weight::Shut, who, problem, way_out } => Description::new(
                "SHUT_OUT",
                Critical,
                format!("No certificate can log in as {who}: {problem}."),
                way_out,
            )
            .breaks(Effect::Shut("other settings of sshd keep them out")),
            W::ShutOut { weight: Weight::Doubt, who, problem, way_out } => Description::new(
                "MAY_BE_SHUT_OUT",
                Warning,
                format!("Logins as {who} may be refused: {problem}."),
                way_out,
            ),
        }
    }
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = key_files(facts);
    let command = "AuthorizedKeysCommand";
    for (value, who) in by_value(facts, |asked| Some(asked.effective.get(command).to_owned())) {
        if value != "none" {
            let place = facts.place_of(command, &value);
            findings.push(W::KeysCommand { who, value }.at(place));
        }
    }
    for way in WAYS {
        findings.extend(where_yes(
            facts,
            way.keyword(),
            |a| opens(a, way),
            |who| W::Open { way, who },
        ));
    }
    findings.extend(where_yes(
        facts,
        "PermitEmptyPasswords",
        |asked| asked.effective.is_on("PermitEmptyPasswords") && opens(asked, Way::Password),
        |who| W::EmptyPasswords { who },
    ));
    let root = facts.sshd.asked.iter().find(|asked| asked.user == "root");
    if root.is_some_and(|root| {
        root.effective.is_on("PermitRootLogin")
            && (opens(root, Way::Password) || opens(root, Way::Keyboard))
    }) {
        findings.push(W::RootPassword.at(facts.place_of("PermitRootLogin", "yes")));
    }
    for (value, who) in by_value(facts, |a| Some(a.effective.get("StrictModes").to_owned())) {
        if value == "no" {
            findings.push(W::StrictModesOff { who }.at(facts.place_of("StrictModes", "no")));
        }
    }
    let pam_is_off = facts.sshd.asked.iter().any(|asked| asked.effective.get("UsePAM") == "no");
    if pam_is_off {
        let needed = facts.settings().is_some_and(|settings| settings.guard != Guard::Off);
        findings.push(W::NoPam { needed }.at(facts.place_of("UsePAM", "no")));
    }
    findings.extend(shut_out(facts));
    findings
}

fn where_yes(
    facts: &Facts,
    keyword: &str,
    opens: impl Fn(&Asked) -> bool,
    weakness: impl Fn(String) -> DoorWeakness,
) -> Vec<Finding> {
    let open = by_value(facts, |asked| opens(asked).then(|| "yes".to_owned()));
    open.into_iter().map(|(_, who)| weakness(who).at(facts.place_of(keyword, "yes"))).collect()
}

/// Whether this way alone lets in, without any key or certificate beside it.
fn opens(asked: &Asked, way: Way) -> bool {
    let is_on = |keyword| asked.effective.is_on(keyword);
    // Its name before OpenSSH 8.7.
    let by_old_name = way == Way::Keyboard && is_on("ChallengeResponseAuthentication");
    // On Linux it is PAM that asks the questions.
    let is_idle = way == Way::Keyboard && asked.effective.get("UsePAM") == "no";
    if is_idle || !is_on(way.keyword()) && !by_old_name {
        return false;
    }
    let methods = asked.effective.get("AuthenticationMethods");
    matches!(methods, "any" | "none")
        || methods.split_whitespace().any(|list| {
            let mut names = list.split(',').map(|name| name.split(':').next().unwrap_or(name));
            names.clone().any(|name| name == way.method()) && !names.any(|name| name == "publickey")
        })
}

fn key_files(facts: &Facts) -> Vec<Finding> {
    const KEYWORD: &str = "AuthorizedKeysFile";
    let mut findings = Vec::new();
    let counted = |stand: &&crate::doctor::facts::StandingKeys| stand.keys > 0;
    let keys: Vec<String> = facts
        .standing
        .iter()
        .filter(counted)
        .map(|stand| format!("{} ({} in {})", stand.user, stand.keys, stand.file.display()))
        .collect();
    let values = by_value(facts, |asked| Some(asked.effective.get(KEYWORD).to_owned()));
    for (value, who) in values.into_iter().filter(|(value, _)| value != "none") {
        let place = facts.place_of(KEYWORD, &value);
        findings.push(match keys.is_empty() {
            true => W::KeyFilesRead { who, value }.at(place),
            false => W::StandingKeys { who, value, keys: few(&keys) }.at(place),
        });
    }
    for stand in &facts.standing {
        for line in &stand.authorities {
            let place = Place::line(&stand.file, *line);
            findings.push(W::StandingAuthority { user: stand.user.clone() }.at(place));
        }
    }
    findings
}

/// What keeps certificates out, for the logins they may be for.
fn shut_out(facts: &Facts) -> Vec<Finding> {
    let mut all: Vec<(admission::Obstacle, Vec<String>)> = Vec::new();
    let asked = facts.sshd.asked.iter().filter(|asked| asked.is_login && asked.for_match.is_none());
    for asked in asked {
        let Ok(login) = asked.user.parse::<Login>() else { continue };
        // Files of revoked keys have rules of their own.
        let exists = |_: &std::path::Path| true;
        for obstacle in admission::obstacles(&login, &facts.sshd.found, &asked.effective, exists) {
            match all.iter_mut().find(|(known, _)| *known == obstacle) {
                Some((_, who)) => who.push(asked.user.clone()),
                None => all.push((obstacle, vec![asked.user.clone()])),
            }
        }
    }
    let found = all.into_iter().map(|(obstacle, who)| {
        let place = place_of_any(facts, obstacle.keyword);
        let admission::Obstacle { weight, problem, way_out, .. } = obstacle;
        W::ShutOut { weight, who: few(&who), problem, way_out }.at(place)
    });
    found.collect()
}

fn place_of_any(facts: &Facts, keyword: &str) -> Place {
    let mut lines = facts.sshd.directives.iter().filter(|line| line.is(keyword));
    lines.next().map_or(Place::file(facts.layout.config()), |l| Place::line(&l.file, l.line))
}
