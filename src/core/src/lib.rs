//! The mind of jit-ssh: what a statement is, who may sign it, and what follows from it.
//!
//! Pure: no I/O, no async, no clock and no randomness of its own; time and nonces come in as
//! arguments. From the bottom up:
//!
//! - [`names`], [`time`], [`digest`], [`cidr`]: typed ids and quantities;
//! - [`key`], [`sshsig`]: public keys and OpenSSH signatures;
//! - [`statement`]: the lines people sign; [`root`]: the pin everyone starts from;
//! - [`bundle`], [`deployment`]: the configuration, signed and unsigned;
//! - [`enrolment`]: hosts that join by themselves;
//! - [`chain`], [`policy`], [`lifecycle`], [`mod@authorize`]: from statements to a yes or a no;
//! - [`plain`]: text of others, safe to show on a terminal;
//! - [`refusal`]: a no that a person can act on and a program can match;
//! - [`certificate`]: the bytes to be signed, and the lint that judges them;
//! - [`entry`], [`log`]: log entries and the Merkle tree over them;
//! - [`krl`]: the revocation list that hosts read;
//! - [`usage`]: what hosts told of the use of an access;
//! - [`receipt`]: what a client checks before it uses a certificate;
//! - [`known_hosts`]: the lines by which ssh knows our hosts.

pub mod authorize;
pub mod bundle;
pub mod certificate;
pub mod chain;
pub mod cidr;
pub mod deployment;
pub mod digest;
pub mod enrolment;
pub mod entry;
pub mod key;
pub mod known_hosts;
pub mod krl;
pub mod lifecycle;
pub mod log;
pub mod names;
pub mod plain;
pub mod policy;
pub mod receipt;
pub mod refusal;
pub mod root;
pub mod sshsig;
pub mod statement;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod time;
pub mod usage;
mod wire;
