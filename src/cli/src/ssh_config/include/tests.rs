//! That the line goes to the top and comes out again, and that nothing else changes.

use super::*;
use std::os::unix::fs::symlink;

const LINE: &str = "Include \"/home/al/.config/jit-ssh/ssh_config\"";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// A home and a folder for ssh's files.
fn place() -> (tempfile::TempDir, Home, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::under(&dir.path().join("jit"));
    let config = dir.path().join("ssh/config");
    (dir, home, config)
}

#[test]
fn every_kind_of_file_is_the_same_to_the_byte_after_it_is_undone() {
    for before in [
        &b""[..],
        b"\n",
        b"Host a\n  User x\n",
        b"Host a\n  User x",
        b"# mine\r\nHost a\r\n\tUser x\r\n",
        b"Include other\nHost *\n",
        b"Include \"/home/al/.config/jit-ssh/ssh_config_of_mine\"\n",
        b"\xff\xfe not text \x00\n",
    ] {
        let (_dir, home, config) = place();
        fs::create_dir(config.parent().unwrap()).unwrap();
        fs::write(&config, before).unwrap();
        for bits in [0o600, 0o644, 0o640] {
            fs::set_permissions(&config, Permissions::from_mode(bits)).unwrap();
            assert!(install(&home, &config, LINE).unwrap());
            let after = fs::read(&config).unwrap();
            assert_eq!(after, [format!("{LINE}\n").as_bytes(), before].concat());
            assert!(!install(&home, &config, LINE).unwrap(), "once is enough");
            assert_eq!(fs::read(&config).unwrap(), after);
            assert_eq!(mode(&config), bits);
            assert!(is_installed(&config, LINE).unwrap());
            assert!(remove(&home, &config, LINE).unwrap());
            assert_eq!(fs::read(&config).unwrap(), before);
            assert_eq!(mode(&config), bits);
            assert!(!remove(&home, &config, LINE).unwrap(), "nothing is left to undo");
            assert!(Installed::load(&home).unwrap().is_none());
        }
    }
}

#[test]
fn what_was_made_for_it_is_private_and_goes_with_it_unless_others_use_it() {
    let (_dir, home, config) = place();
    let folder = config.parent().unwrap().to_owned();
    assert!(install(&home, &config, LINE).unwrap());
    assert_eq!((mode(&config), mode(&folder)), (0o600, 0o700));
    assert!(remove(&home, &config, LINE).unwrap());
    assert!(!folder.exists());

    // Installed twice, the second time after somebody moved the line: still what was made the first time.
    install(&home, &config, LINE).unwrap();
    fs::write(&config, format!("Host a\n{LINE}\n")).unwrap();
    assert!(install(&home, &config, LINE).unwrap(), "below a Host it counts for that host alone");
    assert_eq!(fs::read_to_string(&config).unwrap(), format!("{LINE}\nHost a\n"));
    fs::write(folder.join("known_hosts"), "").unwrap();
    fs::write(&config, format!("{LINE}\n")).unwrap();
    remove(&home, &config, LINE).unwrap();
    assert!(!config.exists() && folder.exists());

    // A file that somebody wrote into stays.
    install(&home, &config, LINE).unwrap();
    fs::write(&config, format!("{LINE}\nHost a\n")).unwrap();
    remove(&home, &config, LINE).unwrap();
    assert_eq!(fs::read_to_string(&config).unwrap(), "Host a\n");
    // And so does one that was there and empty.
    fs::write(&config, "").unwrap();
    install(&home, &config, LINE).unwrap();
    remove(&home, &config, LINE).unwrap();
    assert_eq!(fs::read_to_string(&config).unwrap(), "");
}

#[test]
fn a_link_stays_a_link_and_a_further_name_a_further_name() {
    let (dir, home, config) = place();
    let real = dir.path().join("dotfiles");
    fs::write(&real, "Host a\n").unwrap();
    fs::create_dir(config.parent().unwrap()).unwrap();
    symlink("../dotfiles", &config).unwrap();
    install(&home, &config, LINE).unwrap();
    assert!(config.is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), format!("{LINE}\nHost a\n"));
    remove(&home, &config, LINE).unwrap();
    assert!(config.is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "Host a\n");

    let other = dir.path().join("other-name");
    fs::hard_link(&real, &other).unwrap();
    install(&home, &config, LINE).unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), format!("{LINE}\nHost a\n"));

    fs::remove_file(&real).unwrap();
    let refused = install(&home, &config, LINE).unwrap_err();
    assert!(refused.message.contains("leads nowhere"), "{refused:?}");
    assert!(!real.exists() && config.is_symlink());
}

#[test]
fn the_home_is_the_one_that_ssh_goes_by() {
    let accounts = "root:x:0:0:root:/root:/bin/sh\nal:x:1000:1000:,,,:/home/al:/bin/sh\nbad:x:7\n";
    assert_eq!(home_of(accounts, 1000), Some("/home/al"));
    assert_eq!(home_of(accounts, 0), Some("/root"));
    assert_eq!(home_of(accounts, 7), None);
    assert_eq!(home_of(accounts, 1), None);
}
