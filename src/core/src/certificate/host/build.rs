//! Encodes the to-be-signed bytes (OpenSSH `PROTOCOL.certkeys`).

use super::{AuthorizedHost, HostKeyId};
use crate::certificate::Serial;
use crate::certificate::build::certificate_type;
use crate::key::HostCaKey;
use crate::wire::{Reader, Writer};

/// `SSH2_CERT_TYPE_HOST` of `PROTOCOL.certkeys`.
const TYPE_HOST: u32 = 2;

/// Encoded to-be-signed bytes that nobody has judged yet; see [`lint`](super::lint()).
#[derive(Debug)]
#[must_use]
pub struct HostTbs(pub(super) Vec<u8>);

/// Encodes the certificate that `authorized` allows, consuming it: one yes, one certificate.
pub fn build(
    authorized: AuthorizedHost,
    serial: Serial,
    nonce: [u8; 32],
    ca: &HostCaKey,
) -> HostTbs {
    let identity = authorized.identity();
    let mut fields = Reader::new(identity.key.blob());
    // Every key blob is its type and then fields, which a certificate repeats as they are.
    let _type = fields.string();
    let valid_before = authorized.valid_before();
    let key_id = HostKeyId { name: identity.name.clone(), valid_before };
    let mut principals = Writer::default();
    for principal in authorized.principals() {
        principals.string(principal.as_str().as_bytes());
    }

    let mut out = Writer::default();
    out.string(certificate_type(&identity.key.type_name()).as_bytes())
        .string(&nonce)
        .raw(fields.rest())
        .u64(serial.get())
        .u32(TYPE_HOST)
        .string(key_id.to_string().as_bytes())
        .string(&principals.into_bytes())
        .u64(authorized.valid_after().0)
        .u64(valid_before.0)
        // No options and no extensions: OpenSSH knows none for hosts.
        .string(b"")
        .string(b"")
        .string(b"")
        .string(ca.blob());
    HostTbs(out.into_bytes())
}
