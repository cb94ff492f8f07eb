//! One alarm on the wall clock, which also rings when somebody sets that clock.

use std::os::fd::OwnedFd;

use jit_ssh_core::time::UnixTime;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// The alarm.
#[derive(Debug)]
pub(crate) struct Alarm {
    fd: OwnedFd,
    set: Option<UnixTime>,
}

impl Alarm {
    /// An alarm that is not set.
    pub(crate) fn new() -> std::io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Alarm { fd: timerfd_create(TimerfdClockId::Realtime, flags)?, set: None })
    }

    /// What to wait for.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Sets it to a moment, or to none.
    pub(crate) fn set(&mut self, at: Option<UnixTime>) -> std::io::Result<()> {
        if self.set == at {
            return Ok(());
        }
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        // The first moment of 1970 would mean "never".
        let seconds = at.map_or(0, |at| i64::try_from(at.0.max(1)).unwrap_or(i64::MAX));
        let value =
            Itimerspec { it_interval: none, it_value: Timespec { tv_sec: seconds, ..none } };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        let set = || timerfd_settime(&self.fd, flags, &value);
        // Where the clock was set since, the first call only says so (timerfd_create(2), NOTES).
        match set() {
            Err(Errno::CANCELED) => set()?,
            done => done?,
        };
        self.set = at;
        Ok(())
    }

    /// Takes note that it rang: at its moment, or because the clock was set.
    pub(crate) fn take(&mut self) {
        let mut count = [0u8; 8];
        // Either a count or "the clock was set": whoever calls looks at the clock anyway.
        let _ = rustix::io::read(&self.fd, &mut count);
        self.set = None;
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::time::{ClockId, clock_gettime, clock_settime};

    use super::*;
    use crate::clock::now;

    fn rings(alarm: &Alarm) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(alarm.fd(), PollFlags::IN)], Some(&at_once)).unwrap() == 1
    }

    #[test]
    fn it_rings_at_its_moment_and_when_somebody_sets_the_clock() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Some(UnixTime(now().0 - 1))).unwrap();
        assert!(rings(&alarm));
        alarm.take();
        let later = Some(UnixTime(now().0 + 3_600));
        alarm.set(later).unwrap();
        assert!(!rings(&alarm));
        // To what it is: nobody is the worse for it, and the kernel tells all the same.
        match clock_settime(ClockId::Realtime, clock_gettime(ClockId::Realtime)) {
            Ok(()) => {}
            Err(error) => {
                eprintln!("partly skipped: the clock can not be set here ({error})");
                return;
            }
        }
        assert!(rings(&alarm));
        alarm.take();
        alarm.set(later).unwrap();
        assert!(!rings(&alarm));
    }
}
