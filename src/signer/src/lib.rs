//! The key holder of jit-ssh: verifies, logs, then signs.
//!
//! A small process of its own: no async, no network, one Unix socket. It trusts nothing but
//! `root.json` on its own disk, signatures, its log and its clock. Whoever owns the front and the
//! database can ask it for anything, and gets only what people have signed for.
//!
//! The way of a call through four threads, each handing on by a bounded channel:
//!
//! 1. `connection`: reads frames, parses strictly, verifies signatures;
//! 2. `desk`: decides (`authorize`), builds and lints; then appends the whole batch to the
//!    [`log`] with one fsync, and only then remembers it;
//! 3. `press`: signs what is durable, verifies its own signature, answers;
//! 4. the connection's own writes, bounded by a deadline.
//!
//! And beside the way: [`protocol`] says what travels over the socket, [`keys`] where the keys lie,
//! [`bundles`] where the signed configuration lies, [`notes`] what the signer notes down of its log, `memory` what is known
//! of live requests, `quota` how much one person may use up.

pub mod bundles;
mod connection;
mod desk;
pub mod keys;
pub mod log;
mod memory;
pub mod notes;
mod press;
pub mod protocol;
mod quota;
pub mod server;
