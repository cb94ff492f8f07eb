//! The line of our hook in sshd's PAM service: where it must stand, and how it gets there. Pure.
//!
//! The hook runs as root, after the modules that give a session its login id and its control group
//! (`pam_loginuid.so`, `pam_systemd.so`), and before any that reads an environment the person wrote
//! (`pam_env.so user_readenv=1`): pam_exec hands that environment to the hook, `LD_PRELOAD` and all.
//! Nothing may jump over it, end the stack before it, or have its failure forgotten after it.

use std::path::{Path, PathBuf};

use crate::doctor::pam_stack::{self, PamLine};
use crate::error::CommandError;

/// Modules that come before the hook.
const BEFORE: [&str; 3] = ["pam_loginuid.so", "pam_systemd.so", "pam_elogind.so"];

/// Files that distributions keep for what every session needs; what will be added there later must
/// come before the hook, too.
const SHARED: [&str; 4] = ["common-session", "password-auth", "system-auth", "system-login"];

/// A PAM service file, and what it includes.
pub(crate) struct Service<'a> {
    /// The service file.
    pub(crate) path: &'a Path,
    /// Its text.
    pub(crate) text: &'a str,
    /// Gives path and text of a file it includes.
    pub(crate) read: &'a dyn Fn(&str) -> Option<(PathBuf, String)>,
}

/// What the service file should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The text with the hook in its place.
    pub(crate) text: String,
    /// What deserves a word.
    pub(crate) words: Vec<String>,
}

/// The line that calls `program` as the hook, with more arguments for it.
pub(crate) fn hook_line(program: &Path, arguments: &[String]) -> String {
    let mut line = format!(
        "session required pam_exec.so type=open_session quiet {} session",
        program.display()
    );
    for argument in arguments {
        line.push(' ');
        line.push_str(argument);
    }
    line
}

/// Puts `hook` into its place.
///
/// # Errors
/// If there is no such place, with the line that is in the way.
pub(crate) fn with_hook(service: &Service<'_>, hook: &str) -> Result<Placed, CommandError> {
    let entries = entries(service)?;
    foreign_hook(service, &entries)?;
    let rest: Vec<&Entry<'_>> = entries.iter().filter(|entry| !entry.is_hook()).collect();
    let stack = Stack::of(service, &rest);
    let place = stack.place()?;
    let hooks: Vec<usize> =
        (0..entries.len()).filter(|at| entries.get(*at).is_some_and(Entry::is_hook)).collect();
    let mut words = stack.words(place);
    if let [at] = hooks.as_slice()
        && entries.get(*at).is_some_and(|entry| entry.text.trim_end() == hook)
        && stack.fault(*at).is_none()
    {
        return Ok(Placed { text: service.text.to_owned(), words });
    }
    if let Some(old) = hooks.first().and_then(|at| entries.get(*at)) {
        words.push(format!(
            "{}:{} calls the hook, but not as it must, or not where it must: it is put right.",
            service.path.display(),
            old.line
        ));
    }
    let mut text = String::with_capacity(service.text.len() + hook.len() + 1);
    for (at, entry) in rest.iter().enumerate() {
        if at == place {
            text.push_str(hook);
            text.push('\n');
        }
        text.push_str(entry.text);
    }
    if place == rest.len() {
        // The line break goes again with the line.
        let has_break = text.is_empty() || text.ends_with('\n');
        text.push_str(if has_break { "" } else { "\n" });
        text.push_str(hook);
        text.push_str(if has_break { "\n" } else { "" });
    }
    Ok(Placed { text, words })
}

/// The service file without any line that calls our hook.
pub(crate) fn without_hook(path: &Path, text: &str) -> String {
    let nothing = |_: &str| Some((PathBuf::new(), String::new()));
    let service = Service { path, text, read: &nothing };
    // Without includes to read, there is nothing that can not be read.
    let Ok(entries) = entries(&service) else { return text.to_owned() };
    let mut kept: String =
        entries.iter().filter(|entry| !entry.is_hook()).map(|entry| entry.text).collect();
    if entries.last().is_some_and(|entry| entry.is_hook() && !entry.text.ends_with('\n')) {
        kept.truncate(kept.trim_end_matches('\n').len());
    }
    kept
}

/// Checks that exactly one line calls the hook, as it must and where it must.
///
/// # Errors
/// What is wrong.
pub(crate) fn check(service: &Service<'_>, hook: &str) -> Result<(), CommandError> {
    match with_hook(service, hook)?.text == service.text {
        true => Ok(()),
        false => Err(CommandError::new(format!(
            "{} does not call the hook as it must.",
            service.path.display()
        ))
        .named("NOT_IN_FORCE")),
    }
}

