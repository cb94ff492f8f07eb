//! The PAM hook, by which the guard hears of every session: whether it runs, in the right place, as
//! root and as nobody else.

use std::path::{Path, PathBuf};

use super::by_value;
use crate::doctor::facts::{Asked, Facts, Look, Node, Running};
use crate::doctor::finding::Severity::{Critical, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};
use crate::doctor::pam_stack::PamLine;
use crate::settings::Guard;

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PamWeakness {
    /// The service file can not be read: why.
    Unreadable(String),
    /// Others may write to a file of the service.
    Open(Node),
    /// Nothing calls the hook.
    HookMissing,
    /// The hook is there, and the host is set up without a guard.
    HookUnasked,
    /// It is called more than once.
    HookTwice,
    /// What the person sets in files of their own comes to the hook.
    HookAfterUserEnvironment { reader: Place },
    /// It runs before what gives the session its cgroup or its login id.
    HookTooEarly { module: &'static str },
    /// Its failure does not refuse the session.
    HookNotRequired { control: String },
    /// A line can end the stack before it, jump over it, or have its failure forgotten.
    HookSkipped { by: Place },
    /// It runs at the end of sessions too.
    HookOnClose,
    /// It runs with the wrong user id.
    HookSetEuid,
    /// It reads the settings of another folder: which.
    HookOtherEtc(PathBuf),
    /// There is no such program.
    ProgramMissing(PathBuf),
    /// It can not be run.
    ProgramNotExecutable(PathBuf),
    /// Others may write to it, or to a folder above it.
    ProgramOpen(Node),
    /// sshd reads another service file: its name there, and for whom.
    OtherService { service: String, who: String },
}

use PamWeakness as W;

/// The line as it should stand.
const LINE: &str =
    "session required pam_exec.so quiet type=open_session /usr/local/bin/jit-ssh-host session";
const UNHEARD: Effect = Effect::Unended("the PAM hook does not reach the guard");

impl PamWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::Unreadable(why) => Description::new(
                "PAM_UNREADABLE",
                Critical,
                format!("The PAM service file can not be read: {why}. Whether the hook runs is unknown."),
                "name sshd's service file with --pam FILE, or mend the include",
            )
            .breaks(UNHEARD),
            W::Open(node) => Description::new(
                "PAM_FILE_OPEN",
                Critical,
                format!("{} (mode {:04o}, user {}) can be changed by others than root: they decide what runs as root at each login.", node.path.display(), node.mode, node.owner),
                format!("chown root:root {0}; chmod go-w {0}", node.path.display()),
            ),
            W::HookMissing => Description::new(
                "HOOK_MISSING",
                Critical,
                "No line of this service calls the hook: the guard hears of no session and ends none.",
                format!("run jit-ssh-host setup again, or put after pam_systemd and before any user_readenv: {LINE}"),
            )
            .breaks(Effect::Unended("there is no PAM hook")),
            W::HookUnasked => Description::new(
                "HOOK_UNASKED",
                Warning,
                "This line calls the hook, but the host is set up without a guard: where nobody listens, a required hook refuses every session.",
                "run jit-ssh-host setup again, with the guard that is wanted",
            ),
            W::HookTwice => Description::new(
                "HOOK_TWICE",
                Warning,
                "The hook is called here a second time: the first line is enough.",
                "take this line out",
            ),
            W::HookAfterUserEnvironment { reader } => Description::new(
                "HOOK_AFTER_USER_ENVIRONMENT",
                Critical,
                format!("{reader} reads the person's own ~/.pam_environment (user_readenv) before the hook runs: with LD_PRELOAD there, their code runs as root, and they can hide their certificate from the guard."),
                "move the hook above that line, or take user_readenv out of it",
            )
            .breaks(Effect::Unended("people can hide from the PAM hook")),
            W::HookTooEarly { module } => Description::new(
                "HOOK_TOO_EARLY",
                Warning,
                format!("The hook stands before {module}: the session has not got its own cgroup and login id yet, so the guard can not find what detaches from it."),
                format!("move the hook below the line of {module} (on Debian, below @include common-session)"),
            )
            .breaks(Effect::Survivors),
            W::HookNotRequired { control } => Description::new(
                "HOOK_NOT_REQUIRED",
                Critical,
                format!("The hook's line is `{control}`: where the hook fails, the session goes on and nobody ends it; `sufficient` also skips all lines below."),
                format!("make it `required`: {LINE}"),
            )
            .breaks(Effect::Unended("sessions go on where the PAM hook fails")),
            W::HookSkipped { by } => Description::new(
                "HOOK_SKIPPED",
                Critical,
                format!("{by} can end the stack or jump over lines before the hook runs, or make its failure forgotten (reset): then nobody ends the session."),
                "make that line `required` or `optional`, or put the hook where that line has no say",
            )
            .breaks(UNHEARD),
            W::HookOnClose => Description::new(
                "HOOK_ON_CLOSE",
                Warning,
                "The hook's line lacks type=open_session: it runs when sessions end as well, where it has nothing to say.",
                format!("write: {LINE}"),
            ),
            W::HookSetEuid => Description::new(
                "HOOK_SETEUID",
                Critical,
                "The hook's line has `seteuid`: the hook then may run with rights that the guard does not take it by.",
                "take `seteuid` out of the line",
            )
            .breaks(UNHEARD),
            W::HookOtherEtc(etc) => Description::new(
                "HOOK_OTHER_ETC",
                Critical,
                format!("The hook goes by the host files in {}: what it asks of sessions is not what this host is set up for.", etc.display()),
                "run jit-ssh-host setup again, or mend --etc in the hook's line",
            )
            .breaks(UNHEARD),
            W::ProgramMissing(path) => Description::new(
                "HOOK_PROGRAM_MISSING",
                Critical,
                format!("The hook calls {}, which is not there: every session is refused, or none is told to the guard.", path.display()),
                "run jit-ssh-host setup again, or mend the path",
            )
            .breaks(UNHEARD),
            W::ProgramNotExecutable(path) => Description::new(
                "HOOK_PROGRAM_NOT_EXECUTABLE",
                Critical,
                format!("The hook calls {}, which can not be run.", path.display()),
                format!("chmod 0755 {}", path.display()),
            )
            .breaks(UNHEARD),
            W::ProgramOpen(node) => Description::new(
                "HOOK_PROGRAM_OPEN",
                Critical,
                format!("{} (mode {:04o}, user {}) can be changed by others than root, and the hook runs it, or what lies below it, as root at each login.", node.path.display(), node.mode, node.owner),
                format!("chown root:root {0}; chmod go-w {0}", node.path.display()),
            ),
            W::OtherService { service, who } => Description::new(
                "PAM_OTHER_SERVICE",
                Critical,
                format!("For {who}, sshd uses the PAM service `{service}`, so it does not read the file with the hook: the hook never runs there, and nobody ends these sessions."),
                format!("have PAMServiceName be one for all accounts and connections; then, where it is to be this one: jit-ssh-host setup ... --pam /etc/pam.d/{service}"),
            )
            .breaks(UNHEARD),
        }
    }
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    // Without settings nobody knows whether there should be a hook.
    let Some(settings) = facts.settings() else {
        return Vec::new();
    };
    let file = || Place::file(&facts.pam.file);
    let has_guard = settings.guard != Guard::Off;
    let lines = match &facts.pam.lines {
        Look::Seen(lines) => lines,
        Look::Absent if has_guard => {
            return vec![W::Unreadable("it is not there".to_owned()).at(file())];
        }
        Look::Unreadable(why) if has_guard => return vec![W::Unreadable(why.clone()).at(file())],
        Look::Absent | Look::Unreadable(_) => return Vec::new(),
    };
    let place = |line: &PamLine| Place::line(&line.file, line.line);
    let mut hooks = lines.iter().enumerate().filter(|(_, line)| line.hook().is_some());
    let Some((at, hook)) = hooks.next() else {
        return if has_guard { vec![W::HookMissing.at(file())] } else { Vec::new() };
    };
    let mut findings: Vec<Finding> =
        hooks.map(|(_, again)| W::HookTwice.at(place(again))).collect();
    if !has_guard {
        findings.push(W::HookUnasked.at(place(hook)));
    }
    let etc = hook.hook_option("--etc").unwrap_or(Path::new("/etc/ssh"));
    if etc != facts.layout.etc() {
        findings.push(W::HookOtherEtc(etc.to_owned()).at(place(hook)));
    }
    let of_line = line(lines, at, hook, settings.guard);
    findings.extend(of_line.into_iter().map(|weakness| weakness.at(place(hook))));
    for node in facts.pam.nodes.iter().filter(|node| node.is_open() || node.owner != 0) {
        findings.push(W::Open(node.clone()).at(Place::file(&node.path)));
    }
    findings.extend(program(facts, hook).into_iter().map(|weakness| weakness.at(place(hook))));
    findings.extend(other_services(facts));
    findings
}

