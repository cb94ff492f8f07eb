//! `revoked.krl`, the file of sshd's `RevokedKeys`: the lists of all signers in one. Pure.
//!
//! sshd refuses every key when the file is missing, unreadable or cut short, and believes any list it
//! is given: so there is always one, and only of what a signer signed.

use std::num::NonZeroU16;

use jit_ssh_api::v1::GetKrlResponse;
use jit_ssh_core::bundle::{SignerInfo, Signers};
use jit_ssh_core::krl::{self, Krl, Revocations};
use jit_ssh_core::log::VerifierKey;

/// What the signers revoked, as far as the CA told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    /// The list of each signer that is known, in the order of the bundle.
    known: Vec<Krl>,
    /// The signers whose list is not known.
    lacking: Vec<NonZeroU16>,
}

impl Lists {
    /// Believes of an answer only what the signers of the bundle signed.
    ///
    /// # Errors
    /// What does not hold, as a sentence without its full stop.
    pub(crate) fn verified(signers: &Signers, answer: &GetKrlResponse) -> Result<Lists, String> {
        let mut lists = Lists::default();
        for signer in signers.iter() {
            let number = u32::from(signer.number.get());
            match answer.krls.iter().find(|sent| sent.signer == number) {
                Some(sent) => lists.known.push(open(signer, &sent.note)?),
                None => lists.lacking.push(signer.number),
            }
        }
        Ok(lists)
    }

    /// These lists, and the signers whose list is not known.
    pub(crate) fn of(known: Vec<Krl>, lacking: Vec<NonZeroU16>) -> Lists {
        Lists { known, lacking }
    }

    /// Lists of signers who say nothing.
    pub(crate) fn unknown(signers: &Signers) -> Lists {
        let lacking = signers.iter().map(|signer| signer.number).collect();
        Lists { known: Vec::new(), lacking }
    }

    fn version(&self) -> u64 {
        self.known.iter().map(Krl::version).max().unwrap_or(0)
    }
}

/// The list in a note, if this signer signed it and it is of its CA key.
///
/// # Errors
/// What does not hold, as a sentence without its full stop.
pub(crate) fn open(signer: &SignerInfo, note: &[u8]) -> Result<Krl, String> {
    let number = signer.number;
    let key: VerifierKey = signer
        .log_key
        .parse()
        .map_err(|error| format!("signer {number} has no usable log key: {error}"))?;
    let list = krl::open(note, &key).map_err(|error| {
        format!("the revocation list of signer {number} is not its own: {error}")
    })?;
    match *list.ca_key() == signer.ca_key {
        true => Ok(list),
        false => Err(format!("the revocation list of signer {number} is for another CA key")),
    }
}

/// The file that should be there, where `in_place` is the one of the same CA that is; with a word
/// where what is there stays. What is there may revoke more than what the CA tells now.
pub(crate) fn choose(lists: &Lists, in_place: Option<&[u8]>) -> (Vec<u8>, Option<String>) {
    let known = in_place.and_then(|bytes| Some((bytes, Revocations::parse(bytes).ok()?)));
    let lacking: Vec<String> = lists.lacking.iter().map(ToString::to_string).collect();
    let lacking = lacking.join(", ");
    match known {
        Some((bytes, list)) if list.version() > lists.version() => {
            let (old, new) = (list.version(), lists.version());
            let word = format!(
                "the CA offers version {new} of the revocation list, and version {old} is in place: it stays."
            );
            (bytes.to_vec(), Some(word))
        }
        Some((bytes, _)) if !lists.lacking.is_empty() => {
            let word = format!(
                "the CA does not serve the revocation list of signer {lacking}: the list in place stays."
            );
            (bytes.to_vec(), Some(word))
        }
        _ => {
            let word = format!(
                "the CA does not serve the revocation list of signer {lacking}: what it revoked before now is not known here."
            );
            (Krl::join(&lists.known), Some(word).filter(|_| !lists.lacking.is_empty()))
        }
    }
}

/// Whether a file is a list, or a rest of one, that sshd may have been told to read.
pub(crate) fn is_list(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.starts_with(b"SSHKRL\n\0")
}

#[cfg(test)]
pub(crate) mod tests;
