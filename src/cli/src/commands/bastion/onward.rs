//! The ssh that goes onward: its command line, by which it reads no file but the one named here and runs nothing on
//! this machine, and the folder with what it needs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use jit_ssh_api::Client;
use jit_ssh_core::names::HostName;

use super::asked::What;
use super::choice::Choice;
use crate::failure::Failure;
use crate::home::{self, Home};
use crate::known_hosts;
use crate::ssh_config::quoted;
use crate::trust::Trust;
use crate::ui::Ui;

const FOLDER: &str = "bastion";

/// Where sshd of the host is reached, if not by its name on the usual port.
pub(super) type Place = Option<(String, u16)>;

/// Where the host is reached, as the admins signed it.
pub(super) async fn place(
    trust: &mut Trust<'_>,
    client: &Client,
    host: &HostName,
) -> Result<Place, Failure> {
    let hosts = trust.hosts(client).await?;
    let place = hosts.get(host).and_then(|host| host.place());
    Ok(place.map(|(address, port)| (address.to_owned(), port)))
}

/// By what ssh knows the host; `None` leaves it to the files of this bastion.
pub(super) async fn known_hosts(
    ui: &Ui,
    trust: &mut Trust<'_>,
    client: &Client,
    host: &HostName,
) -> Result<Option<String>, Failure> {
    let text = known_hosts::of_host(ui, trust, client, host).await?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A folder for one connection, which goes with it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it.
    pub(super) fn make(home: &Home) -> Result<Folder, Failure> {
        let folder = home.runtime(FOLDER).join(format!("{:016x}", rand::random::<u64>()));
        home::private_parent(&folder.join("agent"))?;
        Ok(Folder(folder))
    }

    /// The agent's socket: nobody listens there yet.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("agent")
    }

    /// Listens at the agent's socket.
    pub(super) fn listen(&self) -> Result<UnixListener, Failure> {
        let socket = self.socket();
        UnixListener::bind(&socket).map_err(|e: io::Error| Failure::file(&socket, e))
    }

    /// Writes what ssh is to know.
    pub(super) fn known_hosts(&self, text: &str) -> Result<PathBuf, Failure> {
        let path = self.0.join("known_hosts");
        home::write(&path, text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left holds nothing that anybody could use.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the command line is made of.
#[derive(Debug)]
pub(super) struct Onward<'a> {
    /// Whom to.
    pub(super) choice: &'a Choice,
    /// Where that is.
    pub(super) place: &'a Place,
    /// What is to run there.
    pub(super) what: &'a What,
    /// Whether a terminal is on this side.
    pub(super) terminal: bool,
    /// The agent's socket.
    pub(super) socket: &'a Path,
    /// The file that says how the host is known, if it is not left to this bastion's own.
    pub(super) known_hosts: Option<&'a Path>,
}

impl Onward<'_> {
    /// ssh's arguments.
    pub(super) fn arguments(&self) -> Result<Vec<OsString>, Failure> {
        let host = self.choice.host.as_str();
        let mut options = vec![
            format!("IdentityAgent={}", quoted(self.socket)?),
            format!("HostKeyAlias={host}"),
            "IdentityFile=none".to_owned(),
            "PreferredAuthentications=publickey".to_owned(),
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "UpdateHostKeys=no".to_owned(),
            // By ~C and !, who sits there would have a shell of this machine.
            "EscapeChar=none".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
            "ForwardAgent=no".to_owned(),
            "ForwardX11=no".to_owned(),
            "ControlPath=none".to_owned(),
            "LogLevel=ERROR".to_owned(),
            // As the person's own ssh may send them; the host's sshd takes what it likes.
            "SendEnv=LANG LC_*".to_owned(),
            "ConnectTimeout=30".to_owned(),
        ];
        if let Some(path) = self.known_hosts {
            options.push(format!("UserKnownHostsFile={}", quoted(path)?));
            options.push("GlobalKnownHostsFile=none".to_owned());
        }
        if let Some((address, port)) = self.place {
            options.push(format!("HostName={address}"));
            options.push(format!("Port={port}"));
        }
        // No file of this machine, whose `Match exec` or `ProxyCommand` would run a shell.
        let mut line: Vec<OsString> = vec!["-F".into(), "none".into()];
        line.extend(options.into_iter().flat_map(|option| ["-o".into(), option.into()]));
        line.push(if self.terminal { "-tt".into() } else { "-T".into() });
        if *self.what == What::Sftp {
            line.push("-s".into());
        }
        line.extend(["-l".into(), self.choice.login.as_str().into(), "--".into(), host.into()]);
        match self.what {
            What::Shell => {}
            What::Command(command) => line.push(command.into()),
            What::Sftp => line.push("sftp".into()),
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn line(what: &What, terminal: bool) -> Vec<String> {
        let choice = Choice { host: "app-1".parse().unwrap(), login: "deploy".parse().unwrap() };
        let place = Some(("10.6.0.11".to_owned(), 2222));
        let (socket, known_hosts) = (Path::new("/r/agent"), Some(Path::new("/r/known")));
        let onward = Onward { choice: &choice, place: &place, what, terminal, socket, known_hosts };
        onward.arguments().unwrap().into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_typed_is_one_word_behind_the_host_whatever_it_is() {
        for command in ["df -h", "-oProxyCommand=id", "--", "a; b $(c) `d`"] {
            let line = line(&What::Command(command.to_owned()), false);
            let end = ["-T", "-l", "deploy", "--", "app-1", command];
            assert_eq!(line[line.len() - end.len()..], end);
        }
        assert!(
            line(&What::Shell, true)
                .ends_with(&["-tt", "-l", "deploy", "--", "app-1"].map(str::to_owned))
        );
        let sftp = line(&What::Sftp, false);
        assert!(
            sftp.ends_with(&["-T", "-s", "-l", "deploy", "--", "app-1", "sftp"].map(str::to_owned))
        );
    }

    #[test]
    fn ssh_reads_no_file_of_this_machine_and_gives_nobody_a_shell_of_it() {
        let line = line(&What::Shell, true);
        assert_eq!(line[..2], ["-F", "none"]);
        for option in ["EscapeChar=none", "IdentityFile=none", "StrictHostKeyChecking=yes"] {
            assert!(line.iter().any(|word| word == option), "{option}");
        }
        for option in ["IdentityAgent=\"/r/agent\"", "HostName=10.6.0.11", "Port=2222"] {
            assert!(line.iter().any(|word| word == option), "{option}: {line:?}");
        }
    }

    #[test]
    fn the_folder_is_private_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(&Home::under(dir.path())).unwrap();
        let path = folder.socket().parent().unwrap().to_owned();
        let _listener = folder.listen().unwrap();
        folder.known_hosts("app-1 key\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
