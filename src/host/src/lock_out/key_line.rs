//! One line of an `authorized_keys` file: whether it lets its holder in to a shell. Pure.

use jit_ssh_core::time::{Date, UnixTime};

use crate::doctor::gather::keys::options;
use crate::doctor::rules::ca;

/// What a line of a DSA key begins with.
const DSA: &str = "ssh-dss";

/// The furthest that a clock of this earth is ahead of UTC, in seconds.
const FURTHEST_AHEAD: u32 = 14 * 3_600;

/// Whether whoever holds this line's key gets a shell by it at `now`, as far as the line itself says: not
/// where it forces a command, has expired, or trusts a CA, whose key is no key to log in with; nor by a DSA
/// key, which no sshd takes by itself since OpenSSH 7.0.
pub(super) fn opens_shell(line: &str, now: UnixTime) -> bool {
    let line = line.trim();
    if line.starts_with('#') {
        return false;
    }
    let (options, key) = match ca::is_key(line) {
        true => (Vec::new(), line),
        false => options(line),
    };
    ca::is_key(key)
        && !key.starts_with(DSA)
        && options.iter().all(|option| allows_shell(option, now))
}

fn allows_shell(option: &str, now: UnixTime) -> bool {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match name.to_ascii_lowercase().as_str() {
        "command" | "cert-authority" => false,
        // sshd refuses a line whose time it can not read.
        "expiry-time" => expiry(value).is_some_and(|expiry| now < expiry),
        _ => true,
    }
}

/// `YYYYMMDD[HHMM[SS]][Z]`, at the earliest that it can be: without a Z it is this machine's local time.
fn expiry(value: &str) -> Option<UnixTime> {
    let (digits, behind) = match value.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, 0),
        None => (value, FURTHEST_AHEAD),
    };
    let is_time = [8, 12, 14].contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let two = |at: usize| match digits.get(at..at.saturating_add(2)) {
        Some(two) => two.parse::<u32>().ok(),
        None => Some(0),
    };
    let (date, hour, minute, second) = (digits.get(..8)?, two(8)?, two(10)?, two(12)?);
    if !is_time || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let day: Date =
        format!("{}-{}-{}", date.get(..4)?, date.get(4..6)?, date.get(6..)?).parse().ok()?;
    let clock = hour.saturating_mul(3_600).saturating_add(minute.saturating_mul(60));
    Some(day.end().minus_secs(86_400).plus_secs(clock.saturating_add(second)).minus_secs(behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";
    /// 2026-11-24 12:00:00 UTC.
    const NOW: UnixTime = UnixTime(1_795_521_600);

    #[test]
    fn a_key_opens_a_shell_unless_its_line_says_otherwise() {
        let opens = |line: &str| opens_shell(line, NOW);
        for good in [
            KEY.to_owned(),
            format!("  {KEY} bob@desk, command=no"),
            format!("from=\"10.0.0.0/8\",no-pty {KEY}"),
            format!("restrict,pty {KEY} x"),
            format!("environment=\"A=command=\\\"x\\\",cert-authority\" {KEY}"),
            format!("expiry-time=\"20261125Z\" {KEY}"),
            format!("expiry-time=\"202611241201Z\" {KEY}"),
            format!("expiry-time=\"20261126\" {KEY}"),
        ] {
            assert!(opens(&good), "{good}");
        }
        for bad in [
            String::new(),
            format!("# {KEY}"),
            "ssh-ed25519 nonsense".to_owned(),
            format!("command=\"/usr/bin/backup\" {KEY}"),
            format!("restrict,Command=\"x y\" {KEY}"),
            format!("cert-authority {KEY}"),
            format!("principals=\"a,b\",CERT-authority {KEY}"),
            format!("expiry-time=\"20261124Z\" {KEY}"),
            format!("expiry-time=\"20261124120000Z\" {KEY}"),
            // Of local time nobody knows more here than that it may be over.
            format!("expiry-time=\"202611242359\" {KEY}"),
            format!("expiry-time=\"soon\" {KEY}"),
            format!("expiry-time=\"2026112412\" {KEY}"),
            format!("expiry-time=\"20261341\" {KEY}"),
            format!("expiry-time {KEY}"),
            "command=\"x\"".to_owned(),
            "ssh-dss AAAAB3NzaC1kc3MAAAABeA== old".to_owned(),
            "no-pty ssh-dss AAAAB3NzaC1kc3MAAAABeA== old".to_owned(),
        ] {
            assert!(!opens(&bad), "{bad}");
        }
    }
}
