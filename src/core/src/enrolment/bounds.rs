//! Whether a statement is within what the bundle, and for a host its token, allow.

use crate::bundle::{Enroller, Hosts};
use crate::names::{ActorId, Login};
use crate::refusal::{Reason, Refusal};
use crate::statement::{Host, MAX_SKEW, Token, Verified};
use crate::time::UnixTime;

/// Checks that `host` is one that its enroller, and its token where it has one, may vouch for under
/// this `hosts.toml`, and that it is there at `now`.
///
/// # Errors
/// [`Reason::UnknownSigner`] if it is not the enroller's or the token's key that signed,
/// [`Reason::UnknownToken`] without its token, [`Reason::Ended`] after `until`, and
/// [`Reason::NotAllowed`] for what is outside the bounds.
pub fn judge_host(
    host: &Verified<Host>,
    token: Option<&Verified<Token>>,
    hosts: &Hosts,
    now: UnixTime,
) -> Result<(), Refusal> {
    let body = host.body();
    if now >= body.until {
        return Err(Refusal::new(
            Reason::Ended,
            format!(
                "the host {} was vouched for until {}, and that is over.",
                body.name,
                body.until.utc()
            ),
        )
        .hint("let it join anew"));
    }
    let enroller = enroller(&body.by, hosts)?;
    match (body.token, token) {
        (None, _) => enrollers_key(host, enroller)?,
        (Some(digest), Some(token)) if token.digest() == digest => lent(host, token, hosts)?,
        (Some(digest), _) => {
            return Err(Refusal::new(
                Reason::UnknownToken,
                format!("there is no join token {} for the host {}.", digest.short_id(), body.name),
            )
            .hint("hand in the token before the host"));
        }
    }
    if let Some(listed) = hosts.owner(&body.name) {
        return Err(beyond(format!(
            "hosts.toml lists a host {listed}, and nobody can join as {}.",
            body.name
        )));
    }
    if !enroller.may_name(&body.name) {
        return Err(beyond(format!("{} may not name a host {}.", enroller.id, body.name)));
    }
    for (key, value) in &body.labels {
        if !enroller.may_label(key, value) {
            return Err(beyond(format!("{} may not give the label {key}={value}.", enroller.id)));
        }
    }
    check_logins(&body.logins, enroller)?;
    if body.life() > u64::from(enroller.max_for.get()) {
        return Err(beyond(format!(
            "{} may vouch for a host for {} at most, and this is {} s.",
            enroller.id,
            enroller.max_for,
            body.life()
        )));
    }
    Ok(())
}

/// Checks that `token` is one that its enroller may lend under this `hosts.toml`. Whether it is too late to
/// join by it is for who takes a host in.
///
/// # Errors
/// [`Reason::UnknownSigner`], [`Reason::NotAllowed`].
pub fn judge_token(token: &Verified<Token>, hosts: &Hosts) -> Result<(), Refusal> {
    let body = token.body();
    let enroller = enroller(&body.by, hosts)?;
    enrollers_key(token, enroller)?;
    let Some(max_uses) = enroller.max_uses else {
        return Err(beyond(format!("{} may not lend join tokens.", enroller.id))
            .hint("an admin sets max_uses in hosts.toml"));
    };
    if body.uses > max_uses {
        return Err(beyond(format!(
            "{} may lend a token for {max_uses} uses at most, and this is for {}.",
            enroller.id, body.uses
        )));
    }
    if body.r#for > enroller.max_for {
        return Err(beyond(format!(
            "{} may vouch for a host for {} at most, and this token does for {}.",
            enroller.id, enroller.max_for, body.r#for
        )));
    }
    for (key, value) in &body.labels {
        if !enroller.may_label(key, value) {
            return Err(beyond(format!("{} may not give the label {key}={value}.", enroller.id)));
        }
    }
    // Each host's name is held against the enroller's names too, so what reaches beyond them here is
    // of no use to anybody: told early.
    let named =
        |glob: &&crate::bundle::Glob| enroller.names.iter().any(|wide| glob.is_within(wide));
    if let Some(glob) = body.names.iter().find(|glob| !named(glob)) {
        return Err(beyond(format!("{} may not name hosts {glob}.", enroller.id)));
    }
    check_logins(&body.logins, enroller)
}

/// A token lets a host vouch for itself: with its key, within its bounds, while it was good.
fn lent(host: &Verified<Host>, token: &Verified<Token>, hosts: &Hosts) -> Result<(), Refusal> {
    judge_token(token, hosts)?;
    let (body, lent) = (host.body(), token.body());
    let id = token.id();
    if lent.by != body.by {
        return Err(beyond(format!("the token {id} is of {}, and not of {}.", lent.by, body.by)));
    }
    if *host.key() != lent.key {
        return Err(Refusal::new(
            Reason::UnknownSigner,
            format!("the host {} is not signed with the key of the token {id}.", body.name),
        ));
    }
    if body.at >= lent.until || body.at.plus_secs(MAX_SKEW) < lent.at {
        return Err(Refusal::new(
            Reason::Lapsed,
            format!(
                "the token {id} was good until {}, and not when the host joined.",
                lent.until.utc()
            ),
        )
        .hint("the enroller makes another with: jit-ssh-ca token"));
    }
    if !lent.names.iter().any(|glob| glob.matches(body.name.as_str())) {
        return Err(beyond(format!("the token {id} is for no host named {}.", body.name)));
    }
    if lent.labels != body.labels {
        return Err(beyond(format!("the token {id} gives other labels than {} has.", body.name))
            .hint("a host has exactly the labels of its token"));
    }
    if let Some(login) = body.logins.iter().find(|login| !lent.logins.contains(login)) {
        return Err(beyond(format!("the token {id} does not give the login {login}.")));
    }
    if body.life() > u64::from(lent.r#for.get()) {
        return Err(beyond(format!(
            "the token {id} is for hosts that live {} at most, and this is {} s.",
            lent.r#for,
            body.life()
        )));
    }
    Ok(())
}

fn enroller<'h>(by: &ActorId, hosts: &'h Hosts) -> Result<&'h Enroller, Refusal> {
    hosts.enrollers.get(by).ok_or_else(|| {
        Refusal::new(Reason::UnknownSigner, format!("there is no enroller {by} in the bundle."))
            .hint("an admin adds an [[enroller]] to hosts.toml")
    })
}

fn enrollers_key<T>(statement: &Verified<T>, enroller: &Enroller) -> Result<(), Refusal> {
    if enroller.keys.contains(statement.key()) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::UnknownSigner,
        format!(
            "the signing key {} is not a key of the enroller {}.",
            statement.key().fingerprint(),
            enroller.id
        ),
    ))
}

fn check_logins(logins: &[Login], enroller: &Enroller) -> Result<(), Refusal> {
    match logins.iter().find(|login| !enroller.logins.contains(login)) {
        None => Ok(()),
        Some(login) => Err(beyond(format!("{} may not give the login {login}.", enroller.id))),
    }
}

fn beyond(message: String) -> Refusal {
    Refusal::new(Reason::NotAllowed, message)
}
