//! The revocation list as the front passes it on.

use jit_ssh_api::v1;
use jit_ssh_core::krl;
use jit_ssh_core::refusal::{Reason, Refusal};

use super::front::Log;

/// The revocation list that the signer published last. One that the signer did not sign is not passed
/// on: a host would keep what it has, and not know why.
pub(super) fn signed_krl(log: &Log) -> Result<v1::SignedKrl, Refusal> {
    note(log).and_then(|note| verified(log, &note)).map_err(|problem| {
        tracing::error!(%problem, "the revocation list can not be served");
        Refusal::new(Reason::LogUnavailable, "the revocation list can not be read now.")
            .hint("try again; an admin finds the cause in the front's and the signer's output")
    })
}

/// The newest list as it lies on the disk, not yet verified.
///
/// # Errors
/// Why there is none, for the front's log.
pub(super) fn note(log: &Log) -> Result<Vec<u8>, String> {
    let note = log.tiles().krl_note().map_err(|error| error.to_string())?;
    note.ok_or_else(|| "the signer has published none".to_owned())
}

/// What hosts are told of a note, if the signer signed it.
///
/// # Errors
/// Why it is not passed on, for the front's log.
pub(super) fn verified(log: &Log, note: &[u8]) -> Result<v1::SignedKrl, String> {
    let krl = krl::open(note, &log.key).map_err(|error| error.to_string())?;
    let (signer, krl) = (u32::from(log.signer), krl.to_bytes().into());
    Ok(v1::SignedKrl { signer, krl, note: note.to_vec().into() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jit_ssh_core::certificate::Serial;
    use jit_ssh_core::krl::Krl;
    use jit_ssh_core::time::UnixTime;
    use jit_ssh_signer::log::{LogKey, LogStore};

    use super::*;
    use crate::testkeys::ca_key;

    fn key(seed: u8) -> LogKey {
        LogKey::from_seed("jit-ssh/test/1", &[seed; 32]).unwrap()
    }

    #[test]
    fn the_signers_newest_list_is_served_and_one_it_did_not_sign_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = dir.path().join("log");
        let log = Log { dir: log_dir.clone(), signer: 1, key: key(60).verifier().clone() };
        let reason = || signed_krl(&log).unwrap_err().reason;
        assert_eq!(reason(), Reason::LogUnavailable, "none was published");

        let (mut store, _) =
            LogStore::open(&log_dir, &dir.path().join("journal"), key(60)).unwrap();
        let serials: BTreeSet<Serial> = Serial::from_u64((1 << 48) + 5).into_iter().collect();
        for version in [7, 8] {
            let krl = Krl::new(version, UnixTime(9), ca_key(50), serials.clone());
            store.publish_krl(&krl).unwrap();
            let served = signed_krl(&log).unwrap();
            assert_eq!((served.signer, &served.krl[..]), (1, &krl.to_bytes()[..]));
            assert_eq!(krl::open(&served.note, &log.key).unwrap(), krl);
        }
        let path = log_dir.join("krl");
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[..good.len() - 4]).unwrap();
        assert_eq!(reason(), Reason::LogUnavailable);
        std::fs::write(&path, &good).unwrap();
        assert!(signed_krl(&log).is_ok());
        let other = Log { key: key(61).verifier().clone(), ..log };
        assert_eq!(signed_krl(&other).unwrap_err().reason, Reason::LogUnavailable);
    }
}
