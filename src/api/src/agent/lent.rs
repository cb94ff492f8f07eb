//! An agent inside one's own process, which lends one certificate for one login: its key is in no file and in no
//! other program, and signs nothing but that login, once.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use ssh_key::PrivateKey;

use super::destination::sign;
use super::wire::{Reader, Writer};
use super::{
    FAILURE, IDENTITIES_ANSWER, MAX_MESSAGE, REQUEST_IDENTITIES, SIGN_REQUEST, SIGN_RESPONSE,
};

/// `SSH_MSG_USERAUTH_REQUEST` (RFC 4252, section 6).
const USERAUTH_REQUEST: u8 = 50;
/// How ssh says that it logs in by a key (RFC 4252, section 7; OpenSSH `PROTOCOL`, section 3.1).
const METHODS: [&[u8]; 2] = [b"publickey", b"publickey-hostbound-v00@openssh.com"];

/// A certificate and its key, for one login.
pub struct Lent {
    key: PrivateKey,
    certificate: Vec<u8>,
    login: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It signed the login: there is nothing more for it to do.
    Spent,
    /// Whoever was connected went away without.
    Unused,
}

impl Lent {
    /// An agent with an Ed25519 `key`, whose `certificate` (in wire encoding) is for logins as `login`.
    pub fn new(key: PrivateKey, certificate: Vec<u8>, login: &str) -> Lent {
        Lent { key, certificate, login: login.to_owned() }
    }

    /// Answers who is connected, until it has signed their login or they go away. Blocks.
    ///
    /// # Errors
    /// What the system says where the connection breaks, or where a message is longer than any may be.
    pub fn serve(&self, mut stream: UnixStream) -> io::Result<Use> {
        loop {
            let mut len = [0u8; 4];
            match stream.read_exact(&mut len) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Use::Unused),
                read => read?,
            }
            let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
            if len > MAX_MESSAGE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut message = vec![0; len];
            stream.read_exact(&mut message)?;
            let (answer, done) = self.answer(&message);
            let len = u32::try_from(answer.bytes().len()).map_err(io::Error::other)?;
            stream.write_all(&len.to_be_bytes())?;
            stream.write_all(answer.bytes())?;
            if done == Use::Spent {
                return Ok(done);
            }
        }
    }

    fn answer(&self, message: &[u8]) -> (Writer, Use) {
        let mut reader = Reader::new(message);
        match reader.byte() {
            Some(REQUEST_IDENTITIES) if reader.is_empty() => {
                let mut list = Writer::message(IDENTITIES_ANSWER);
                list.u32(1).string(&self.certificate).string(b"");
                (list, Use::Unused)
            }
            Some(SIGN_REQUEST) => match self.signature(&mut reader) {
                Some(signature) => {
                    let mut signed = Writer::message(SIGN_RESPONSE);
                    signed.string(&signature);
                    (signed, Use::Spent)
                }
                None => (Writer::message(FAILURE), Use::Unused),
            },
            // Among these is what binds the connection to a host: who asks has checked its key already.
            _ => (Writer::message(FAILURE), Use::Unused),
        }
    }

    fn signature(&self, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
        let (blob, data, _flags) = (reader.string()?, reader.string()?, reader.u32()?);
        if !reader.is_empty() || blob != self.certificate || !self.is_login(data)? {
            return None;
        }
        let mut signature = Writer::default();
        signature.string(b"ssh-ed25519").string(&sign(&self.key, data)?);
        Some(signature.bytes().to_vec())
    }

    /// Whether what is to be signed is a login as the one account, by this certificate.
    fn is_login(&self, data: &[u8]) -> Option<bool> {
        let mut reader = Reader::new(data);
        let _session = reader.string()?;
        let kind = reader.byte()?;
        let (login, service, method) = (reader.string()?, reader.string()?, reader.string()?);
        let signed = reader.byte()?;
        let (_algorithm, blob) = (reader.string()?, reader.string()?);
        Some(
            kind == USERAUTH_REQUEST
                && login == self.login.as_bytes()
                && service == b"ssh-connection"
                && METHODS.contains(&method)
                && signed == 1
                && blob == self.certificate,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Agent, AgentError};
    use crate::testkit::TestAgent;
    use ssh_key::Algorithm;
    use std::os::unix::net::UnixListener;

    /// What ssh has signed where it logs in.
    fn login(login: &str, method: &[u8], blob: &[u8]) -> Vec<u8> {
        let mut data = Writer::default();
        data.string(b"session").byte(USERAUTH_REQUEST).string(login.as_bytes());
        data.string(b"ssh-connection").string(method).byte(1);
        data.string(b"ssh-ed25519-cert-v01@openssh.com").string(blob);
        data.bytes().to_vec()
    }

    #[test]
    fn it_signs_the_one_login_once_and_nothing_else() {
        let tools = TestAgent::start();
        let key = tools.key("lent", Algorithm::Ed25519);
        let blob =
            tools.certify("lent", &["-I", "x", "-n", "deploy@prod-host"]).to_bytes().unwrap();
        let public = key.public_key().to_bytes().unwrap();
        let socket = tools.path("own");
        let listener = UnixListener::bind(&socket).unwrap();
        let lent = Lent::new(key, blob.clone(), "deploy");
        let serving = std::thread::spawn(move || {
            let first = lent.serve(listener.accept().unwrap().0).unwrap();
            (first, lent.serve(listener.accept().unwrap().0).unwrap())
        });
        let mut agent = Agent::at(&socket).unwrap();
        assert_eq!(agent.list().unwrap().into_iter().map(|i| i.blob).collect::<Vec<_>>(), [&*blob]);
        for (with, data) in [
            (&blob, b"anything".to_vec()),
            (&blob, login("root", METHODS[0], &blob)),
            (&blob, login("deploy", b"hostbased", &blob)),
            (&blob, login("deploy", METHODS[0], &public)),
            (&public, login("deploy", METHODS[0], &blob)),
        ] {
            let refused = agent.sign(with, &data);
            assert!(matches!(refused, Err(AgentError::Refused(_))), "{refused:?}");
        }
        drop(agent);
        let mut agent = Agent::at(&socket).unwrap();
        let signature = agent.sign(&blob, &login("deploy", METHODS[1], &blob)).unwrap();
        assert!(signature.windows(11).any(|part| part == b"ssh-ed25519"), "{signature:?}");
        // It is gone after that: the second login finds nobody.
        assert!(agent.sign(&blob, &login("deploy", METHODS[1], &blob)).is_err());
        assert_eq!(serving.join().unwrap(), (Use::Unused, Use::Spent));
    }
}
