//! Hosts that join by themselves: what an enroller may vouch for, who is there now, and who may come.
//!
//! A host that `hosts.toml` does not list is there because an enroller of the bundle, or a token it
//! lent, vouched for it until a moment. Everything about it stands in signed statements, held against
//! the bundle of now whenever somebody asks: an enroller that is gone takes its hosts along at once.
//! So neither the host nor the front can give it another name, label or login.
//!
//! - `bounds.rs`: whether a statement is within what bundle and token allow, for ever and now;
//! - `register.rs`: the statements known, and whether one more may be added;
//! - `vouched.rs`: one host with what vouches for it, as hosts and people carry it;
//! - `former.rs`: who had a name before, and is still heard;
//! - `view.rs`: the bundle with the hosts that are there beside it: what requests are held against.

mod bounds;
mod former;
mod register;
#[cfg(test)]
mod tests;
mod view;
mod vouched;

pub use bounds::{judge_host, judge_token};
pub use former::HEARD_AFTER_END;
pub use register::{Admission, Enrolled, Enrolment, Joined, MAX_ENROLLED, RELAY_TOKEN};
pub use view::{Found, View};
pub use vouched::Vouched;
