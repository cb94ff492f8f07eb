//! Judges what sshd says is in force. Pure.

use std::path::Path;

use jit_ssh_core::names::Login;

use crate::config::{Found, OUR_KEYWORDS, What};
use crate::content::JUMP_SETTINGS;
use crate::error::CommandError;
use crate::layout::Layout;
use crate::sshd::Effective;

/// What each of our keywords must be.
fn wanted(layout: &Layout, keyword: &str) -> String {
    match keyword {
        "TrustedUserCAKeys" => layout.trusted_user_ca_keys(),
        "AuthorizedPrincipalsFile" => layout.authorized_principals_file(),
        "RevokedKeys" => layout.revoked_keys().display().to_string(),
        // Principals file and command are ORed: a command would let in more than the file says.
        _ => "none".to_owned(),
    }
}

/// Checks that what we wrote is what is in force for `login`.
///
/// # Errors
/// Names the keyword, its value, and who sets it.
pub(crate) fn in_force(
    layout: &Layout,
    found: &[Found],
    login: &Login,
    effective: &Effective,
) -> Result<(), CommandError> {
    for keyword in OUR_KEYWORDS {
        let (wanted, is) = (wanted(layout, keyword), effective.get(keyword));
        if is == wanted {
            continue;
        }
        let error = CommandError::new(format!(
            "For logins as {login}, sshd would use `{keyword} {is}` instead of `{keyword} {wanted}`."
        ))
        .named("NOT_IN_FORCE");
        return Err(match culprit(found, keyword, is) {
            Some(place) => {
                error.hint(format!("{place} sets it: take that line out, then run setup again"))
            }
            None => error,
        });
    }
    Ok(())
}

/// Checks that the account of jumps can do nothing but what its principals file says.
///
/// # Errors
/// Names the keyword, its value, and what it must be.
pub(crate) fn jumps_held(login: &Login, effective: &Effective) -> Result<(), CommandError> {
    let is = |(keyword, _): &(&str, &str)| effective.get(keyword).to_owned();
    // An sshd that has no such keyword does not show it.
    let differs = |setting: &(&str, &str)| {
        let is = is(setting);
        !is.is_empty() && is != setting.1
    };
    let mut settings = JUMP_SETTINGS.iter().filter(|_| login.is_jump());
    let Some(setting) = settings.find(|setting| differs(setting)) else { return Ok(()) };
    let (keyword, wanted) = setting;
    Err(CommandError::new(format!(
        "For logins as {login}, sshd would use `{keyword} {}` instead of `{keyword} {wanted}`: then who jumps through this host could do more than that.",
        is(setting)
    ))
    .named("NOT_IN_FORCE")
    .hint(format!("look for a `Match` above our file that sets {keyword}: take it out, then run setup again")))
}

/// Checks that nothing we wrote is in force any more.
///
/// # Errors
/// Names the keyword and who still sets it.
pub(crate) fn gone(
    layout: &Layout,
    found: &[Found],
    login: &Login,
    effective: &Effective,
) -> Result<(), CommandError> {
    for keyword in ["TrustedUserCAKeys", "AuthorizedPrincipalsFile", "RevokedKeys"] {
        let ours = wanted(layout, keyword);
        if effective.get(keyword) != ours {
            continue;
        }
        let error = CommandError::new(format!(
            "For logins as {login}, sshd would still use `{keyword} {ours}`."
        ))
        .named("STILL_IN_FORCE");
        return Err(match culprit(found, keyword, &ours) {
            Some(place) => error.hint(format!("{place} sets it too: take that line out first")),
            None => error,
        });
    }
    Ok(())
}

/// Checks that sshd shows this host's certificate, or does not any more. `wanted` is its file, if it
/// should be shown.
///
/// # Errors
/// Says what it does instead.
pub(crate) fn host_certificate(
    layout: &Layout,
    wanted: Option<&Path>,
    effective: &Effective,
) -> Result<(), CommandError> {
    let ours = layout.host_certificate();
    let is_shown = effective.all("HostCertificate").iter().any(|shown| Path::new(shown) == ours);
    let (verb, name) = match (is_shown, wanted) {
        (true, Some(_)) | (false, None) => return Ok(()),
        (false, Some(_)) => ("would not show", "NOT_IN_FORCE"),
        (true, None) => ("would still show", "STILL_IN_FORCE"),
    };
    let error = format!("sshd {verb} the host certificate {}.", ours.display());
    Err(CommandError::new(error).named(name))
}

/// Where somebody else sets `keyword` to `value`.
fn culprit(found: &[Found], keyword: &str, value: &str) -> Option<String> {
    found.iter().find(|found| sets(&found.what, keyword, value)).map(place)
}

fn sets(what: &What, keyword: &str, value: &str) -> bool {
    matches!(what, What::Setting { keyword: k, value: v } if *k == keyword && v == value)
}

