//! `jit-ssh-ca log show`: the entries, for people or as they are. Checks nothing.

use std::process::ExitCode;

use jit_ssh_core::certificate::host;
use jit_ssh_core::digest::{Digest, IdPrefix};
use jit_ssh_core::entry::{CertificateEntry, Entry, HostCertificateEntry, StatementEntry};
use jit_ssh_core::lifecycle::principals;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{
    self, Bundle, Cause, Decision, End, Host, Kind, Request, Token, Verdict,
};
use jit_ssh_core::time::UnixTime;

use super::certificate;
use super::folder::Place;
use crate::terminal::{self, utc};

/// Shows entries.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    place: Place,
    /// Print one object per line: index, id, and the entry's own fields
    #[arg(long)]
    json: bool,
    /// Begin at the entry with this index
    #[arg(long, value_name = "N", default_value_t = 0)]
    since: u64,
    /// Only entries about the request with this id
    #[arg(value_name = "ID")]
    id: Option<IdPrefix>,
}

/// Shows the entries the published checkpoint holds.
pub(crate) fn cmd_show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let folder = args.place.folder()?;
    let checkpoint = folder.checkpoint()?;
    let size = checkpoint.map_or(0, |(checkpoint, _)| checkpoint.size());
    if size == 0 {
        terminal::say("the log has no entries yet");
    } else if args.since >= size {
        let last = size.saturating_sub(1);
        terminal::say(&format!(
            "the log ends at entry {last}: there is none from {} on",
            args.since
        ));
    }
    let log = folder.log();
    for entry in log.entries(args.since..size, size) {
        let (index, bytes) = entry?;
        let row = Row::of(&bytes);
        let wanted = match (&args.id, row.request) {
            (None, _) => true,
            (Some(prefix), Some(request)) => prefix.matches(&request.short_id()),
            (Some(_), None) => false,
        };
        if !wanted {
            continue;
        }
        if !args.json {
            terminal::data(&row.line(index))?;
        } else if let Some(line) = row.json(index, &bytes) {
            terminal::data(&line)?;
        } else {
            terminal::say(&format!("entry {index} is left out: it is no entry of this version"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    at: Option<UnixTime>,
    kind: &'static str,
    who: String,
    /// The request it is about.
    pub(super) request: Option<Digest>,
    what: String,
}

impl Row {
    /// Reads an entry, as far as it can be read.
    pub(super) fn of(bytes: &[u8]) -> Row {
        match Entry::parse(bytes) {
            Ok(Entry::Statement(entry)) => Row::of_statement(&entry),
            Ok(Entry::Certificate(entry)) => Row::of_certificate(&entry),
            Ok(Entry::HostCertificate(entry)) => Row::of_host_certificate(&entry),
            Err(error) => Row::unreadable(None, error.to_string()),
        }
    }

    fn unreadable(at: Option<UnixTime>, what: String) -> Row {
        Row { at, kind: "unreadable", who: "?".to_owned(), request: None, what }
    }

    fn of_statement(entry: &StatementEntry) -> Row {
        let bytes = entry.statement.as_bytes();
        let at = Some(entry.at);
        let read = match Kind::of(bytes) {
            Some(Kind::Request) => statement::parse(bytes).map(|body| request(at, bytes, &body)),
            Some(Kind::Decision) => statement::parse(bytes).map(|body| decision(at, &body)),
            Some(Kind::End) => statement::parse(bytes).map(|body| end(at, &body)),
            Some(Kind::Bundle) => {
                statement::parse(bytes).map(|body| bundle(at, &body, entry.signatures.len()))
            }
            Some(Kind::Host) => statement::parse(bytes).map(|body| joining(at, &body)),
            Some(Kind::Token) => statement::parse(bytes).map(|body| token(at, &body)),
            Some(Kind::Session | Kind::Report) | None => {
                return Row::unreadable(at, "a statement of unknown type".to_owned());
            }
        };
        read.unwrap_or_else(|error| Row::unreadable(at, error.to_string()))
    }

    fn of_certificate(entry: &CertificateEntry) -> Row {
        let (at, request) = (Some(entry.at), Some(entry.request));
        let Some(certificate) = certificate::parse(entry) else {
            return Row {
                request,
                ..Row::unreadable(at, "bytes that are no certificate".to_owned())
            };
        };
        let what = format!(
            "{} until {}, serial {}, rule {}",
            certificate.valid_principals().join(", "),
            utc(UnixTime(certificate.valid_before())),
            entry.serial,
            entry.rule
        );
        let who = certificate.key_id().split('/').next().unwrap_or_default().to_owned();
        Row { at, kind: "certificate", who, request, what }
    }

    fn of_host_certificate(entry: &HostCertificateEntry) -> Row {
        let at = Some(entry.at);
        let Ok(facts) = host::read(&entry.tbs.0) else {
            return Row::unreadable(at, "bytes that are no host certificate".to_owned());
        };
        let what = format!(
            "{} until {}, serial {}",
            list(&facts.principals),
            utc(facts.valid_before),
            entry.serial
        );
        Row { at, kind: "host", who: entry.host.to_string(), request: None, what }
    }

    /// The entry as one object, with its index and the id of the request it is about before its
    /// own fields; `None` if it is no entry.
    pub(super) fn json(&self, index: u64, bytes: &[u8]) -> Option<String> {
        Entry::parse(bytes).ok()?;
        // Canonical JSON: one line of UTF-8, an object with fields.
        let fields = std::str::from_utf8(bytes).ok()?.strip_prefix('{')?;
        let id = match self.request {
            Some(request) => format!("\"{}\"", request.short_id()),
            None => "null".to_owned(),
        };
        Some(format!("{{\"index\":{index},\"id\":{id},{fields}"))
    }

    /// The line for people.
    pub(super) fn line(&self, index: u64) -> String {
        let at = self.at.map_or_else(|| "-".to_owned(), utc);
        let id = self.request.map_or_else(|| "-".to_owned(), |r| r.short_id().to_string());
        let (who, what) = (harmless(&self.who), harmless(&self.what));
        format!("{index:>6}  {at:<23}  {:<11}  {id:<10}  {who}: {what}", self.kind)
    }
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn request(at: Option<UnixTime>, bytes: &[u8], body: &Request) -> Row {
    let asked = list(&principals(&body.hosts, &body.logins));
    let mut what = format!("{asked} for {}", body.r#for);
    if body.subject != body.by {
        what = format!("for {}: {what}", body.subject);
    }
    if let Some(begins) = body.not_before {
        what = format!("{what} from {}", utc(begins));
    }
    if let Some(older) = body.extends {
        what = format!("{what} more, prolonging {}", older.short_id());
    }
    what = format!("{what}, because {}", body.reason);
    let kind = match &body.break_glass {
        Some(second) => {
            what = format!("{what}; without approvals, because {second}");
            "break-glass"
        }
        None => "request",
    };
    let request = Some(Digest::of(bytes));
    Row { at, kind, who: body.by.to_string(), request, what }
}

fn decision(at: Option<UnixTime>, body: &Decision) -> Row {
    let reason = body.reason.as_ref().map_or(String::new(), |reason| format!(", because {reason}"));
    let (kind, what) = match (body.verdict, body.bounds()) {
        (Verdict::Approve, Some((span, hosts, logins))) => {
            ("approval", format!("{} for {span}{reason}", list(&principals(hosts, logins))))
        }
        (Verdict::Approve, None) => ("approval", format!("of nothing{reason}")),
        (Verdict::Deny, _) => ("denial", format!("refused{reason}")),
    };
    Row { at, kind, who: body.by.to_string(), request: Some(body.request), what }
}

fn end(at: Option<UnixTime>, body: &End) -> Row {
    let reason = body.reason.as_ref().map_or(String::new(), |reason| format!(", because {reason}"));
    let what = match body.cause {
        Cause::Cancel => "taken back before it was used",
        Cause::Release => "given back",
        Cause::Revoke => "taken away",
    };
    let what = format!("{what}{reason}");
    Row {
        at,
        kind: body.cause.as_str(),
        who: body.by.to_string(),
        request: Some(body.request),
        what,
    }
}

fn joining(at: Option<UnixTime>, body: &Host) -> Row {
    let labels: Vec<String> =
        body.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let by = body.token.map_or_else(String::new, |token| format!(" by token {}", token.short_id()));
    let what = format!(
        "{} until {}{by}, labels [{}], logins [{}], key {}",
        body.name,
        utc(body.until),
        labels.join(", "),
        list(&body.logins),
        body.key.fingerprint()
    );
    Row { at, kind: "host", who: body.by.to_string(), request: None, what }
}

fn token(at: Option<UnixTime>, body: &Token) -> Row {
    let what = format!(
        "{} hosts {} for {} each, until {}",
        body.uses,
        list(&body.names),
        body.r#for,
        utc(body.until)
    );
    Row { at, kind: "token", who: body.by.to_string(), request: None, what }
}

fn bundle(at: Option<UnixTime>, body: &Bundle, signatures: usize) -> Row {
    let what = format!("version {} in force, signed by {signatures}", body.version);
    Row { at, kind: "bundle", who: "admins".to_owned(), request: None, what }
}