/// A line of the service file with those it is continued by, and what it stands for.
struct Entry<'a> {
    /// Its first line, counted from 1.
    line: usize,
    /// Its bytes, line breaks included.
    text: &'a str,
    /// What is run for it.
    lines: Vec<PamLine>,
    /// Whether what it includes is a stack of its own, of which no jump leads out.
    is_substack: bool,
    /// The file it includes, by name.
    includes: Option<String>,
}

impl Entry<'_> {
    fn is_hook(&self) -> bool {
        self.includes.is_none() && self.lines.iter().any(|line| line.hook().is_some())
    }
}

fn entries<'a>(service: &Service<'a>) -> Result<Vec<Entry<'a>>, CommandError> {
    let physical: Vec<&str> = service.text.split_inclusive('\n').collect();
    let logical = pam_stack::joined(service.text);
    let ends = logical.iter().skip(1).map(|(start, _)| start - 1).chain([physical.len()]);
    let mut entries = Vec::with_capacity(logical.len());
    let mut offset = 0;
    for ((start, joined), end) in logical.iter().zip(ends) {
        let lines = physical.get(start - 1..end).unwrap_or_default();
        let length: usize = lines.iter().map(|line| line.len()).sum();
        let text = service.text.get(offset..offset + length).unwrap_or_default();
        offset += length;
        let words = pam_stack::words(joined);
        let (control, includes) = match words.as_slice() {
            [word, name, ..] if word == "@include" => ("include", Some(name)),
            [_, control, name, ..] if control == "include" || control == "substack" => {
                (control.as_str(), Some(name))
            }
            _ => ("", None),
        };
        let mut read = pam_stack::read(service.path, joined, service.read).map_err(|_| {
            let what = includes.map_or("a file", String::as_str);
            CommandError::new(format!(
                "{}:{start} includes {what}, which can not be read: nobody knows what runs there.",
                service.path.display()
            ))
            .named("PAM_UNREADABLE")
        })?;
        for line in read.iter_mut().filter(|line| line.file == service.path) {
            line.line = *start;
        }
        let (is_substack, includes) = (control == "substack", includes.cloned());
        entries.push(Entry { line: *start, text, lines: read, is_substack, includes });
    }
    Ok(entries)
}

/// A hook that stands in a file which other services read, too.
fn foreign_hook(service: &Service<'_>, entries: &[Entry<'_>]) -> Result<(), CommandError> {
    let included = entries.iter().filter(|entry| entry.includes.is_some());
    let Some(hook) = included.flat_map(|entry| &entry.lines).find(|line| line.hook().is_some())
    else {
        return Ok(());
    };
    Err(CommandError::new(format!(
        "{}:{} calls the hook, in a file that {} includes: other services may, too.",
        hook.file.display(),
        hook.line,
        service.path.display()
    ))
    .named("NO_PLACE_IN_PAM")
    .hint("nothing is changed; take that line out, then run setup again"))
}

