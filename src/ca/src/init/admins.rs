//! The admins' public key files.

use std::path::{Path, PathBuf};

use jit_ssh_api::own_key;
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::root::Admin;

use crate::failure::Failure;
use crate::identity::refused;

/// Reads each file as one admin: the id is the file's stem, the content one public key.
///
/// # Errors
/// Names the file, what is wrong with it, and what would be right.
pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Admin>> {
    files.iter().map(|file| read_one(file)).collect()
}

fn read_one(path: &Path) -> anyhow::Result<Admin> {
    let shown = path.display();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let id: ActorId = stem.parse().map_err(|error| {
        Failure::error(format!("{shown}: its name is to be the admin's id, but {error}."))
            .hint("rename the file after the admin, like alice.pub")
    })?;
    let text = own_key::read_text(path).map_err(|error| refused(path, &error))?;
    if text.starts_with("-----BEGIN ") {
        return Err(Failure::error(format!(
            "{shown} is a private key; the CA needs the public one."
        ))
        .hint(format!("name {shown}.pub, and give the private key to nobody"))
        .into());
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Failure::error(format!("{shown} does not hold exactly one public key."))
            .hint("give each admin one file with one line, like the .pub of ssh-keygen")
            .into());
    };
    let key: SignerKey = line
        .trim_end()
        .parse()
        .map_err(|error| Failure::error(format!("{shown} can not be an admin's key: {error}.")))?;
    Ok(Admin { id, key })
}
