//! One man page for each command, in roff's man macros. Pure.

use clap::{Arg, Command};

/// The pages of a program and of all its commands that are shown: file name and text.
pub fn pages(program: &Command, section: u8) -> Vec<(String, String)> {
    let mut program = program.clone();
    program.build();
    let name = program.get_name().to_owned();
    let mut out = Vec::new();
    let mut open = vec![(name.clone(), program.clone(), Vec::new())];
    while let Some((name, command, seen)) = open.pop() {
        let page =
            Page { name: &name, command: &command, program: &program, section, above: &seen };
        out.push((format!("{}.{section}", name.replace(' ', "-")), page.text()));
        let mut above = seen.clone();
        above.push(name.clone());
        for below in shown(&command) {
            open.push((format!("{name} {}", below.get_name()), below.clone(), above.clone()));
        }
    }
    out.sort();
    out
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help")
}

struct Page<'a> {
    name: &'a str,
    command: &'a Command,
    program: &'a Command,
    section: u8,
    above: &'a [String],
}

impl Page<'_> {
    fn text(&self) -> String {
        let dashed = self.name.replace(' ', "-");
        let version = self.program.get_version().unwrap_or_default();
        let section = self.section;
        let about = self.command.get_about().map(ToString::to_string).unwrap_or_default();
        let about = about.trim_end_matches('.');
        let program = self.program.get_name();
        let mut out = format!(
            ".TH {} {section} \"\" \"{program} {version}\" \"{program}\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.nf\n",
            plain(&dashed.to_uppercase()),
            plain(&dashed),
            plain(about)
        );
        let usage = self.command.clone().render_usage().to_string();
        for line in usage.trim_start_matches("Usage:").trim().lines() {
            out.push_str(&format!("{}\n", line_of(line.trim())));
        }
        out.push_str(".fi\n");
        let commands: Vec<&Command> = shown(self.command).collect();
        if !commands.is_empty() {
            out.push_str(".SH COMMANDS\n");
        }
        for command in &commands {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let name = plain(command.get_name());
            out.push_str(&format!(".TP\n.B {name}\n{}\n", line_of(&about)));
        }
        let visible = || self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        section_of(&mut out, "ARGUMENTS", visible().filter(|arg| arg.is_positional()));
        section_of(&mut out, "OPTIONS", visible().filter(|arg| !arg.is_positional()));
        if let Some(more) = self.command.get_after_help() {
            out.push_str(&more_of(&more.to_string()));
        }
        let above = self.above.iter().cloned();
        let below = commands.iter().map(|command| format!("{} {}", self.name, command.get_name()));
        let mut see: Vec<String> = above.chain(below).map(|name| name.replace(' ', "-")).collect();
        see.sort();
        if !see.is_empty() {
            let see: Vec<String> =
                see.iter().map(|name| format!(".BR {} ({section})", plain(name))).collect();
            out.push_str(&format!(".SH SEE ALSO\n{}\n", see.join(",\n")));
        }
        out
    }
}

fn section_of<'a>(out: &mut String, heading: &str, args: impl Iterator<Item = &'a Arg>) {
    let mut empty = true;
    for arg in args {
        if empty {
            out.push_str(&format!(".SH {heading}\n"));
            empty = false;
        }
        let names = arg.get_value_names().unwrap_or_default();
        let takes = arg.get_action().takes_values();
        let names: String = names
            .iter()
            .filter(|_| takes)
            .map(|name| format!(" \\fI{}\\fR", plain(name)))
            .collect();
        let short = arg.get_short().map(|short| format!("\\fB\\-{short}\\fR"));
        let long = arg.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", plain(long)));
        let flags: Vec<String> = short.into_iter().chain(long).collect();
        let head = format!("{}{names}", flags.join(", "));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults: Vec<String> = arg
            .get_default_values()
            .iter()
            .filter(|_| takes)
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let default = if defaults.is_empty() {
            String::new()
        } else {
            format!(" [default: {}]", defaults.join(","))
        };
        out.push_str(&format!(
            ".TP\n{}\n{}\n",
            head.trim_start(),
            line_of(&format!("{help}{default}"))
        ));
    }
}

/// What stands after the options: paragraphs; those that begin with `Example` and are set in are kept
/// as they are.
fn more_of(text: &str) -> String {
    let mut out = String::new();
    let mut kept = false;
    let mut notes = false;
    for line in text.lines() {
        let example = matches!(line, "Example:" | "Examples:");
        let inset = line.starts_with("  ");
        if kept && !inset {
            out.push_str(".fi\n.RE\n");
            kept = false;
        }
        if example {
            out.push_str(".SH EXAMPLES\n");
            notes = false;
        } else if inset {
            if !kept {
                out.push_str(".RS 4\n.nf\n");
                kept = true;
            }
            out.push_str(&format!("{}\n", line_of(line.strip_prefix("  ").unwrap_or(line))));
        } else if let Some(codes) = line.strip_prefix("Exit codes:") {
            out.push_str(&format!(".SH EXIT STATUS\n{}\n", line_of(codes.trim())));
            notes = true;
        } else if line.is_empty() {
            notes = false;
        } else {
            if !notes {
                out.push_str(if out.contains(".SH NOTES") { ".PP\n" } else { ".SH NOTES\n" });
                notes = true;
            }
            out.push_str(&format!("{}\n", line_of(line)));
        }
    }
    if kept {
        out.push_str(".fi\n.RE\n");
    }
    out
}

/// A line of text, which must not begin as a request to roff.
fn line_of(text: &str) -> String {
    let text = plain(text);
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Text without what roff would read as its own.
fn plain(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('"', "\\(dq")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_that_is_shown_has_a_page_and_nothing_in_it_is_a_request_to_roff() {
        let file = Arg::new("file").long("file").value_name("FILE").help(".so /etc/passwd");
        let program = Command::new("prog")
            .version("1")
            .about("Does it.")
            .subcommand(Command::new("go").about("Goes").arg(file).after_help(
                "Example:\n  prog go --file 'a\\b'\n\n.de is text.\nIt's one paragraph.\n\nExit codes: 0 done",
            ))
            .subcommand(Command::new("secret").hide(true));
        let pages = pages(&program, 8);
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["prog-go.8", "prog.8"]);
        let go = &pages[0].1;
        for part in [
            ".TH PROG\\-GO 8 ",
            "\nprog\\-go \\- Goes\n",
            "\\fB\\-\\-file\\fR \\fIFILE\\fR\n\\&.so /etc/passwd\n",
            ".SH EXAMPLES\n.RS 4\n.nf\nprog go \\-\\-file \\(aqa\\eb\\(aq\n.fi\n.RE\n",
            ".SH NOTES\n\\&.de is text.\nIt\\(aqs one paragraph.\n",
            ".SH EXIT STATUS\n0 done\n",
            ".SH SEE ALSO\n.BR prog (8)\n",
        ] {
            assert!(go.contains(part), "{part}: {go}");
        }
    }
}
