//! What the system says of an account: whether it gives a shell, and what its password is worth. Pure.

/// Shells that are none: they say no, or nothing, and end.
const NO_SHELLS: [&str; 8] =
    ["nologin", "false", "true", "sync", "halt", "shutdown", "reboot", "git-shell"];

/// Whether this shell of `/etc/passwd` lets anybody work; `is_program` says whether it can be run.
pub(super) fn is_shell(shell: &str, is_program: impl Fn(&str) -> bool) -> bool {
    let shell = if shell.is_empty() { "/bin/sh" } else { shell };
    let name = shell.rsplit('/').next().unwrap_or(shell);
    !NO_SHELLS.contains(&name) && is_program(shell)
}

/// What `shadow(5)` says of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shadow {
    /// There is a password, and it is not locked.
    pub(super) has_password: bool,
    /// The password field begins with `!`: sshd refuses the account where it does without PAM.
    pub(super) is_locked: bool,
    /// Neither password nor key let in: the account's time is over, or its password's for too long.
    pub(super) has_expired: bool,
    /// Whoever comes must say the password and choose another first; a key alone is no use.
    pub(super) must_change: bool,
}

/// What `/etc/shadow` says of `login` on day `today`, counted from 1970-01-01; `None` if it is not in it.
pub(super) fn shadow(text: &str, login: &str, today: u64) -> Option<Shadow> {
    let line = text.lines().find(|line| line.split(':').next() == Some(login))?;
    let fields: Vec<&str> = line.split(':').collect();
    let hash = fields.get(1).copied().unwrap_or_default();
    // Empty or negative: it does not apply.
    let day = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok());
    let (changed, longest, grace, end) = (day(2), day(4), day(6), day(7));
    let due = changed.zip(longest).map(|(changed, longest)| changed.saturating_add(longest));
    let dead = due.zip(grace).map(|(due, grace)| due.saturating_add(grace));
    Some(Shadow {
        has_password: hash.starts_with('$'),
        is_locked: hash.starts_with('!'),
        has_expired: end.is_some_and(|end| today >= end) || dead.is_some_and(|dead| today > dead),
        must_change: changed == Some(0) || due.is_some_and(|due| today > due),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_one_that_can_be_run_and_does_not_only_say_no() {
        let there = |shell: &str| shell != "/bin/gone";
        for (shell, expected) in [
            ("/bin/bash", true),
            ("", true),
            ("/usr/sbin/nologin", false),
            ("/sbin/nologin", false),
            ("/bin/false", false),
            ("/usr/bin/git-shell", false),
            ("/bin/gone", false),
        ] {
            assert_eq!(is_shell(shell, there), expected, "{shell}");
        }
    }

    #[test]
    fn an_account_is_locked_or_over_by_what_shadow_says() {
        let today = 20_000;
        let open = Shadow { has_password: true, ..Shadow::default() };
        let none = Shadow::default();
        for (line, expected) in [
            ("a:$y$j9T$x:19999:0:99999:7:::", open),
            ("a:$6$x", open),
            ("a:*:19999:0:99999:7:::", none),
            ("a::19999::::::", none),
            ("a:!:19999:0:99999:7:::", Shadow { is_locked: true, ..none }),
            ("a:!$y$x:19999:0:99999:7:::", Shadow { is_locked: true, ..none }),
            ("a:$y$x:19999:0:99999:7::20001:", open),
            ("a:$y$x:19999:0:99999:7::20000:", Shadow { has_expired: true, ..open }),
            ("a:$y$x:19999:0:99999:7::1:", Shadow { has_expired: true, ..open }),
            ("a:$y$x:19900:0:100:7:0::", open),
            ("a:$y$x:19899:0:100:7:::", Shadow { must_change: true, ..open }),
            ("a:$y$x:19899:0:100:7:1::", Shadow { must_change: true, ..open }),
            ("a:$y$x:19898:0:100:7:1::", Shadow { must_change: true, has_expired: true, ..open }),
            ("a:$y$x:0:0:99999:7:::", Shadow { must_change: true, ..open }),
        ] {
            let text = format!("root:*:1::::::\n{line}\nab:$x:1\n");
            assert_eq!(shadow(&text, "a", today), Some(expected), "{line}");
        }
        assert_eq!(shadow("ab:$y$x:1", "a", today), None);
    }
}
