//! A PAM service as libpam reads it: one list of lines, includes in their place. Pure.

use std::path::{Path, PathBuf};

/// libpam refuses deeper nesting (PAM_SUBSTACK_MAX_LEVEL).
const MAX_DEPTH: usize = 16;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PamLine {
    /// The file it stands in.
    pub(crate) file: PathBuf,
    /// Its line, counted from 1.
    pub(crate) line: usize,
    /// `auth`, `account`, `password` or `session`, in lower case.
    pub(crate) kind: String,
    /// What is done with the module's answer: a word, or `[answer=action ...]`.
    pub(crate) control: String,
    /// The module, as it is named.
    pub(crate) module: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
}

impl PamLine {
    /// Whether the line calls this module, by whatever path.
    pub(crate) fn calls(&self, module: &str) -> bool {
        Path::new(&self.module).file_name().is_some_and(|name| name == module)
    }

    /// The hook's program, if this line calls it: what `pam_exec.so` runs, after its own options.
    pub(crate) fn hook(&self) -> Option<&Path> {
        let mut words = self.arguments.iter().skip_while(|word| !word.starts_with('/'));
        let program = Path::new(words.next()?);
        let is_ours = program.file_name().is_some_and(|name| name == "jit-ssh-host")
            && words.next().is_some_and(|word| word == "session");
        (self.kind == "session" && self.calls("pam_exec.so") && is_ours).then_some(program)
    }

    /// What the hook is told by this option.
    pub(crate) fn hook_option(&self, option: &str) -> Option<&Path> {
        self.hook()?;
        let mut words = self.arguments.iter().skip_while(|word| *word != option);
        words.nth(1).map(Path::new)
    }

    /// The options of `pam_exec.so` itself.
    pub(crate) fn has_option(&self, option: &str) -> bool {
        self.arguments.iter().take_while(|word| !word.starts_with('/')).any(|word| word == option)
    }

    /// The action for this answer in a `[answer=action ...]`, `default` included.
    fn action(&self, answer: &str) -> Option<&str> {
        let list = self.control.strip_prefix('[')?.strip_suffix(']')?;
        let of = |wanted: &str| {
            list.split_whitespace()
                .filter_map(|pair| pair.split_once('='))
                .find_map(|(name, action)| (name == wanted).then_some(action))
        };
        of(answer).or_else(|| of("default"))
    }

    /// Whether the line reads what people set in files of their own into PAM's environment.
    pub(crate) fn reads_user_environment(&self) -> bool {
        // `pam_env.so` takes any number but 0 for yes.
        let is_on =
            |word: &String| word.strip_prefix("user_readenv").is_some_and(|value| value != "=0");
        self.calls("pam_env.so") && self.arguments.iter().any(is_on)
    }

    /// Whether a failure of the module refuses the session, and a success lets the rest go on. By
    /// what `pam_exec.so` answers: `system_err` where its program fails.
    pub(crate) fn is_binding(&self) -> bool {
        match self.control.as_str() {
            "required" | "requisite" => true,
            _ => {
                matches!(self.action("system_err"), Some("bad" | "die"))
                    && matches!(self.action("success"), Some("ok"))
            }
        }
    }

    /// Whether an answer of the module can end the stack well, or jump over this many lines.
    pub(crate) fn can_skip(&self, lines: usize) -> bool {
        if self.control == "sufficient" {
            return true;
        }
        let Some(list) = self.control.strip_prefix('[') else {
            return false;
        };
        list.trim_end_matches(']').split_whitespace().filter_map(|pair| pair.split_once('=')).any(
            |(_, action)| action == "done" || action.parse::<usize>().is_ok_and(|by| by >= lines),
        )
    }

    /// Whether an answer of the module makes libpam forget failures before it.
    pub(crate) fn can_forget(&self) -> bool {
        self.control.starts_with('[') && self.control.contains("=reset")
    }
}

/// Reads the service file's `text`; `read` gives the text of a file it includes.
///
/// # Errors
/// The file and line of an include that can not be read.
pub(crate) fn read(
    path: &Path,
    text: &str,
    read: &dyn Fn(&str) -> Option<(PathBuf, String)>,
) -> Result<Vec<PamLine>, String> {
    let mut lines = Vec::new();
    file(path, text, None, 0, read, &mut lines)?;
    Ok(lines)
}

fn file(
    path: &Path,
    text: &str,
    only: Option<&str>,
    depth: usize,
    read: &dyn Fn(&str) -> Option<(PathBuf, String)>,
    lines: &mut Vec<PamLine>,
) -> Result<(), String> {
    for (number, line) in joined(text) {
        let words = words(&line);
        let (kind, control, rest) = match words.as_slice() {
            [word, name, ..] if word == "@include" => ("", "include", std::slice::from_ref(name)),
            [kind, control, rest @ ..] => (kind.as_str(), control.as_str(), rest),
            _ => continue,
        };
        let kind = kind.trim_start_matches('-').to_ascii_lowercase();
        if only.is_some_and(|only| !kind.is_empty() && kind != only) {
            continue;
        }
        let Some((module, arguments)) = rest.split_first() else {
            continue;
        };
        if matches!(control, "include" | "substack") {
            let only = if kind.is_empty() { only } else { Some(kind.as_str()) };
            let included = read(module).filter(|_| depth < MAX_DEPTH);
            let (included, text) = included.ok_or_else(|| {
                format!("{}:{number} includes {module}, which can not be read", path.display())
            })?;
            file(&included, &text, only, depth + 1, read, lines)?;
        } else {
            lines.push(PamLine {
                file: path.to_owned(),
                line: number,
                kind,
                control: control.to_ascii_lowercase(),
                module: module.clone(),
                arguments: arguments.iter().map(|word| unbracketed(word)).collect(),
            });
        }
    }
    Ok(())
}

