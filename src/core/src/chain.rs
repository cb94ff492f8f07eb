//! All that is known of one request: the statements and what was issued.

use std::borrow::Cow;
use std::iter::successors;

use crate::digest::Digest;
use crate::statement::{Decision, End, Request, Verified};
use crate::time::UnixTime;

/// A request and the extensions of it in a row: more than ten are not looked at.
const MAX_ROW: usize = 11;

/// That a certificate was issued for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// Its serial.
    pub serial: u64,
    /// When it was logged.
    pub at: UnixTime,
    /// Until when it is valid.
    pub valid_before: UnixTime,
    /// When the access ends, as its key id says.
    pub access_until: UnixTime,
}

/// A request with the decisions and ends that name it, and the certificates issued for it. The
/// order in which they became known does not matter.
///
/// Approvals are judged whenever somebody asks where the request stands. Denials and ends are not: who
/// adds one has checked it ([`admit_decision`](crate::lifecycle::admit_decision),
/// [`admit_end`](crate::lifecycle::admit_end)), and from then on it holds, whatever becomes of the
/// person who made it or of the rules.
#[derive(Debug, Clone)]
pub struct Chain {
    request: Verified<Request>,
    /// All that is known of the request this one prolongs.
    prolonged: Option<Box<Chain>>,
    decisions: Vec<Verified<Decision>>,
    ends: Vec<Verified<End>>,
    first_issued: Option<Issued>,
    last_issued: Option<Issued>,
    /// Those whose access was not over when the last one was issued, by serial.
    open: Vec<Issued>,
}

/// A statement names another request than the chain's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the statement is about the request {found}, not {expected}")]
pub struct OtherRequest {
    /// The request named.
    pub found: Digest,
    /// The chain's request.
    pub expected: Digest,
}

impl Chain {
    /// Most decisions and most ends of one chain. More change nothing: a rule counts at most 255.
    pub const MAX_STATEMENTS: usize = 512;

    /// A chain of a request alone.
    pub fn new(request: Verified<Request>) -> Chain {
        Chain {
            request,
            prolonged: None,
            decisions: Vec::new(),
            ends: Vec::new(),
            first_issued: None,
            last_issued: None,
            open: Vec::new(),
        }
    }

    /// The same with all that is known of the request it prolongs. Without that, nothing can come
    /// of a request that prolongs another.
    ///
    /// # Errors
    /// [`OtherRequest`] if it prolongs another request, or none.
    pub fn prolonging(mut self, prolonged: Chain) -> Result<Chain, OtherRequest> {
        let found = prolonged.digest();
        let expected = self.request.body().extends.unwrap_or(self.digest());
        if found != expected {
            return Err(OtherRequest { found, expected });
        }
        self.prolonged = Some(Box::new(prolonged));
        Ok(self)
    }

    /// All that is known of the request this one prolongs, if that was given.
    pub fn prolonged(&self) -> Option<&Chain> {
        self.prolonged.as_deref()
    }

    /// The same with all it prolongs, one request after the other, as far as `find` knows them.
    pub fn with_prolonged<'c>(
        &'c self,
        find: impl Fn(&Digest) -> Option<&'c Chain>,
    ) -> Cow<'c, Chain> {
        let before = |chain: &&'c Chain| chain.request.body().extends.as_ref().and_then(&find);
        // Deeper than any rule allows: no chain of hashes is a circle, and none need be endless.
        let row: Vec<&Chain> = successors(Some(self), before).take(MAX_ROW).collect();
        let mut newest_last = row.into_iter().rev();
        let Some(first) = newest_last.next() else { return Cow::Borrowed(self) };
        newest_last.fold(Cow::Borrowed(first), |older, chain| {
            let whole = Chain { prolonged: Some(Box::new(older.into_owned())), ..chain.clone() };
            Cow::Owned(whole)
        })
    }

    /// The request.
    pub fn request(&self) -> &Verified<Request> {
        &self.request
    }

    /// The request's digest.
    pub fn digest(&self) -> Digest {
        self.request.digest()
    }

    /// Decisions, oldest first; ties by digest, so that every node sees one order.
    pub fn decisions(&self) -> &[Verified<Decision>] {
        &self.decisions
    }

    /// Ends, oldest first.
    pub fn ends(&self) -> &[Verified<End>] {
        &self.ends
    }

    /// The first certificate issued.
    pub fn first_issued(&self) -> Option<&Issued> {
        self.first_issued.as_ref()
    }

    /// The newest certificate issued.
    pub fn last_issued(&self) -> Option<&Issued> {
        self.last_issued.as_ref()
    }

    /// Every certificate whose access is not over at `now`, by serial: a session that began with it may
    /// still run, also where the certificate itself has expired.
    pub fn open(&self, now: UnixTime) -> impl Iterator<Item = &Issued> {
        self.open.iter().filter(move |issued| issued.access_until > now)
    }

    /// Adds a decision; one that is known already changes nothing.
    ///
    /// # Errors
    /// [`OtherRequest`] if it is about another request.
    pub fn add_decision(&mut self, decision: Verified<Decision>) -> Result<(), OtherRequest> {
        self.check(decision.body().request)?;
        let key = |d: &Verified<Decision>| (d.body().at, d.digest());
        insert(&mut self.decisions, decision, key);
        Ok(())
    }

    /// Adds an end; one that is known already changes nothing.
    ///
    /// # Errors
    /// [`OtherRequest`] if it is about another request.
    pub fn add_end(&mut self, end: Verified<End>) -> Result<(), OtherRequest> {
        self.check(end.body().request)?;
        insert(&mut self.ends, end, |e| (e.body().at, e.digest()));
        Ok(())
    }

    /// Notes that a certificate was issued.
    pub fn add_issued(&mut self, issued: Issued) {
        let key = |i: &Issued| (i.at, i.serial);
        if self.first_issued.as_ref().is_none_or(|first| key(&issued) < key(first)) {
            self.first_issued = Some(issued);
        }
        if self.last_issued.as_ref().is_none_or(|last| key(&issued) > key(last)) {
            self.last_issued = Some(issued);
        }
        let newest = self.last_issued.map_or(issued.at, |last| last.at);
        self.open.retain(|known| known.access_until > newest && known.serial != issued.serial);
        if issued.access_until > newest {
            let place = self.open.partition_point(|known| known.serial < issued.serial);
            self.open.insert(place, issued);
        }
    }

    fn check(&self, found: Digest) -> Result<(), OtherRequest> {
        let expected = self.digest();
        if found == expected { Ok(()) } else { Err(OtherRequest { found, expected }) }
    }
}

fn insert<T, K: Ord>(sorted: &mut Vec<T>, item: T, key: impl Fn(&T) -> K) {
    if let Err(place) = sorted.binary_search_by(|known| key(known).cmp(&key(&item)))
        && sorted.len() < Chain::MAX_STATEMENTS
    {
        sorted.insert(place, item);
    }
}