/// What is run when a session opens, entry by entry.
struct Stack<'a> {
    service: &'a Service<'a>,
    /// For each handler libpam counts: its entry, and its line; none for a substack.
    handlers: Vec<(usize, Option<&'a PamLine>)>,
    /// Each line that runs, substacks' too, with its entry.
    lines: Vec<(usize, &'a PamLine)>,
    /// Entries that include what every session needs.
    shared: Vec<usize>,
    entries: usize,
    /// A line of the auth stack that reads what people wrote: that comes before any session line.
    early_reader: Option<&'a PamLine>,
}

impl<'a> Stack<'a> {
    fn of(service: &'a Service<'a>, entries: &[&'a Entry<'a>]) -> Stack<'a> {
        let mut stack = Stack {
            service,
            handlers: Vec::new(),
            lines: Vec::new(),
            shared: Vec::new(),
            entries: entries.len(),
            early_reader: None,
        };
        for (at, entry) in entries.iter().enumerate() {
            let session = || entry.lines.iter().filter(|line| line.kind == "session");
            stack.lines.extend(session().map(|line| (at, line)));
            match entry.is_substack && session().next().is_some() {
                true => stack.handlers.push((at, None)),
                false => stack.handlers.extend(session().map(|line| (at, Some(line)))),
            }
            let name = entry.includes.as_deref().map(|name| Path::new(name).file_name());
            let is_shared = name.flatten().is_some_and(|name| SHARED.iter().any(|s| name == *s));
            if is_shared && session().next().is_some() {
                stack.shared.push(at);
            }
            let auth = entry.lines.iter().filter(|line| line.kind == "auth");
            let reader = auth.into_iter().find(|line| line.reads_user_environment());
            stack.early_reader = stack.early_reader.or(reader);
        }
        stack
    }

    /// The place to put the hook: before the entry with this number.
    fn place(&self) -> Result<usize, CommandError> {
        let last = |entry: Option<usize>| entry.map_or(0, |entry| entry + 1);
        let is_needed = |line: &PamLine| BEFORE.iter().any(|module| line.calls(module));
        let needed = last(self.lines.iter().filter(|(_, l)| is_needed(l)).map(|(at, _)| *at).max());
        let shared = last(self.shared.iter().copied().max()).max(needed);
        let good = |from: usize| (from..=self.entries).find(|place| self.fault(*place).is_none());
        if shared == 0 {
            // Nothing says where: after as much as can be.
            let end = last(self.lines.iter().map(|(at, _)| *at).max());
            let place = (0..=end).rev().find(|place| self.fault(*place).is_none());
            return place.ok_or_else(|| self.no_place(end));
        }
        good(shared).or_else(|| good(needed)).ok_or_else(|| self.no_place(needed))
    }

    /// What is wrong with the hook before the entry with this number.
    fn fault(&self, place: usize) -> Option<Fault<'a>> {
        if let Some(reader) = self.early_reader {
            return Some(Fault::Reader(reader));
        }
        let (before, after): (Vec<_>, Vec<_>) = self.lines.iter().partition(|(at, _)| *at < place);
        let find = |lines: &[(usize, &'a PamLine)], is: &dyn Fn(&PamLine) -> bool| {
            lines.iter().find(|(_, line)| is(line)).map(|(_, line)| *line)
        };
        if let Some(reader) = find(&before, &PamLine::reads_user_environment) {
            return Some(Fault::Reader(reader));
        }
        let handlers = self.handlers.iter().take_while(|(at, _)| *at < place).count();
        let jumps = self.handlers.iter().take(handlers).enumerate();
        let skips = |(at, handler): (usize, &(usize, Option<&'a PamLine>))| {
            handler.1.filter(|line| line.can_skip(handlers - at))
        };
        if let Some(line) = jumps.into_iter().find_map(skips) {
            return Some(Fault::Skip(line));
        }
        if let Some(line) = find(&after, &PamLine::can_forget) {
            return Some(Fault::Forget(line));
        }
        let is_needed = |line: &PamLine| BEFORE.iter().any(|module| line.calls(module));
        find(&after, &is_needed).map(Fault::Early)
    }

    fn no_place(&self, wanted: usize) -> CommandError {
        let error = CommandError::new(match self.fault(wanted) {
            Some(fault) => format!(
                "There is no place for the hook in {}: {}.",
                self.service.path.display(),
                fault.problem()
            ),
            None => format!("There is no place for the hook in {}.", self.service.path.display()),
        });
        let error = error.named("NO_PLACE_IN_PAM").hint("nothing is changed");
        match self.fault(wanted) {
            Some(fault) => error.hint(fault.way_out()),
            None => error,
        }
    }

    /// What deserves a word though the place is good.
    fn words(&self, place: usize) -> Vec<String> {
        let mut before = self.lines.iter().filter(|(at, _)| *at < place);
        let opens = before.find(|(_, line)| {
            line.calls("pam_selinux.so") && line.arguments.iter().any(|word| word == "open")
        });
        let word = opens.map(|(_, line)| {
            format!(
                "{}:{} sets the person's SELinux context before the hook, which then runs in it: confined users may be unable to reach the guard, and are refused.",
                line.file.display(),
                line.line
            )
        });
        word.into_iter().collect()
    }
}

/// Why the hook can not stand somewhere.
enum Fault<'a> {
    /// What the person wrote would be read before it.
    Reader(&'a PamLine),
    /// A line before it can jump over it, or end the stack.
    Skip(&'a PamLine),
    /// A line after it can have its failure forgotten.
    Forget(&'a PamLine),
    /// A module that must come before it comes after it.
    Early(&'a PamLine),
}

impl Fault<'_> {
    fn problem(&self) -> String {
        let place = |line: &PamLine| format!("{}:{}", line.file.display(), line.line);
        match self {
            Fault::Reader(line) => format!(
                "{} (`{}` with user_readenv) reads files that people write themselves before the hook, which would run as root with what stands there",
                place(line),
                line.module
            ),
            Fault::Skip(line) => format!(
                "{} (`{} {}`) can skip what comes after it",
                place(line),
                line.control,
                line.module
            ),
            Fault::Forget(line) => format!(
                "{} (`{} {}`) can have a failure before it forgotten",
                place(line),
                line.control,
                line.module
            ),
            Fault::Early(line) => {
                format!("{} (`{}`) must run before the hook", place(line), line.module)
            }
        }
    }

    fn way_out(&self) -> String {
        match self {
            Fault::Reader(_) => {
                "take user_readenv=1 out there, or move that line below pam_systemd.so and common-session"
            }
            Fault::Skip(_) | Fault::Forget(_) => {
                "put that line below the hook's place, or change what it does with an answer"
            }
            Fault::Early(_) => "put that line further up",
        }
        .to_owned()
            + ", then run setup again; or set the host up with --guard off"
    }
}

#[cfg(test)]
mod tests;