/// libpam takes the brackets off an argument.
fn unbracketed(word: &str) -> String {
    let inner = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    inner.unwrap_or(word).to_owned()
}

/// The lines without comments, each that ends with a backslash joined with the next.
pub(crate) fn joined(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (place, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let (part, more) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match all.last_mut().filter(|_| goes_on) {
            Some((_, text)) => {
                text.push(' ');
                text.push_str(part);
            }
            None => all.push((place + 1, part.to_owned())),
        }
        goes_on = more;
    }
    all
}

/// Words parted by white space; one in brackets may hold some.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = match rest.starts_with('[') {
            true => rest.find(']').map_or(rest.len(), |end| end + 1),
            false => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(text: &str) -> Result<Vec<PamLine>, String> {
        let included = |name: &str| {
            let text = "auth required pam_unix.so\nsession optional pam_systemd.so\n";
            Some((PathBuf::from("/p/common"), text.to_owned())).filter(|_| name == "common")
        };
        read(Path::new("/p/sshd"), text, &included)
    }

    #[test]
    fn includes_stand_in_their_place_and_only_with_lines_of_their_kind() {
        let modules = |text| -> Vec<_> {
            stack(text).unwrap().into_iter().map(|l| (l.kind, l.module, l.line)).collect()
        };
        let line = |kind: &str, module: &str, line| (kind.to_owned(), module.to_owned(), line);
        let all = modules("# x\n@include common\nsession required pam_a.so # y\n");
        let (unix, systemd) =
            (line("auth", "pam_unix.so", 1), line("session", "pam_systemd.so", 2));
        assert_eq!(all, [unix, systemd.clone(), line("session", "pam_a.so", 3)]);
        assert_eq!(modules("session include common"), std::slice::from_ref(&systemd));
        assert_eq!(modules("-Session substack common"), [systemd]);
        let error = stack("\nsession include nothing").unwrap_err();
        assert!(error.contains("/p/sshd:2 includes nothing"), "{error}");
    }

    #[test]
    fn brackets_and_joined_lines_are_one() {
        let text =
            "session [success=ok default=bad] pam_exec.so \\\n quiet [a b] /x/jit-ssh-host session";
        let line = stack(text).unwrap().remove(0);
        assert_eq!(line.arguments, ["quiet", "a b", "/x/jit-ssh-host", "session"]);
        assert!(line.is_binding() && line.has_option("quiet") && !line.has_option("session"));
        assert_eq!(line.hook(), Some(Path::new("/x/jit-ssh-host")));
    }

    #[test]
    fn only_pam_exec_of_our_program_with_its_command_is_the_hook() {
        let hook = |text: &str| stack(text).unwrap().remove(0).hook().is_some();
        assert!(hook("session required pam_exec.so type=open_session /a/jit-ssh-host session"));
        let line = stack("session required pam_exec.so /a/jit-ssh-host session --etc /x --run /y");
        let line = line.unwrap().remove(0);
        assert_eq!(line.hook_option("--run"), Some(Path::new("/y")));
        assert_eq!(line.hook_option("--state"), None);
        assert!(hook("session optional /lib/security/pam_exec.so /a/jit-ssh-host session --x"));
        for other in [
            "auth required pam_exec.so /a/jit-ssh-host session",
            "session required pam_exec.so /a/jit-ssh-host",
            "session required pam_exec.so jit-ssh-host session",
            "session required pam_exec.so /a/other session",
            "session required pam_echo.so /a/jit-ssh-host session",
        ] {
            assert!(!hook(other), "{other}");
        }
    }

    #[test]
    fn what_binds_and_what_skips_is_told_by_the_control() {
        let line = |control: &str| stack(&format!("session {control} pam_a.so")).unwrap().remove(0);
        for binding in ["required", "requisite", "[success=ok default=die]"] {
            assert!(line(binding).is_binding(), "{binding}");
        }
        for loose in ["optional", "sufficient", "[default=ignore]", "[success=done default=bad]"] {
            assert!(!line(loose).is_binding(), "{loose}");
        }
        assert!(line("sufficient").can_skip(9) && line("[success=done]").can_skip(9));
        assert!(line("[success=2]").can_skip(2) && !line("[success=2]").can_skip(3));
        assert!(!line("required").can_skip(1));
        assert!(
            line("Required").is_binding() && !line("[system_err=ignore default=die]").is_binding()
        );
        assert!(line("[success=ok default=reset]").can_forget() && !line("required").can_forget());
    }

    #[test]
    fn what_people_set_is_read_unless_it_is_switched_off() {
        let reads = |text: &str| {
            stack(&format!("session required {text}")).unwrap().remove(0).reads_user_environment()
        };
        for on in [
            "pam_env.so user_readenv=1",
            "/l/pam_env.so x user_readenv=2",
            "pam_env.so [user_readenv=1]",
        ] {
            assert!(reads(on), "{on}");
        }
        for off in [
            "pam_env.so",
            "pam_env.so user_readenv=0",
            "pam_env.so readenv=1",
            "pam_x.so user_readenv=1",
        ] {
            assert!(!reads(off), "{off}");
        }
    }
}
