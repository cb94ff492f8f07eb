//! A company of a given size: people in teams, hosts, rules, and keys that come from numbers.

use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::statement::{Body, Nonce, Request, encode};
use jit_ssh_core::time::{Seconds, UnixTime};
use jit_ssh_tests::Site;
use ssh_key::encoding::Encode as _;
use ssh_key::private::{Ed25519Keypair, PrivateKey};

/// Limits that the load does not reach: the chain is measured, not the quotas.
pub(crate) const LIMITS: &str = "
[limits]
requests_per_person_per_minute = 100000000
decisions_per_person_per_minute = 100000000
certificates_per_person_per_minute = 100000000
";

/// How large a company is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) hosts: usize,
    pub(crate) people: usize,
    pub(crate) rules: usize,
    pub(crate) past: usize,
}

impl Size {
    /// A twentieth of the rules are denials; each team has two of the others.
    fn teams(self) -> usize {
        ((self.rules - self.denials()) / 2).max(1)
    }

    fn denials(self) -> usize {
        (self.rules / 20).max(1)
    }

    /// A host of the first team for which its lead is asked.
    pub(crate) fn prod_host(self) -> String {
        format!("host-{}", self.teams())
    }

    /// The person who leads the first team.
    pub(crate) fn lead(self) -> usize {
        self.teams()
    }

    /// Writes people, hosts and policy.
    pub(crate) fn write(self, site: &Site) {
        let teams = self.teams();
        let mut people = String::new();
        for n in 0..self.people {
            let lead =
                if n / teams == 1 { format!(", \"leads-{}\"", n % teams) } else { String::new() };
            people += &format!(
                "[[person]]\nid = \"p{n}\"\nname = \"Person {n}\"\nkeys = [\"{}\"]\ngroups = [\"team-{}\"{lead}]\n",
                key(n).public_key().to_openssh().unwrap(),
                n % teams
            );
        }
        let mut hosts = String::new();
        for n in 0..self.hosts {
            let env = if (n / teams).is_multiple_of(2) { "test" } else { "prod" };
            hosts += &format!(
                "[[host]]\nname = \"host-{n}\"\nlabels = {{ env = \"{env}\", team = \"t{}\", role = \"web\" }}\nlogins = [\"deploy\", \"root\"]\n",
                n % teams
            );
        }
        let mut policy = String::new();
        for n in 0..self.denials() {
            policy += &format!(
                "[[deny]]\nname = \"deny-{n}\"\nhosts = [\"label:role=db-{n}\"]\nlogins = [\"root\"]\n"
            );
        }
        for team in 0..teams {
            for (env, approval) in [
                ("test", "auto = {}".to_owned()),
                ("prod", format!("approvals = [{{ from = [\"group:leads-{team}\"], count = 1 }}]")),
            ] {
                policy += &format!(
                    "[[allow]]\nname = \"{env}-{team}\"\nwho = [\"group:team-{team}\"]\nhosts = [\"label:env={env},team=t{team}\"]\nlogins = [\"deploy\"]\nmax_for = \"30m\"\ncert_for = \"5m\"\n{approval}\n"
                );
            }
        }
        for (name, text) in [("people", people), ("hosts", hosts), ("policy", policy)] {
            std::fs::write(site.config().join(format!("{name}.toml")), text).unwrap();
        }
    }
}

/// The bundle that lies in a site's configuration.
pub(crate) fn bundle(site: &Site) -> Bundle {
    let read = |name: &str| std::fs::read(site.config().join(name)).unwrap();
    let files = BundleFiles {
        people: read("people.toml"),
        hosts: read("hosts.toml"),
        policy: read("policy.toml"),
        signers: read("signers.toml"),
    };
    Bundle::parse(1, &files, &[]).unwrap()
}

/// The key of the person with this number.
pub(crate) fn key(person: usize) -> PrivateKey {
    let mut seed = [7u8; 32];
    seed[..8].copy_from_slice(&(person as u64).to_be_bytes());
    Ed25519Keypair::from_seed(&seed).into()
}

/// A statement and its signature.
pub(crate) fn sign<T: Body>(key: &PrivateKey, body: &T) -> (Vec<u8>, Vec<u8>) {
    let bytes = encode(body).unwrap();
    let signature = key.sign(T::KIND.namespace(), ssh_key::HashAlg::Sha512, &bytes).unwrap();
    (bytes, signature.encode_vec().unwrap())
}

/// The same as the front takes it.
pub(crate) fn signed<T: Body>(key: &PrivateKey, body: &T) -> v1::SignedStatement {
    let (statement, signature) = sign(key, body);
    v1::SignedStatement { statement: statement.into(), signatures: vec![signature.into()] }
}

/// A request of a person for `deploy` on a host.
pub(crate) fn request(ca: RootFingerprint, person: usize, host: &str, nonce: [u8; 16]) -> Request {
    let key = key(person).public_key().to_openssh().unwrap();
    Request::new(
        ca,
        format!("p{person}").parse().unwrap(),
        key.parse().unwrap(),
        vec![host.parse().unwrap()],
        vec!["deploy".parse().unwrap()],
        Seconds::new(60).unwrap(),
        "measuring".to_owned(),
        now(),
        Nonce(nonce),
    )
}

/// By the system's clock.
pub(crate) fn now() -> UnixTime {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime(now.as_secs())
}
