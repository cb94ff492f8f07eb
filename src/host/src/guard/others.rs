//! Who is in a session's control group, or descends from its monitor, and is not the session's.
//!
//! What root starts in a session stays in its group: an sshd that was restarted by hand, where no
//! systemd puts it into a group of its own, and with it everybody who logs in by it in other ways than
//! our certificates. Such an sshd is taken out of the group with all that descends from it: soon after it
//! appears, so that what detaches itself later is not in the group either, and once more before the
//! group is killed.
//!
//! Nobody but root can use that to outlive a session: only sshd as root counts, from a program that only
//! root can write, that holds a TCP socket (a listener, or another connection's monitor).

use std::collections::BTreeSet;
use std::fs;

use super::cgroup::{Cgroup, Cgroups};
use super::log::{self, Level};
use super::process::{ProcessId, Snapshot, Stat, check_is_sshd_of_root, stat};
use super::row::Row;

/// How often a group is looked through again: whoever is forked meanwhile may still be in it.
const ROUNDS: usize = 10;

/// Which of these processes are no part of the session of `monitor`, and what descends from them:
/// parents before their children.
pub(super) fn among(candidates: impl IntoIterator<Item = i32>, monitor: i32) -> Vec<Stat> {
    let roots = candidates.into_iter().filter(|pid| *pid != monitor && is_another_sshd(*pid));
    let roots: Vec<Stat> =
        roots.filter_map(stat).filter(|stat| !is_of_monitor(stat, monitor)).collect();
    if roots.is_empty() {
        return roots;
    }
    let all = Snapshot::take();
    let mut found: Vec<Stat> = Vec::new();
    for root in roots {
        let more = std::iter::once(root).chain(all.descendants(root.id.pid));
        for stat in more.collect::<Vec<_>>() {
            if stat.id.pid != monitor && found.iter().all(|known| known.id != stat.id) {
                found.push(stat);
            }
        }
    }
    found
}

/// Whether it is the monitor's own child, which serves the user: from OpenSSH 9.9 on it is an sshd as root
/// with the connection's socket where root logs in. It stays in the session (`setsid(2)`) that its monitor
/// began; whatever it runs for the user begins one of its own.
fn is_of_monitor(stat: &Stat, monitor: i32) -> bool {
    stat.session == monitor || stat.parent == monitor
}

/// A listener, or the monitor of a connection.
fn is_another_sshd(pid: i32) -> bool {
    check_is_sshd_of_root(pid).is_ok() && holds_tcp(pid)
}

fn holds_tcp(pid: i32) -> bool {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let sockets: BTreeSet<String> = links
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    !sockets.is_empty()
        && ["tcp", "tcp6"].iter().any(|name| {
            // As its own network has them.
            let table = fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
            inodes(&table).any(|inode| sockets.contains(inode))
        })
}

/// The sockets in a table like `/proc/net/tcp`: field 10 of `proc_net_tcp`, after a heading.
fn inodes(table: &str) -> impl Iterator<Item = &str> {
    table.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(9))
}

/// Takes out of a session's group who is not the session's. Gives those that could not be.
pub(super) fn take_out(row: &Row, group: &Cgroup, cgroups: Option<&Cgroups>) -> Vec<ProcessId> {
    let mut left = Vec::new();
    for _ in 0..ROUNDS {
        left = among(group.members(), row.monitor.pid);
        // Who descends from them may be elsewhere already, in a group of their own.
        let members: BTreeSet<i32> = group.members().into_iter().collect();
        left.retain(|stat| members.contains(&stat.id.pid));
        if left.is_empty() {
            break;
        }
        let Some(cgroups) = cgroups else { break };
        let moved: Vec<&Stat> =
            left.iter().filter(|stat| cgroups.take_home(stat.id).is_ok()).collect();
        for stat in &moved {
            if is_another_sshd(stat.id.pid) {
                say(row, stat.id, "it is taken out of its control group and goes on");
            }
        }
        if moved.is_empty() {
            break;
        }
    }
    left.into_iter().map(|stat| stat.id).collect()
}

/// Says what becomes of such an sshd.
pub(super) fn say(row: &Row, sshd: ProcessId, what: &str) {
    log::say(
        Level::Warning,
        &format!(
            "sshd {}, which was started in {}, is not the session's: {what}.",
            sshd.pid,
            row.title()
        ),
    );
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_are_found_by_who_holds_them_and_only_sshd_of_root_counts() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(holds_tcp(own) && !holds_tcp(pid));
        // This test listens, and is no sshd.
        assert!(among([own, pid], 1).is_empty());
        drop(listener);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_child_of_a_monitor_is_its_own_even_when_the_monitor_has_gone() {
        let of = |parent, session| Stat {
            id: super::super::process::ProcessId { pid: 9, start: 1 },
            parent,
            session,
            terminal: 0,
        };
        assert!(is_of_monitor(&of(7, 7), 7) && is_of_monitor(&of(1, 7), 7));
        // An sshd that does not call setsid stands below the user's shell.
        assert!(!is_of_monitor(&of(1, 9), 7) && !is_of_monitor(&of(8, 8), 7));
    }

    #[test]
    fn a_table_of_sockets_is_read_by_its_columns() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:A0E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0\n";
        assert_eq!(inodes(table).collect::<Vec<_>>(), ["4711"]);
        assert_eq!(inodes("").count(), 0);
    }
}
