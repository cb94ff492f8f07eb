//! Which account a person last asked for on each host.

use std::collections::BTreeMap;

use jit_ssh_core::names::{HostName, Login, Principal};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::home::{self, Home};

const FILE: &str = "logins.json";

/// The accounts last asked for, by host.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Logins(BTreeMap<HostName, Login>);

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    logins: BTreeMap<String, String>,
}

impl Logins {
    /// What is kept; nothing where it can not be understood: it is a convenience.
    pub(crate) fn load(home: &Home) -> Result<Logins, Failure> {
        let Some(bytes) = home::read(&home.state(FILE))? else { return Ok(Logins::default()) };
        let stored = serde_json::from_slice::<Stored>(&bytes).ok().filter(|stored| stored.v == 1);
        let pairs = stored.map(|stored| stored.logins).unwrap_or_default();
        let parsed = pairs
            .iter()
            .filter_map(|(host, login)| Some((host.parse().ok()?, login.parse().ok()?)));
        Ok(Logins(parsed.collect()))
    }

    /// The account last asked for on a host.
    pub(crate) fn get(&self, host: &HostName) -> Option<&Login> {
        self.0.get(host)
    }

    /// Notes the accounts of a new access.
    pub(crate) fn note(home: &Home, principals: &[Principal]) -> Result<(), Failure> {
        let before = Logins::load(home)?;
        let mut after = before.clone();
        after.0.extend(principals.iter().map(|p| (p.host().clone(), p.login().clone())));
        if after == before {
            return Ok(());
        }
        let text = |(host, login): (&HostName, &Login)| (host.to_string(), login.to_string());
        let stored = Stored { v: 1, logins: after.0.iter().map(text).collect() };
        let path = home.state(FILE);
        let bytes = serde_json::to_vec(&stored).map_err(|e| Failure::file(&path, e))?;
        home::write(&path, &bytes)
    }
}
