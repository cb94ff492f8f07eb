//! Several programs on terminals, typed into as people type, filmed as one terminal in which they stand
//! one below the other, each under a bar with a name.

use std::time::{Duration, Instant};

use super::screen::{Cell, Screen};
use super::{Cast, Event, What};
use crate::program::{PATIENCE, Program};
use crate::pty::Terminal;

/// How often it is looked what the programs wrote.
const LOOK: Duration = Duration::from_millis(10);
/// How long a person takes for a letter.
const LETTER: Duration = Duration::from_millis(55);

/// Where it is filmed.
pub struct Studio {
    columns: usize,
    panes: Vec<Pane>,
    /// Whose cursor is shown.
    active: usize,
    began: Instant,
    /// Whether people take their time, so that whoever looks can follow.
    in_peace: bool,
    shown: Vec<Vec<Cell>>,
    events: Vec<Event>,
}

struct Pane {
    terminal: Terminal,
    screen: Screen,
    /// How much of what the terminal got the screen has.
    taken: usize,
    /// The line of the bar.
    top: usize,
    bar: Vec<Cell>,
}

/// The look of a bar: reverse.
const BAR: u8 = 7;

impl Studio {
    /// An empty one; with people who take their time, or do not.
    pub fn new(columns: usize, in_peace: bool) -> Studio {
        let (panes, events, shown) = (Vec::new(), Vec::new(), Vec::new());
        Studio { columns, panes, active: 0, began: Instant::now(), in_peace, shown, events }
    }

    /// Starts a program on a terminal of so many lines, below those that are there; gives its number.
    pub fn add(&mut self, name: &str, program: Program, lines: usize) -> usize {
        let size = |number: usize| u16::try_from(number).unwrap();
        let terminal = Terminal::start(program, size(self.columns), size(lines));
        let bar = format!(" {name:<width$}", width = self.columns - 1);
        let bar = bar.chars().map(|char| Cell { char, look: BAR }).collect();
        let (top, screen) = (self.shown.len(), Screen::new(self.columns, lines));
        self.panes.push(Pane { terminal, screen, taken: 0, top, bar });
        // A place for the bar too; different from what is there, so that all of it is drawn.
        self.shown.resize(top + 1 + lines, Vec::new());
        self.panes.len() - 1
    }

    /// Takes what the programs wrote meanwhile.
    fn look(&mut self) {
        let mut rows = Vec::new();
        for pane in &mut self.panes {
            let raw = pane.terminal.raw_after(pane.taken);
            let whole = match std::str::from_utf8(&raw) {
                Ok(text) => text,
                Err(cut) => std::str::from_utf8(&raw[..cut.valid_up_to()]).unwrap(),
            };
            pane.screen.takes(whole);
            pane.taken += whole.len();
            rows.push(pane.bar.clone());
            rows.extend(pane.screen.rows());
        }
        let mut drawn = String::new();
        for (line, (before, now)) in self.shown.iter().zip(&rows).enumerate() {
            if before != now {
                drawn.push_str(&format!("\u{1b}[{};1H{}\u{1b}[K", line + 1, written(now)));
            }
        }
        if drawn.is_empty() {
            return;
        }
        self.shown = rows;
        let pane = &self.panes[self.active];
        let (line, column) = pane.screen.cursor();
        drawn.push_str(&format!("\u{1b}[{};{}H", pane.top + line + 2, column + 1));
        self.event(What::Output(drawn));
    }

    fn event(&mut self, what: What) {
        // Three places are enough for eyes, and keep the file small.
        let at = (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        self.events.push(Event { at, what });
    }

    /// Waits until a pane shows this.
    #[track_caller]
    pub fn sees(&mut self, pane: usize, text: &str) {
        self.waits(pane, text, |shown| shown.contains(text));
    }

    /// Waits until this is the last that a pane shows, but for blanks.
    #[track_caller]
    pub fn ends_with(&mut self, pane: usize, text: &str) {
        self.waits(pane, text, |shown| shown.ends_with(text));
    }

    #[track_caller]
    fn waits(&mut self, pane: usize, what: &str, is: impl Fn(&str) -> bool) {
        let began = Instant::now();
        loop {
            self.look();
            let shown = self.panes[pane].screen.text();
            if is(&shown) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "waited too long for {what:?} in:\n{shown}");
            std::thread::sleep(LOOK);
        }
    }

    /// What a pane shows.
    pub fn shows(&self, pane: usize) -> String {
        self.panes[pane].screen.text()
    }

    /// Types a line into a pane, at its end.
    #[track_caller]
    pub fn types(&mut self, pane: usize, line: &str) {
        self.active = pane;
        for char in line.chars() {
            self.panes[pane].terminal.types(&char.to_string());
            self.rests(LETTER);
        }
        // Or the prompt before it would be taken for the one that comes after it.
        self.ends_with(pane, line);
        self.rests(LETTER * 6);
        self.panes[pane].terminal.types("\n");
    }

    /// Presses Ctrl-C in a pane.
    pub fn interrupts(&mut self, pane: usize) {
        self.active = pane;
        self.panes[pane].terminal.types("\u{3}");
    }

    /// Lets time pass for whoever looks; nothing depends on it.
    pub fn rests(&mut self, time: Duration) {
        let began = Instant::now();
        while self.in_peace && began.elapsed() < time {
            self.look();
            std::thread::sleep(LOOK);
        }
    }

    /// Marks the moment.
    pub fn marks(&mut self, name: &str) {
        self.look();
        self.event(What::Mark(name.to_owned()));
    }

    /// The recording; the programs end.
    pub fn ends(mut self) -> Cast {
        self.look();
        Cast { columns: self.columns, lines: self.shown.len(), events: self.events }
    }
}

/// A line as a terminal is told to write it.
fn written(row: &[Cell]) -> String {
    let mut text = String::new();
    let mut look = 0;
    for cell in row {
        if cell.look != look {
            text.push_str("\u{1b}[0m");
            if cell.look != 0 {
                text.push_str(&format!("\u{1b}[{}m", cell.look));
            }
            look = cell.look;
        }
        text.push(cell.char);
    }
    if look != 0 {
        text.push_str("\u{1b}[0m");
    }
    text
}
