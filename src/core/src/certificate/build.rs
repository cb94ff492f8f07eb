//! Encodes the to-be-signed bytes (OpenSSH `PROTOCOL.certkeys`).

use super::{KeyId, Serial};
use crate::authorize::Authorized;
use crate::bundle::Strength;
use crate::key::CaKey;
use crate::names::RuleName;
use crate::wire::{Reader, Writer};

/// `SSH2_CERT_TYPE_USER` of `PROTOCOL.certkeys`.
const TYPE_USER: u32 = 1;

/// Encoded to-be-signed bytes that nobody has judged yet; see [`lint`](super::lint()).
#[derive(Debug)]
#[must_use]
pub struct Tbs {
    pub(super) bytes: Vec<u8>,
    pub(super) rule: RuleName,
}

/// Encodes the certificate that `authorized` allows, consuming it: one yes, one certificate.
pub fn build(authorized: Authorized, serial: Serial, nonce: [u8; 32], ca: &CaKey) -> Tbs {
    let key = authorized.key();
    let mut fields = Reader::new(key.blob());
    // Every key blob is its type and then fields, which a certificate repeats as they are.
    let _type = fields.string();
    let key_id =
        KeyId::new(authorized.subject().clone(), authorized.request(), authorized.access_until());
    let mut principals = Writer::default();
    for principal in authorized.opens().texts() {
        principals.string(principal.as_bytes());
    }

    let mut out = Writer::default();
    out.string(certificate_type(&key.type_name()).as_bytes())
        .string(&nonce)
        .raw(fields.rest())
        .u64(serial.get())
        .u32(TYPE_USER)
        .string(key_id.to_string().as_bytes())
        .string(&principals.into_bytes())
        .u64(authorized.valid_after().0)
        .u64(authorized.valid_before().0)
        .string(&critical_options(&authorized))
        .string(&extensions(&authorized))
        .string(b"")
        .string(ca.blob());
    Tbs { bytes: out.into_bytes(), rule: authorized.rule().clone() }
}

/// `ssh-ed25519` becomes `ssh-ed25519-cert-v01@openssh.com`, and
/// `sk-ssh-ed25519@openssh.com` becomes `sk-ssh-ed25519-cert-v01@openssh.com`.
pub(super) fn certificate_type(key_type: &str) -> String {
    let stem = key_type.strip_suffix("@openssh.com").unwrap_or(key_type);
    format!("{stem}-cert-v01@openssh.com")
}

/// Options in lexical order, as `PROTOCOL.certkeys` demands.
fn critical_options(authorized: &Authorized) -> Vec<u8> {
    let mut out = Writer::default();
    let mut option = |name: &str, value: Option<&str>| {
        let mut data = Writer::default();
        if let Some(value) = value {
            data.string(value.as_bytes());
        }
        out.string(name.as_bytes()).string(&data.into_bytes());
    };
    if let Some(command) = authorized.command() {
        option("force-command", Some(command));
    }
    if !authorized.source().is_empty() {
        let ranges: Vec<String> = authorized.source().iter().map(ToString::to_string).collect();
        option("source-address", Some(&ranges.join(",")));
    }
    if authorized.subject_key() == Strength::Verified {
        option("verify-required", None);
    }
    out.into_bytes()
}

fn extensions(authorized: &Authorized) -> Vec<u8> {
    let mut names: Vec<&str> = authorized.permit().iter().map(|p| p.extension()).collect();
    names.sort_unstable();
    let mut out = Writer::default();
    for name in names {
        out.string(name.as_bytes()).string(b"");
    }
    out.into_bytes()
}