/// What is wrong with the hook's line and its place.
fn line(lines: &[PamLine], at: usize, hook: &PamLine, guard: Guard) -> Vec<PamWeakness> {
    let place = |line: &PamLine| Place::line(&line.file, line.line);
    let session: Vec<(usize, &PamLine)> =
        lines.iter().enumerate().filter(|(_, line)| line.kind == "session").collect();
    let before = || session.iter().filter(|(place, _)| *place < at).map(|(_, line)| *line);
    let mut found = Vec::new();

    // What pam_env reads in the auth stack comes with pam_setcred, before any session line.
    let auth = lines.iter().filter(|line| line.kind == "auth");
    if let Some(reader) = auth.chain(before()).find(|line| line.reads_user_environment()) {
        found.push(W::HookAfterUserEnvironment { reader: place(reader) });
    }
    for module in ["pam_systemd.so", "pam_loginuid.so"] {
        if session.iter().any(|(place, line)| *place > at && line.calls(module)) {
            found.push(W::HookTooEarly { module });
        }
    }
    if !hook.is_binding() && (guard == Guard::Required || hook.control == "sufficient") {
        found.push(W::HookNotRequired { control: hook.control.clone() });
    }
    let distance = before().count();
    let skips = before().enumerate().find(|(place, line)| line.can_skip(distance - place));
    let after = session.iter().filter(|(place, _)| *place > at).map(|(_, line)| *line);
    let forgets = after.into_iter().find(|line| line.can_forget());
    if let Some(by) = skips.map(|(_, line)| line).or(forgets) {
        found.push(W::HookSkipped { by: place(by) });
    }
    if !hook.has_option("type=open_session") {
        found.push(W::HookOnClose);
    }
    if hook.has_option("seteuid") {
        found.push(W::HookSetEuid);
    }
    found
}

