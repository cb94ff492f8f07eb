//! Notices by a program of the person's choice: that a request of theirs was decided, or that one waits
//! for them. Nothing here waits for that program, and nothing fails with it.

use std::cell::Cell;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jit_ssh_api::v1::Status;
use jit_ssh_core::plain::harmless;

use crate::config::{Config, Words};
use crate::failure::Failure;
use crate::home::Home;
use crate::text::{all_of, short};
use crate::ui::Ui;
use crate::view::{View, status_name};

/// The word that stands for the text of a notice.
const TEXT: &str = "...";
/// Longest text of a notice, in columns.
const LONGEST: usize = 300;
/// How long the program may take before it is ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the person's program, if they named one.
#[derive(Debug)]
pub(crate) struct Notifier {
    ui: Ui,
    words: Option<Words>,
    /// That the program can not be run is said once.
    failed: Cell<bool>,
}

impl Notifier {
    /// As `config.toml` says.
    pub(crate) fn load(ui: &Ui, home: &Home) -> Result<Notifier, Failure> {
        let words = Config::load(home)?.notify;
        Ok(Notifier { ui: ui.clone(), words, failed: Cell::new(false) })
    }

    /// Tells that a request was decided.
    pub(crate) fn decided(&self, view: &View) {
        self.run(&decided(view));
    }

    /// Tells that a request waits for a decision or a review.
    pub(crate) fn waits(&self, view: &View) {
        self.run(&waits(view));
    }

    fn run(&self, text: &str) {
        let Some(Words(words)) = &self.words else { return };
        let Some((program, arguments)) = with_text(words, text) else { return };
        let child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C that ends the waiting is not meant for it.
            .process_group(0)
            .spawn();
        match child {
            Ok(mut child) => {
                // Beside everything else: it is waited for so that it does not stay behind, and ended
                // if it hangs.
                std::thread::spawn(move || {
                    let began = Instant::now();
                    while let Ok(None) = child.try_wait() {
                        if began.elapsed() > PATIENCE {
                            let _ = child.kill();
                            let _ = child.wait();
                            return;
                        }
                        std::thread::sleep(LOOK);
                    }
                });
            }
            Err(problem) if !self.failed.replace(true) => {
                let program = harmless(&program);
                self.ui.say(&format!(
                    "warning: the notice program {program} of config.toml can not be run: {problem}."
                ));
            }
            Err(_) => {}
        }
    }
}

/// The program and its arguments with the text of a notice in its place: one argument, or what stands
/// for it within one; at the end where no place is named.
fn with_text(words: &[String], text: &str) -> Option<(String, Vec<String>)> {
    let (program, arguments) = words.split_first()?;
    let text = plain(text);
    let mut arguments = arguments.to_vec();
    match arguments.iter_mut().find(|argument| *argument == TEXT) {
        Some(place) => *place = text,
        None => arguments.push(text),
    }
    Some((program.clone(), arguments))
}

/// The text as it is handed over: short, harmless, and without what desktops read as markup. It begins
/// with words of ours, so it can be taken for no option.
fn plain(text: &str) -> String {
    let text = short(text, LONGEST);
    text.replace('<', "‹").replace('>', "›").replace('&', "＆")
}

/// Who wants what and why, in words of ours around theirs.
fn about(view: &View) -> String {
    let asked = view.asked();
    format!("{} for {}: {}", all_of(&view.principals()), asked.r#for, asked.reason)
}

fn waits(view: &View) -> String {
    let (id, by) = (view.id(), &view.asked().by);
    match view.asked().break_glass {
        Some(_) => format!(
            "Request {id} of {by} went ahead without approvals and waits for your review: {}",
            about(view)
        ),
        None => format!("Request {id} of {by} waits for you: {}", about(view)),
    }
}

fn decided(view: &View) -> String {
    let id = view.id();
    let status = match view.status() {
        Status::Approved | Status::Active => "approved",
        status => status_name(status),
    };
    format!("Request {id} is {status}: {}", about(view))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::{ca, grant};
    use crate::view::tests::said_of;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_text_is_one_argument_in_its_place_and_no_option() {
        let put = |command: &str| with_text(&words(command), "Request x").unwrap().1;
        assert_eq!(put("notify-send jit-ssh ..."), ["jit-ssh", "Request x"]);
        assert_eq!(put("say ... -x"), ["Request x", "-x"]);
        assert_eq!(put("say"), ["Request x"]);
        assert_eq!(put("say a...b"), ["a...b", "Request x"]);
    }

    #[test]
    fn hostile_text_in_a_notice_is_shown_and_does_nothing() {
        let hostile = "--icon=/x $(id) <a href='x'>&#x202e; \u{202e}\u{200b}";
        let view = View::open(said_of(&grant(hostile)), &ca()).unwrap();
        for text in [waits(&view), decided(&view)] {
            let (program, arguments) = with_text(&words("say ..."), &text).unwrap();
            assert_eq!((program.as_str(), arguments.len()), ("say", 1));
            let text = &arguments[0];
            assert!(text.starts_with("Request "), "{text}");
            assert!(!text.contains(['<', '>', '&', '\u{202e}', '\u{200b}']), "{text:?}");
            assert!(text.contains("$(id)") && text.contains("\\u{202e}"), "{text:?}");
        }
    }
}
