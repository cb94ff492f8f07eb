//! Judges host certificates: the bundle of their time, or a host's statement that holds under it, must
//! name the host and its key, and the certificate, built anew from it, must be the same byte for byte.

use jit_ssh_core::bundle::SignerInfo;
use jit_ssh_core::certificate::LintError;
use jit_ssh_core::certificate::Serial;
use jit_ssh_core::certificate::host::{HostContext, authorize_host, build, check, lint};
use jit_ssh_core::enrolment::View;
use jit_ssh_core::entry::HostCertificateEntry;

use super::fault::Fault;
use super::judge::nonce;

/// Judges an entry that names the bundle in force and the right serial.
///
/// # Errors
/// [`Fault`].
pub(super) fn judge(
    entry: &HostCertificateEntry,
    view: View<'_>,
    signer: &SignerInfo,
    serial: Serial,
) -> Result<(), Fault> {
    let ca = signer.host_ca_key.as_ref().ok_or(Fault::NoHostCa(signer.number.get()))?;
    let authorized = authorize_host(&entry.host, view, entry.at).map_err(Fault::UnjustifiedHost)?;
    let identity = authorized.identity().clone();
    if entry.statement != identity.statement {
        return Err(Fault::HostStatement);
    }
    let context = HostContext { identity: &identity, serial, ca, at: entry.at };
    let tbs = &entry.tbs.0;
    let found = check(tbs.clone(), context)?;
    // The times are the signer's to narrow no more than anything else: only the nonce is its choice.
    let nonce = nonce(tbs).ok_or(LintError("the nonce has not 32 bytes"))?;
    let again = lint(build(authorized, serial, nonce, ca), context)?;
    if again.bytes() == found.bytes() { Ok(()) } else { Err(Fault::Options) }
}