fn program(facts: &Facts, hook: &PamLine) -> Vec<PamWeakness> {
    let Some(path) = hook.hook() else {
        return Vec::new();
    };
    let Some(program) = facts.pam.program.first() else {
        return vec![W::ProgramMissing(path.to_owned())];
    };
    let mut found = Vec::new();
    if program.mode & 0o100 == 0 {
        found.push(W::ProgramNotExecutable(path.to_owned()));
    }
    // In a folder with the sticky bit, others can not replace what is root's.
    let is_sticky = |node: &Node| node.mode & 0o1000 != 0 && node.owner == 0;
    let open = facts
        .pam
        .program
        .iter()
        .filter(|node| (node.is_open() && !is_sticky(node)) || node.owner != 0);
    found.extend(open.cloned().map(W::ProgramOpen));
    found
}

/// The PAM services that sshd uses, for our logins, instead of the one with the hook.
fn other_services(facts: &Facts) -> Vec<Finding> {
    let file = &facts.pam.file;
    let is_other = |service: &str| file.file_name().is_some_and(|name| name != service);
    match (facts.sshd.version, &facts.running) {
        // A setting, which a Match can make another for some.
        (Some(version), _) if version >= (9, 8) => {
            const KEYWORD: &str = "PAMServiceName";
            let has_logins = facts.sshd.asked.iter().any(|asked| asked.is_login);
            let service = |asked: &Asked| {
                let name = asked.effective.get(KEYWORD);
                let counts = asked.is_login || !has_logins;
                (counts && name != "none" && is_other(name)).then(|| name.to_owned())
            };
            let found = by_value(facts, service).into_iter();
            found
                .map(|(service, who)| {
                    let place = facts.place_of(KEYWORD, &service);
                    W::OtherService { service, who }.at(place)
                })
                .collect()
        }
        // Before 9.8, the program's own name.
        (Some(_), Running::Found { words, .. }) => {
            let name = words.first().and_then(|word| word.rsplit('/').next());
            let other = name.filter(|name| is_other(name)).map(str::to_owned);
            let who = "every account".to_owned();
            let found = other.map(|service| W::OtherService { service, who }.at(Place::file(file)));
            found.into_iter().collect()
        }
        _ => Vec::new(),
    }
}
