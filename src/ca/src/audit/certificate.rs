//! Reads logged certificates with a parser for any certificate of OpenSSH's.

use anyhow::Context as _;
use jit_ssh_core::certificate::assemble;
use jit_ssh_core::certificate::lint::Facts;
use jit_ssh_core::entry::CertificateEntry;
use jit_ssh_core::names::Opens;
use jit_ssh_core::time::UnixTime;

/// The certificate of an entry; `None` if the bytes are none.
pub(crate) fn parse(entry: &CertificateEntry) -> Option<ssh_key::Certificate> {
    // Any signature will do to have the bytes read; the log holds none.
    ssh_key::Certificate::from_bytes(&assemble(&entry.tbs.0, &[0; 64])).ok()
}

/// What the certificate of an entry says.
///
/// # Errors
/// If the bytes are no certificate, or not of our form.
pub(crate) fn facts(entry: &CertificateEntry) -> anyhow::Result<Facts> {
    let parsed = parse(entry).context("it holds bytes that are no certificate")?;
    let opens = Opens::read(parsed.valid_principals().iter().map(String::as_str));
    Ok(Facts {
        key_id: parsed.key_id().parse()?,
        opens: opens.context("it opens no logins and no jump")?,
        valid_after: UnixTime(parsed.valid_after()),
        valid_before: UnixTime(parsed.valid_before()),
    })
}
