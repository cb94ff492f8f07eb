//! How often one address may be wrong. What is right is bounded per person, by the signer.
//!
//! Calls that carry a statement need no session, and checking a bad one costs work: so an address
//! that keeps sending what is refused for its form, signature or name is not heard for a while, in
//! this kind of call. Many people can share an address: what one of them does wrong must not silence
//! the others in everything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;

/// Refusals of one address in one kind of call in a minute.
const MAX_FAULTS: u32 = 1200;
/// Addresses remembered, once for each kind of call; when there are more, all begin anew.
const MAX_ADDRESSES: usize = 8192;

/// Counts faults by address and kind of call.
#[derive(Default)]
pub(super) struct Rates {
    faults: Mutex<HashMap<Source, Faults>>,
    /// How many addresses are remembered: none in peace, and then nothing is locked.
    remembered: AtomicUsize,
}

/// An address, and which call it makes.
type Source = (IpAddr, &'static str);

#[derive(Clone, Copy, Default)]
struct Faults {
    minute: u64,
    count: u32,
}

impl Rates {
    /// Hears an address out in calls of `method`, or not.
    ///
    /// # Errors
    /// [`Reason::Quota`].
    pub(super) fn admit(
        &self,
        address: IpAddr,
        method: &'static str,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        if self.remembered.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let known = self.faults().get(&(address, method)).copied().unwrap_or_default();
        if known.minute == minute(now) && known.count >= MAX_FAULTS {
            return Err(Refusal::new(
                Reason::Quota,
                format!("{address} has sent too much that was refused in this minute."),
            )
            .hint("wait a minute"));
        }
        Ok(())
    }

    /// Notes a refusal, if it is of a kind that only nonsense or an attack brings in numbers.
    pub(super) fn note(
        &self,
        address: IpAddr,
        method: &'static str,
        reason: Reason,
        now: UnixTime,
    ) {
        match reason {
            Reason::Malformed
            | Reason::BadSignature
            | Reason::WrongCa
            | Reason::ClockSkew
            | Reason::UnknownSigner
            | Reason::UnknownRequest
            | Reason::UnknownHost
            | Reason::NoSession
            | Reason::BundleRefused => {}
            _ => return,
        }
        let mut faults = self.faults();
        if faults.len() >= MAX_ADDRESSES && !faults.contains_key(&(address, method)) {
            faults.clear();
        }
        let known = faults.entry((address, method)).or_default();
        if known.minute != minute(now) {
            *known = Faults { minute: minute(now), count: 0 };
        }
        known.count = known.count.saturating_add(1);
        self.remembered.store(faults.len(), Ordering::Relaxed);
    }

    /// Forgets the minutes that are over.
    pub(super) fn sweep(&self, now: UnixTime) {
        let mut faults = self.faults();
        faults.retain(|_, known| known.minute == minute(now));
        self.remembered.store(faults.len(), Ordering::Relaxed);
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<Source, Faults>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute(now: UnixTime) -> u64 {
    now.0 / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_keeps_being_wrong_is_not_heard_until_the_next_minute() {
        let (bad, good) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let (now, rates) = (UnixTime(6000), Rates::default());
        for _ in 0..MAX_FAULTS {
            assert_eq!(rates.admit(bad, "Submit", now), Ok(()));
            rates.note(bad, "Submit", Reason::BadSignature, now);
            rates.note(good, "Submit", Reason::NotApproved, now);
        }
        let refused = rates.admit(bad, "Submit", now).unwrap_err();
        assert_eq!(refused.reason, Reason::Quota);
        assert_eq!(rates.admit(good, "Submit", now), Ok(()));
        // Who shares the address and makes another kind of call is heard.
        assert_eq!(rates.admit(bad, "OpenSession", now), Ok(()));
        assert_eq!(rates.admit(bad, "Submit", UnixTime(6060)), Ok(()));
        rates.sweep(UnixTime(6060));
        assert_eq!(rates.admit(bad, "Submit", now), Ok(()));
    }
}
