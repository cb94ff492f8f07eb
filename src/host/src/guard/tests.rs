//! With certificates and lists that the real ssh-keygen makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use jit_ssh_core::certificate::Presented;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::krl::Revocations;
use jit_ssh_core::time::UnixTime;
use tempfile::TempDir;

use super::event::Cause;
use super::process::{Process, ProcessId};
use super::revoked::Revoked;
use super::row::{Grant, New, Row};
use super::state::StateFile;
use super::table::Table;
use super::watched::Watched;
use crate::clock::Moment;

const NOW: UnixTime = UnixTime(1_790_000_000);
const MOMENT: Moment = Moment { wall: NOW, boot: 5_000 };
const ID: &str = "alice/7kq2m9xw4p/";

struct Ca {
    dir: TempDir,
    key: CaKey,
}

impl Ca {
    fn new() -> Ca {
        let dir = TempDir::new().unwrap();
        for key in ["ca", "subject"] {
            keygen(dir.path(), &["-q", "-t", "ed25519", "-N", "", "-f", key]);
        }
        let line = fs::read_to_string(dir.path().join("ca.pub")).unwrap();
        Ca { key: line.trim().parse().unwrap(), dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate; its file is `subject-cert.pub` until the next one.
    fn sign(&self, key_id: &str, principals: &str, serial: u64, more: &[&str]) -> Presented {
        let serial = serial.to_string();
        let mut args = vec!["-q", "-s", "ca", "-I", key_id, "-n", principals, "-z", &serial];
        args.extend(more);
        args.push("subject.pub");
        keygen(self.dir.path(), &args);
        Presented::from_line(&fs::read_to_string(self.file("subject-cert.pub")).unwrap()).unwrap()
    }

    fn row(&self, certificate: &Presented, until: u64) -> Row {
        self.row_of("deploy", certificate, until)
    }

    fn row_of(&self, login: &str, certificate: &Presented, until: u64) -> Row {
        let new = New {
            monitor: ProcessId { pid: 7, start: 9 },
            login: login.into(),
            from: "192.0.2.7".into(),
            certificate,
            grant: Grant::new(&self.key, certificate, UnixTime(until), MOMENT),
            host: Some("prod-host"),
        };
        Row::new(new, None, MOMENT)
    }
}

fn keygen(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("ssh-keygen").current_dir(dir).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn lists_of_every_kind_that_ssh_keygen_makes_mean_here_what_they_mean_to_it() {
    let ca = Ca::new();
    let certificate = ca.sign("alice/7kq2m9xw4p/1790000900", "deploy@prod-host", 70, &[]);
    assert!(certificate.is_signed_by(&ca.key));
    let hash = keygen(ca.dir.path(), &["-l", "-f", "subject.pub"]);
    let hash = hash.split(' ').nth(1).unwrap();
    let subject = fs::read_to_string(ca.file("subject.pub")).unwrap();
    let ca_line = fs::read_to_string(ca.file("ca.pub")).unwrap();
    let many: Vec<String> = (0..40).map(|n| format!("serial: {}", 50 + 2 * n)).collect();
    for (spec, revoked) in [
        ("serial: 70".to_owned(), true),
        ("serial: 71".to_owned(), false),
        ("serial: 60-70".to_owned(), true),
        ("serial: 71-90".to_owned(), false),
        ("serial: 1\nserial: 70\nserial: 9000000000".to_owned(), true),
        (many.join("\n"), true),
        (many.join("\n").replace("serial: 70\n", ""), false),
        ("id: alice/7kq2m9xw4p/1790000900".to_owned(), true),
        ("id: alice/7kq2m9xw4p/1790000901".to_owned(), false),
        (format!("key: {subject}"), true),
        (format!("key: {ca_line}"), true),
        (format!("hash: {hash}"), true),
        (String::new(), false),
    ] {
        fs::write(ca.file("spec"), format!("{spec}\n")).unwrap();
        let said = keygen(ca.dir.path(), &["-q", "-k", "-f", "krl", "-s", "ca.pub", "spec"]);
        let list = Revocations::parse(&fs::read(ca.file("krl")).unwrap());
        let list = list.unwrap_or_else(|e| panic!("{spec}: {e}: {said}"));
        let oracle = keygen(ca.dir.path(), &["-Q", "-f", "krl", "subject-cert.pub"]);
        assert_eq!(oracle.contains("REVOKED"), revoked, "{spec}: {oracle}");
        assert_eq!(list.revokes(certificate.named()), revoked, "{spec}");
    }
    // Without a CA: any CA is meant. SHA-1 is not understood, so the list is refused as a whole.
    fs::write(ca.file("spec"), "id: alice/7kq2m9xw4p/1790000900\n").unwrap();
    keygen(ca.dir.path(), &["-q", "-k", "-f", "krl", "-s", "none", "spec"]);
    let any = Revocations::parse(&fs::read(ca.file("krl")).unwrap()).unwrap();
    assert!(any.revokes(certificate.named()));
    fs::write(ca.file("spec"), format!("sha1: {subject}\n")).unwrap();
    keygen(ca.dir.path(), &["-q", "-k", "-f", "krl", "spec"]);
    assert!(Revocations::parse(&fs::read(ca.file("krl")).unwrap()).is_err());
}

#[test]
fn only_a_certificate_that_gives_all_that_a_session_has_for_longer_moves_its_end() {
    let ca = Ca::new();
    let until = |seconds: u64| NOW.0 + seconds;
    let id = |seconds: u64| format!("{ID}{}", until(seconds));
    let own = ca.sign(&id(600), "deploy@prod-host,root@prod-host", 1, &[]);
    let row = ca.row(&own, until(600));
    assert_eq!(row.until(), UnixTime(until(600)));
    for (key_id, principals, more, moves) in [
        (id(900), "deploy@prod-host", &[][..], true),
        (id(900), "deploy@other,deploy@prod-host", &[], true),
        (id(900).replace("7kq2m9xw4p", "abcdefghjk"), "deploy@prod-host", &[], true),
        (id(600), "deploy@prod-host", &[], false),
        (id(300), "deploy@prod-host", &[], false),
        (id(900).replace("alice", "bob"), "deploy@prod-host", &[], false),
        (id(900), "root@prod-host", &[], false),
        (id(900), "deploy@prod-host2", &[], false),
        (id(900), "deploy@prod-host", &["-O", "no-pty"], false),
        (id(900), "deploy@prod-host", &["-O", "force-command=id"], false),
        (id(900), "deploy@prod-host", &["-O", "source-address=192.0.2.0/24"], false),
        ("no id of ours".to_owned(), "deploy@prod-host", &[], false),
    ] {
        let mut row = row.clone();
        let other = ca.sign(&key_id, principals, 2, more);
        assert_eq!(row.prolong(&other, &ca.key, MOMENT), moves, "{key_id} {principals} {more:?}");
        let expected = until(if moves { 900 } else { 600 });
        assert_eq!(row.until(), UnixTime(expected));
        assert_eq!(row.warn_at, Some(UnixTime(expected - 120)));
    }
    // One that is being ended stays so.
    let mut ending = row.clone();
    ending.ending = Some(Cause::Expired);
    assert!(!ending.prolong(&ca.sign(&id(900), "deploy@prod-host", 3, &[]), &ca.key, MOMENT));
    // However often it is prolonged, its own certificate is remembered.
    let mut often = row;
    for step in 1..40 {
        let longer = ca.sign(&id(600 + step), "deploy@prod-host", 100 + step, &[]);
        assert!(often.prolong(&longer, &ca.key, MOMENT));
    }
    assert_eq!((often.grants.len(), often.grants[0].serial), (12, 1));
    assert_eq!(often.until(), UnixTime(until(639)));
}

#[test]
fn a_jump_is_prolonged_by_the_same_jump_alone() {
    let ca = Ca::new();
    let id = |seconds: u64| format!("{ID}{}", NOW.0 + seconds);
    let own = ca.sign(&id(600), "jump@prod-host/db", 1, &[]);
    let row = ca.row_of("jump", &own, NOW.0 + 600);
    assert_eq!(row.principal.as_ref().unwrap().to_string(), "jump@prod-host/db");
    for (principal, moves) in [
        ("jump@prod-host/db", true),
        ("jump@prod-host/other", false),
        ("jump@elsewhere/db", false),
        ("deploy@db", false),
        ("jump@prod-host", false),
    ] {
        let longer = ca.sign(&id(900), principal, 2, &[]);
        assert_eq!(row.clone().prolong(&longer, &ca.key, MOMENT), moves, "{principal}");
    }
    // What is for another host or login let nobody in here: nothing prolongs it.
    for (login, principal) in [("jump", "jump@elsewhere/db"), ("deploy", "jump@prod-host/db")] {
        let own = ca.sign(&id(600), principal, 1, &[]);
        assert_eq!(ca.row_of(login, &own, NOW.0 + 600).principal, None, "{login} {principal}");
    }
}

#[test]
fn a_session_ends_with_its_own_certificate_and_falls_back_without_its_extension() {
    let ca = Ca::new();
    let id = |seconds: u64| format!("{ID}{}", NOW.0 + seconds);
    let own = ca.sign(&id(600), "deploy@prod-host", 1, &[]);
    let mut row = ca.row(&own, NOW.0 + 600);
    assert!(row.prolong(&ca.sign(&id(900), "deploy@prod-host", 2, &[]), &ca.key, MOMENT));
    assert_eq!(row.clone().revoke(|named| named.serial == 3, MOMENT), None);
    assert_eq!(row.clone().revoke(|named| named.serial == 1, MOMENT), Some(Cause::Revoked));
    let mut fallen = row.clone();
    assert_eq!(fallen.revoke(|named| named.serial == 2, MOMENT), None);
    assert_eq!(fallen.until(), UnixTime(NOW.0 + 600));
    let later = Moment { wall: UnixTime(NOW.0 + 700), boot: 5_700 };
    assert_eq!(row.revoke(|named| named.serial == 2, later), Some(Cause::Revoked));
}

#[test]
fn terminals_are_warned_two_minutes_before_and_at_half_time_of_less_than_four() {
    let ca = Ca::new();
    for (left, before) in [(3_600, 120), (240, 120), (239, 119), (60, 30), (1, 0)] {
        let until = NOW.0 + left;
        let own = ca.sign(&format!("{ID}{until}"), "deploy@prod-host", 1, &[]);
        let row = ca.row(&own, until);
        assert_eq!(row.warn_at, Some(UnixTime(until - before)), "{left}");
        assert_eq!(row.next(), row.warn_at);
    }
}

#[test]
fn the_table_is_of_one_boot_and_a_damaged_one_is_told() {
    let ca = Ca::new();
    let file = StateFile::new(ca.dir.path()).unwrap();
    assert_eq!(file.read().unwrap(), []);
    let until = NOW.0 + 600;
    let own = ca.sign(&format!("{ID}{until}"), "deploy@prod-host", 1, &[]);
    let row = ca.row(&own, until);
    file.write([&row].into_iter()).unwrap();
    assert_eq!(file.read().unwrap(), [row]);
    let text = fs::read_to_string(file.path()).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(file.path(), text.replace(boot.trim(), "another")).unwrap();
    assert_eq!(file.read().unwrap(), []);
    // In a container the same boot may have two names: who asks whether they live sees them all.
    assert_eq!(file.read_of_any_boot().unwrap(), [ca.row(&own, until)]);
    for bad in
        [text.replace("\"v\":1", "\"v\":2"), text[..text.len() - 1].to_owned(), String::new()]
    {
        fs::write(file.path(), bad).unwrap();
        assert!(file.read().is_err() && file.read_of_any_boot().is_err());
    }
    fs::write(file.path(), &text).unwrap();
    assert!(file.read().is_ok());

    // Marked as of this boot, nothing that was recorded is lost and a damaged file is told still.
    file.begin(&file.read().unwrap()).unwrap();
    assert_eq!(file.read().unwrap(), [ca.row(&own, until)]);
    file.begin(&[]).unwrap();
    assert_eq!(file.read().unwrap().len(), 1, "it has begun already");
    fs::write(file.path(), "").unwrap();
    assert!(file.read().is_err());
    // What a loss of power left, once the machine is up again: there are no sessions.
    fs::write(ca.file("guard.boot"), "another").unwrap();
    assert_eq!((file.read().unwrap(), file.read_of_any_boot().unwrap()), (vec![], vec![]));
    file.begin(&[]).unwrap();
    assert_eq!(file.read().unwrap(), []);
    assert_eq!(fs::read_to_string(ca.file("guard.boot")).unwrap(), boot.trim());
}

#[test]
fn a_session_ends_by_whichever_clock_says_so_first() {
    let ca = Ca::new();
    let id = |seconds: u64| format!("{ID}{}", NOW.0 + seconds);
    let own = ca.sign(&id(600), "deploy@prod-host", 1, &[]);
    let mut row = ca.row(&own, NOW.0 + 600);
    let at = |wall: u64, boot: u64| Moment { wall: UnixTime(wall), boot: MOMENT.boot + boot };
    let (set_back, set_forward) = (NOW.0 - 86_400, NOW.0 + 600);
    assert!(!row.is_over(at(NOW.0 + 599, 599)) && row.is_over(at(NOW.0 + 600, 600)));
    assert!(row.is_over(at(set_forward, 1)));
    assert!(!row.is_over(at(set_back, 600)) && row.is_over(at(set_back, 601)));
    // What prolongs it is bounded in the same way, and by the clocks of its own moment.
    let longer = ca.sign(&id(900), "deploy@prod-host", 2, &[]);
    assert!(row.prolong(&longer, &ca.key, at(NOW.0 + 60, 60)));
    assert!(!row.is_over(at(set_back, 900)) && row.is_over(at(set_back, 901)));
    // Without it, what is left ends by its own.
    assert_eq!(row.revoke(|named| named.serial == 2, at(set_back, 601)), Some(Cause::Revoked));

    // A guard from before wrote no such time: it counts from when the table is taken on.
    let text = serde_json::to_string(&ca.row(&own, NOW.0 + 600)).unwrap();
    let before = text.replace(&format!(",\"ends_by\":{}", MOMENT.boot + 601), "");
    assert_ne!(before, text);
    let mut old: Row = serde_json::from_str(&before).unwrap();
    assert!(!old.is_over(at(set_back, 10_000)));
    old.resume(at(NOW.0 + 100, 100));
    assert_eq!(old, ca.row(&own, NOW.0 + 600));
}

/// A session whose monitor is a process of its own.
fn live(ca: &Ca, seconds: u64) -> (std::process::Child, Watched) {
    let until = NOW.0 + seconds;
    let own = ca.sign(&format!("{ID}{until}"), "deploy@prod-host", 1, &[]);
    let monitor = Command::new("sleep").arg("1000").spawn().unwrap();
    let process = Process::open(i32::try_from(monitor.id()).unwrap()).unwrap();
    let mut row = ca.row(&own, until);
    row.monitor = process.id();
    (monitor, Watched::new(row, process))
}

#[test]
fn a_clock_that_is_set_ends_sessions_at_once_or_when_they_would_have_ended() {
    use std::os::unix::process::ExitStatusExt as _;
    let ca = Ca::new();
    let revoked = Revoked::open(ca.file("none.krl"));
    let instant = Instant::now();
    let open = |at: Moment| {
        let file = StateFile::new(ca.dir.path()).unwrap();
        Table::open(file, None, 1, at, instant).unwrap()
    };
    let at = |wall: u64, boot: u64| Moment { wall: UnixTime(wall), boot: MOMENT.boot + boot };
    let ended = |mut monitor: std::process::Child| monitor.wait().unwrap().signal();
    let set_back = NOW.0 - 86_400;

    let mut table = open(MOMENT);
    let (short, watched) = live(&ca, 600);
    table.add(watched);
    let (mut long, watched) = live(&ca, 3_600);
    table.add(watched);
    let is_ending = |table: &Table| -> Vec<bool> {
        table.iter().map(|(_, watched)| watched.row.ending.is_some()).collect()
    };
    table.act(&revoked, at(NOW.0 + 599, 599), instant);
    assert_eq!(is_ending(&table), [false, false]);
    // Ten minutes forward, a second later: what is over ends now, and nothing else does.
    table.act(&revoked, at(NOW.0 + 1_200, 600), instant);
    assert_eq!(is_ending(&table), [true, false]);
    assert_eq!(ended(short), Some(15));
    assert!(long.try_wait().unwrap().is_none());
    // A day back: it is not prolonged by that, a guard that is started meanwhile or not.
    table.act(&revoked, at(set_back, 3_600), instant);
    drop(table);
    let mut table = open(at(set_back, 3_600));
    table.act(&revoked, at(set_back, 3_600), instant);
    assert!(long.try_wait().unwrap().is_none());
    table.act(&revoked, at(set_back + 1, 3_601), instant);
    assert_eq!(ended(long), Some(15));
}
