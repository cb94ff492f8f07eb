//! A recorded terminal session: what several terminals, one below the other, showed and when.
//!
//! - `screen.rs`: a terminal that knows what our programs order, and insists on no other orders;
//! - `studio.rs`: several programs on terminals, typed into as people type, filmed as one;
//! - `svg.rs`: a picture of it that moves, and stands still at the end where pictures can not move.
//!
//! The format is asciicast, version 2: <https://docs.asciinema.org/manual/asciicast/v2/>.

mod screen;
mod studio;
mod svg;

use serde_json::{Value, json};

pub use screen::{Cell, Screen};
pub use studio::Studio;

/// A recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Cast {
    /// Columns of the terminal.
    pub columns: usize,
    /// Its lines.
    pub lines: usize,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, in seconds from the beginning.
    pub at: f64,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The terminal got this text.
    Output(String),
    /// A moment to look at, with its name.
    Mark(String),
}

/// What the terminal shows from some moment on.
pub struct Frame {
    /// The moment, in seconds from the beginning.
    pub at: f64,
    /// Every line.
    pub rows: Vec<Vec<Cell>>,
}

impl Cast {
    /// The file: a head, and a line for each event.
    pub fn text(&self) -> String {
        let head = json!({
            "version": 2, "width": self.columns, "height": self.lines,
            "title": "jit-ssh: a request, its approval, a login",
        });
        let line = |event: &Event| {
            let (kind, text) = match &event.what {
                What::Output(text) => ("o", text),
                What::Mark(name) => ("m", name),
            };
            json!([event.at, kind, text])
        };
        let lines = std::iter::once(head).chain(self.events.iter().map(line));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// Reads such a file.
    ///
    /// # Panics
    /// If it is none that [`Cast::text`] makes.
    pub fn parse(text: &str) -> Cast {
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let head = lines.next().unwrap();
        assert_eq!(head["version"], 2);
        let size = |name: &str| usize::try_from(head[name].as_u64().unwrap()).unwrap();
        let event = |line: Value| {
            let text = line[2].as_str().unwrap().to_owned();
            let what = match line[1].as_str().unwrap() {
                "o" => What::Output(text),
                "m" => What::Mark(text),
                other => panic!("an event of an unknown kind: {other}"),
            };
            Event { at: line[0].as_f64().unwrap(), what }
        };
        Cast { columns: size("width"), lines: size("height"), events: lines.map(event).collect() }
    }

    /// What was shown, from each change on; changes that nobody can tell apart are one.
    pub fn frames(&self) -> Vec<Frame> {
        const ONE: f64 = 0.04;
        let mut screen = Screen::new(self.columns, self.lines);
        let mut frames: Vec<Frame> = Vec::new();
        for event in &self.events {
            let What::Output(text) = &event.what else { continue };
            screen.takes(text);
            let rows = screen.rows();
            match frames.last_mut() {
                Some(last) if last.rows == rows => {}
                Some(last) if event.at - last.at < ONE => last.rows = rows,
                _ => frames.push(Frame { at: event.at, rows }),
            }
        }
        frames
    }

    /// The text on the screen at each mark, with the mark's name.
    pub fn marks(&self) -> Vec<(String, String)> {
        let mut screen = Screen::new(self.columns, self.lines);
        let mut marks = Vec::new();
        for event in &self.events {
            match &event.what {
                What::Output(text) => screen.takes(text),
                What::Mark(name) => marks.push((name.clone(), screen.text())),
            }
        }
        marks
    }

    /// The picture.
    pub fn svg(&self) -> String {
        svg::picture(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_reads_back_as_it_was_and_its_frames_are_what_can_be_told_apart() {
        let says = |at: f64, text: &str| Event { at, what: What::Output(text.to_owned()) };
        let mark = Event { at: 1.0, what: What::Mark("there".to_owned()) };
        let events = vec![
            says(0.0, "a"),
            says(0.01, "b\u{1b}[31mc\u{1b}[0m"),
            says(0.5, "\u{1b}[0m"),
            mark,
            says(2.0, "\rx<"),
        ];
        let cast = Cast { columns: 10, lines: 2, events };
        assert_eq!(Cast::parse(&cast.text()), cast);
        let frames = cast.frames();
        assert_eq!(frames.iter().map(|frame| frame.at).collect::<Vec<_>>(), [0.0, 2.0]);
        assert_eq!(cast.marks(), [("there".to_owned(), "abc".to_owned())]);
        let picture = cast.svg();
        assert!(picture.contains(">ab</text>") && picture.contains("class=\"c31\""), "{picture}");
        assert!(picture.contains(">x&lt;</text>"), "{picture}");
    }
}
