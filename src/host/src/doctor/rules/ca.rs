//! The file of CA keys: what sshd makes of each line.

use base64ct::{Base64, Encoding as _};

use crate::doctor::facts::{Facts, Look};
use crate::doctor::finding::Severity::{Critical, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CaWeakness {
    /// There is no such file.
    Missing,
    /// It can not be read: why.
    Unreadable(String),
    /// No key stands in it that sshd reads.
    Empty,
    /// A line that is no key, and how many keys sshd does not see for it.
    Malformed { blinded: usize },
    /// A certificate where a key should be.
    Certificate,
    /// A key that setup did not write.
    Added,
    /// The file is of another CA than the one in `host.toml`: which.
    OfAnother(String),
}

use CaWeakness as W;

const AGAIN: &str = "run jit-ssh-host setup again; it writes the file anew";

/// The kinds of key sshd reads.
const TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

impl CaWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::Missing => Description::new(
                "CA_FILE_MISSING",
                Critical,
                "The file of CA keys is not there: sshd accepts no certificate.",
                AGAIN,
            )
            .breaks(Effect::Shut("the file of CA keys is not there")),
            W::Unreadable(why) => Description::new(
                "CA_FILE_UNREADABLE",
                Critical,
                format!("The file of CA keys can not be read: {why}."),
                AGAIN,
            )
            .breaks(Effect::Shut("the file of CA keys can not be read")),
            W::Empty => Description::new(
                "CA_FILE_EMPTY",
                Critical,
                "sshd finds no key in the file of CA keys: it accepts no certificate.",
                AGAIN,
            )
            .breaks(Effect::Shut("no key stands in the file of CA keys")),
            W::Malformed { blinded } => Description::new(
                "CA_LINE_MALFORMED",
                Critical,
                format!("This line is no key. sshd stops reading here without a word: it does not see the keys below ({blinded}), and refuses their certificates."),
                "take the line out, or run jit-ssh-host setup again",
            ),
            W::Certificate => Description::new(
                "CA_LINE_CERTIFICATE",
                Warning,
                "This line is a certificate: sshd takes only plain keys for a CA, so it has no effect, and nobody should think it has.",
                "take the line out, or run jit-ssh-host setup again",
            ),
            W::Added => Description::new(
                "CA_KEY_ADDED",
                Critical,
                "jit-ssh-host did not write this key: whoever holds it can let anybody in, without any request or approval.",
                "take the line out, or run jit-ssh-host setup again",
            )
            .breaks(Effect::Door("certificates by other CAs")),
            W::OfAnother(ca) => Description::new(
                "CA_OF_ANOTHER",
                Critical,
                format!("The CA keys are of the CA {ca}, and host.toml names another."),
                "run jit-ssh-host setup again, for the CA this host is to trust",
            )
            .breaks(Effect::Door("certificates by other CAs")),
        }
    }
}

/// What sshd makes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing.
    Blank,
    /// A key.
    Key,
    /// A certificate.
    Certificate,
    /// The end of all it reads.
    Malformed,
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    if !facts.is_set_up() {
        return Vec::new();
    }
    let path = facts.layout.user_ca();
    let state = match &facts.user_ca {
        Look::Absent => return vec![W::Missing.at(Place::file(&path))],
        Look::Unreadable(why) => return vec![W::Unreadable(why.clone()).at(Place::file(&path))],
        Look::Seen(state) => state,
    };
    let text = String::from_utf8_lossy(&state.content);
    let lines: Vec<Line> = text.lines().map(read).collect();
    let is_key = |line: &&Line| **line == Line::Key;
    let mut findings = Vec::new();
    let mut seen = 0_usize;
    for (place, (line, text)) in lines.iter().zip(text.lines()).enumerate() {
        let place = Place::line(&path, place + 1);
        match line {
            Line::Blank => {}
            Line::Key => {
                seen += 1;
                if !text.contains(" jit-ssh signer ") {
                    findings.push(W::Added.at(place));
                }
            }
            Line::Certificate => findings.push(W::Certificate.at(place)),
            Line::Malformed => {
                let blinded = lines.iter().filter(is_key).count().saturating_sub(seen);
                findings.push(W::Malformed { blinded }.at(place));
                break;
            }
        }
    }
    if seen == 0 {
        findings.push(W::Empty.at(Place::file(&path)));
    }
    let of = text.lines().find_map(|line| {
        line.strip_prefix("# From bundle version ")?.split_once(" of the CA ").map(|(_, ca)| ca)
    });
    if let (Some(of), Some(settings)) = (of, facts.settings())
        && of != settings.ca.pin().to_string()
    {
        findings.push(W::OfAnother(of.chars().take(80).collect()).at(Place::file(&path)));
    }
    findings
}

/// Whether sshd reads on after this line of a file of keys.
pub(in crate::doctor) fn reads_on_after(line: &str) -> bool {
    read(line) != Line::Malformed
}

/// Whether this line is a plain key.
pub(crate) fn is_key(line: &str) -> bool {
    read(line) == Line::Key
}

fn read(line: &str) -> Line {
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return Line::Blank;
    }
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let (Some(kind), Some(base64)) = (words.next(), words.next()) else {
        return Line::Malformed;
    };
    let (plain, found) = match kind.split_once("-cert-v0") {
        Some((plain, _)) => (plain, Line::Certificate),
        None => (kind, Line::Key),
    };
    let is_known = TYPES.iter().any(|known| known.split('@').next() == plain.split('@').next());
    let blob = Base64::decode_vec(base64).unwrap_or_default();
    // The key names its own kind first: a length of four bytes, and the name.
    let named = blob.get(4..).is_some_and(|rest| rest.starts_with(kind.as_bytes()));
    let length = blob.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize);
    if is_known && named && length == Some(kind.len()) { found } else { Line::Malformed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_sshd_makes_of_it() {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";
        assert_eq!(read(key), Line::Key);
        assert_eq!(read(&format!("\t {key} a comment")), Line::Key);
        assert_eq!(read("  # x"), Line::Blank);
        for bad in [
            "x".to_owned(),
            format!("cert-authority {key}"),
            key.replace("ssh-ed25519", "ssh-rsa"),
            key.replace("C3Nza", "C3Nz!"),
            "ssh-ed25519".to_owned(),
        ] {
            assert_eq!(read(&bad), Line::Malformed, "{bad}");
        }
    }
}