fn place(found: &Found) -> String {
    let place = format!("{}:{}", found.file.display(), found.line);
    match &found.under {
        Some(under) => format!("{place} (under `{under}`)"),
        None => place,
    }
}

/// What the command line lets setup push aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MayReplace {
    /// CAs of others.
    pub(crate) cas: bool,
    /// A list of revoked keys that somebody else keeps.
    pub(crate) revoked_keys: bool,
}

/// Refuses to push aside silently what people log in by, or what keeps them out: sshd takes the
/// first value only. `holds_something` says whether there is anything in a file.
///
/// # Errors
/// Names the setting, and the option that lets it be replaced.
pub(crate) fn may_replace(
    layout: &Layout,
    found: &[Found],
    before: &Effective,
    may: MayReplace,
    holds_something: impl Fn(&Path) -> bool,
) -> Result<(), CommandError> {
    let others = |keyword: &'static str| {
        let is = before.get(keyword);
        // What stands under a Match beats ours: that is found when sshd is asked afterwards.
        let under = |found: &Found| found.under.is_some() && sets(&found.what, keyword, is);
        let is_theirs = is != "none" && is != wanted(layout, keyword) && !found.iter().any(under);
        // One path, spaces and all; or several, which some versions take.
        let paths = std::iter::once(is).chain(is.split_whitespace());
        let mut paths = paths.filter(|_| is_theirs).map(Path::new);
        paths.any(&holds_something).then(|| is.to_owned())
    };
    if let Some(is) = others("TrustedUserCAKeys").filter(|_| !may.cas) {
        return Err(CommandError::new(format!(
            "`TrustedUserCAKeys {is}` is in force: sshd takes one such setting only, so logins by certificates of the CAs in it would fail."
        ))
        .named("OTHER_CAS")
        .hint("nothing is changed; if nobody needs them any more, say so with --replace-cas"));
    }
    if let Some(is) = others("RevokedKeys").filter(|_| !may.revoked_keys) {
        return Err(CommandError::new(format!(
            "`RevokedKeys {is}` is in force: sshd takes one such setting only, so what it revokes would count again."
        ))
        .named("OTHER_REVOKED_KEYS")
        .hint("nothing is changed; take the keys it revokes out of all authorized_keys, and the CAs it is about out of TrustedUserCAKeys")
        .hint("then say that it may go with --replace-revoked-keys"));
    }
    Ok(())
}

/// What deserves a word although our settings are in force: what they push aside, and what beats
/// them for connections nobody asked sshd about.
pub(crate) fn pushed_aside(layout: &Layout, found: &[Found], before: &Effective) -> Vec<String> {
    let mut words = Vec::new();
    for keyword in OUR_KEYWORDS {
        let (ours, is) = (wanted(layout, keyword), before.get(keyword));
        if is == "none" || is == ours {
            continue;
        }
        words.push(match keyword {
            // On 9.2 and 9.3 the last one wins, so ours may not: sshd is asked afterwards.
            "AuthorizedPrincipalsCommand" => format!(
                "`{keyword} {is}` is in force now; jit-ssh needs it off, since it would let in more than the principals files say."
            ),
            "RevokedKeys" => format!(
                "`{keyword} {is}` is in force now; jit-ssh's list takes its place, and what is revoked there counts again."
            ),
            _ => format!(
                "`{keyword} {is}` is in force now; jit-ssh's setting takes its place, so logins that need it will fail."
            ),
        });
    }
    for entry in found.iter().filter(|found| found.under.is_some()) {
        if let What::Setting { keyword, value } = &entry.what {
            words.push(format!(
                "{} sets `{keyword} {value}`; for connections it matches, jit-ssh's setting does not count.",
                place(entry)
            ));
        }
    }
    words
}

