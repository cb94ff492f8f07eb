//! The known_hosts file by which ssh trusts the host certificates of this CA: kept in the state folder,
//! made anew when the bundle changes. It names the bundle's hosts and no others.

use std::path::PathBuf;

use jit_ssh_api::Client;
use jit_ssh_core::known_hosts;

use crate::failure::Failure;
use crate::home::{self, Home};
use crate::trust::Trust;
use crate::ui::Ui;

const FILE: &str = "known_hosts";

/// Where the file is.
pub(crate) fn path(home: &Home) -> PathBuf {
    home.state(FILE)
}

/// The file for the bundle in force: a line that says of which, and one for each host and signer.
pub(crate) async fn lines(trust: &mut Trust<'_>, client: &Client) -> Result<String, Failure> {
    let hosts = trust.hosts(client).await?;
    let lines = known_hosts::of_bundle(trust.signers(), &hosts);
    Ok(format!("{}\n{lines}", heading(trust)))
}

/// Brings the file up to date. Tells how to use it when it names a host for the first time.
pub(crate) async fn keep(
    ui: &Ui,
    home: &Home,
    trust: &mut Trust<'_>,
    client: &Client,
) -> Result<(), Failure> {
    let path = path(home);
    let before = home::read(&path)?;
    let before = before.as_deref().map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or(""));
    if before.lines().next() == Some(heading(trust).as_str()) {
        return Ok(());
    }
    let after = lines(trust, client).await?;
    home::write(&path, after.as_bytes())?;
    if names_hosts(&after) && !names_hosts(before) {
        ui.say(&format!(
            "{} lets ssh know this CA's hosts; to use it, add to ~/.ssh/config:\n  \
             UserKnownHostsFile ~/.ssh/known_hosts \"{}\"",
            path.display(),
            path.display()
        ));
    }
    Ok(())
}

fn heading(trust: &Trust<'_>) -> String {
    format!("# Written by jit-ssh, of the bundle {}.", trust.digest())
}

fn names_hosts(text: &str) -> bool {
    text.lines().any(|line| line.starts_with('@'))
}