/// Whether sshd would refuse to read our principals files, because others may write to a folder
/// on the way to `etc`, `etc` itself included. `mode` gives a folder's permission bits.
pub(crate) fn open_to_others(
    effective: &Effective,
    etc: &Path,
    mode: impl Fn(&Path) -> Option<u32>,
) -> Option<String> {
    if effective.get("StrictModes") != "yes" {
        return None;
    }
    let open = etc.ancestors().find(|dir| mode(dir).is_some_and(|m| m & 0o022 != 0))?;
    Some(format!(
        "others may write to {}: with StrictModes, sshd ignores the principals files below it and refuses every certificate.",
        open.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "strictmodes yes\n\
        trustedusercakeys /e/jit-ssh/user_ca.pub\n\
        authorizedprincipalsfile /e/jit-ssh/principals/%u\n\
        authorizedprincipalscommand none\n\
        revokedkeys /e/jit-ssh/revoked.krl\n";

    fn layout() -> Layout {
        Layout::new(Path::new("/e"), None).unwrap()
    }

    fn judged(answer: &str) -> Result<(), CommandError> {
        in_force(&layout(), &[], &"deploy".parse().unwrap(), &Effective::of(answer))
    }

    #[test]
    fn every_keyword_must_be_as_written_and_no_command_in_force() {
        assert!(judged(GOOD).is_ok());
        assert!(judged(&GOOD.replace("authorizedprincipalscommand none\n", "")).is_ok());
        for (from, to) in [
            ("user_ca.pub", "user_ca"),
            ("principals/%u", "principals"),
            ("command none", "command /bin/true"),
            ("revoked.krl", "revoked"),
            ("revokedkeys /e/jit-ssh/revoked.krl\n", ""),
        ] {
            let error = judged(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains("For logins as deploy"), "{error}");
        }
        assert!(judged("").is_err());
    }

    #[test]
    fn nothing_of_ours_may_be_in_force_after_removal() {
        let login = "deploy".parse().unwrap();
        let judged = |answer: &str| gone(&layout(), &[], &login, &Effective::of(answer));
        assert!(judged("trustedusercakeys none\nauthorizedprincipalsfile /other/%u\n").is_ok());
        assert!(judged(GOOD).is_err());
        let only = |keyword: &str| GOOD.lines().find(|line| line.starts_with(keyword)).unwrap();
        for keyword in ["trustedusercakeys", "authorizedprincipalsfile", "revokedkeys"] {
            assert!(judged(only(keyword)).is_err(), "{keyword}");
        }
    }

    #[test]
    fn what_ours_pushes_aside_and_what_beats_ours_is_told() {
        let under = |who: &str| Some(format!("Match {who}"));
        let what = What::Setting { keyword: "TrustedUserCAKeys", value: "/x".to_owned() };
        let found = |under| Found { what: what.clone(), file: "/c".into(), line: 3, under };
        let told = |found: &[Found], before: &str| {
            pushed_aside(&layout(), found, &Effective::of(before)).join("\n")
        };
        assert_eq!(told(&[found(None)], GOOD), "");
        let keys = told(&[], "trustedusercakeys /x\n");
        assert!(keys.contains("`TrustedUserCAKeys /x` is in force"), "{keys}");
        assert!(keys.contains("takes its place"), "{keys}");
        let command = told(&[], "authorizedprincipalscommand /x\n");
        assert!(command.contains("`AuthorizedPrincipalsCommand /x` is in force"), "{command}");
        assert!(!command.contains("takes its place"), "it may not: {command}");
        let address = told(&[found(under("Address 10.0.0.0/8"))], GOOD);
        assert!(address.contains("/c:3 (under `Match Address 10.0.0.0/8`)"), "{address}");
    }

    #[test]
    fn what_others_live_by_is_replaced_only_where_that_was_said() {
        let judged = |before: &str, found: &[Found], may: MayReplace| {
            let holds = |path: &Path| path == Path::new("/x") || path == Path::new("/a b");
            may_replace(&layout(), found, &Effective::of(before), may, holds)
        };
        let (none, cas) = (MayReplace::default(), MayReplace { cas: true, revoked_keys: false });
        let lists = MayReplace { cas: false, revoked_keys: true };
        for (before, told) in [
            ("trustedusercakeys /x\n", cas),
            ("revokedkeys /x\n", lists),
            ("revokedkeys /a b\n", lists),
            ("revokedkeys /empty /x\n", lists),
        ] {
            for (may, accepted) in [(none, false), (cas, told == cas), (lists, told == lists)] {
                assert_eq!(judged(before, &[], may).is_ok(), accepted, "{before} {may:?}");
            }
        }
        for nothing_lost in [GOOD, "", "trustedusercakeys /empty\nrevokedkeys /empty\n"] {
            assert!(judged(nothing_lost, &[], none).is_ok(), "{nothing_lost}");
        }
        let what = What::Setting { keyword: "RevokedKeys", value: "/x".to_owned() };
        let under = Found { what, file: "/c".into(), line: 3, under: Some("Match all".into()) };
        assert!(judged("revokedkeys /x\n", &[under], none).is_ok(), "it will not be replaced");
    }

    #[test]
    fn a_folder_open_to_others_is_told_only_under_strict_modes() {
        let mode = |open: &'static str| {
            move |dir: &Path| Some(if dir == Path::new(open) { 0o775 } else { 0o755 })
        };
        let told = |answer: &str, open| {
            open_to_others(&Effective::of(answer), Path::new("/opt/e"), mode(open))
        };
        assert!(told(GOOD, "/opt").is_some_and(|word| word.contains("write to /opt:")));
        assert!(told(GOOD, "/").is_some());
        assert!(told(GOOD, "/usr").is_none());
        assert!(told("strictmodes no\n", "/opt").is_none());
    }
}
