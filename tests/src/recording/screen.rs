//! A terminal that knows the orders our programs, and a shell that is not asked to edit, give.

/// One place of a screen: a character, and the code of its look (0: plain; else as in `ESC [ 31 m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// What stands there.
    pub char: char,
    /// How: 0 is plain.
    pub look: u8,
}

const EMPTY: Cell = Cell { char: ' ', look: 0 };

/// A screen.
pub struct Screen {
    columns: usize,
    rows: Vec<Vec<Cell>>,
    /// Line and column of the cursor; the column may be one too far, until the next character comes.
    at: (usize, usize),
    look: u8,
    /// An order that has not come to its end yet.
    order: Option<String>,
}

impl Screen {
    /// An empty one.
    pub fn new(columns: usize, lines: usize) -> Screen {
        let rows = vec![vec![EMPTY; columns]; lines];
        Screen { columns, rows, at: (0, 0), look: 0, order: None }
    }

    /// Takes what a program wrote.
    ///
    /// # Panics
    /// At an order that it does not know.
    pub fn takes(&mut self, text: &str) {
        for char in text.chars() {
            match (self.order.take(), char) {
                (Some(order), '[') if order.is_empty() => self.order = Some("[".to_owned()),
                (Some(order), '0'..='9' | ';') if order.starts_with('[') => {
                    self.order = Some(format!("{order}{char}"));
                }
                (Some(order), _) => self.obeys(order.trim_start_matches('['), char),
                (None, '\u{1b}') => self.order = Some(String::new()),
                (None, '\r') => self.at.1 = 0,
                (None, '\n') => self.next_line(),
                (None, '\u{8}') => self.at.1 = self.at.1.saturating_sub(1),
                (None, '\u{7}') => {}
                (None, char) => self.puts(char),
            }
        }
    }

    fn obeys(&mut self, order: &str, name: char) {
        let numbers: Vec<usize> = order.split(';').map(|n| n.parse().unwrap_or(0)).collect();
        let (line, column) = self.at;
        match (name, numbers.as_slice()) {
            ('m', looks) => self.look = u8::try_from(*looks.last().unwrap()).unwrap(),
            ('K', [0]) => self.rows[line][column.min(self.columns)..].fill(EMPTY),
            ('J', [0]) => {
                self.rows[line][column.min(self.columns)..].fill(EMPTY);
                self.rows[line + 1..].iter_mut().for_each(|row| row.fill(EMPTY));
            }
            ('H', [0]) => self.at = (0, 0),
            ('H', [line, column]) => self.at = (line - 1, column - 1),
            _ => panic!("an unknown order: {order:?} {name:?}"),
        }
    }

    fn puts(&mut self, char: char) {
        assert!(!char.is_control(), "an unknown order: {char:?}");
        if self.at.1 == self.columns {
            self.at.1 = 0;
            self.next_line();
        }
        let (line, column) = self.at;
        self.rows[line][column] = Cell { char, look: self.look };
        self.at.1 += 1;
    }

    fn next_line(&mut self) {
        self.at.0 += 1;
        if self.at.0 == self.rows.len() {
            self.at.0 -= 1;
            self.rows.remove(0);
            self.rows.push(vec![EMPTY; self.columns]);
        }
    }

    /// Line and column of the cursor, from 0.
    pub fn cursor(&self) -> (usize, usize) {
        (self.at.0, self.at.1.min(self.columns - 1))
    }

    /// Every line, without the blanks at its end.
    pub fn rows(&self) -> Vec<Vec<Cell>> {
        let ends =
            |row: &[Cell]| row.iter().rposition(|cell| *cell != EMPTY).map_or(0, |at| at + 1);
        self.rows.iter().map(|row| row[..ends(row)].to_vec()).collect()
    }

    /// The same as text, without looks and empty lines at the end.
    pub fn text(&self) -> String {
        let line = |row: &Vec<Cell>| row.iter().map(|cell| cell.char).collect::<String>();
        self.rows().iter().map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_wraps_scrolls_and_rewrites_as_a_terminal_does() {
        let mut screen = Screen::new(4, 3);
        screen.takes("abcdef\r\nx\r\ny");
        assert_eq!(screen.text(), "ef\nx\ny");
        screen.takes("\rlong\rno\u{1b}[");
        screen.takes("K");
        assert_eq!(screen.text(), "ef\nx\nno");
        screen.takes("\u{1b}[1;2H\u{1b}[32mz\u{1b}[0m\u{1b}[J!");
        assert_eq!(screen.text(), "ez!");
        assert_eq!(screen.rows()[0][1], Cell { char: 'z', look: 32 });
        assert_eq!(screen.cursor(), (0, 3));
        // A full line wraps only when more comes.
        screen.takes("\rabcd");
        assert_eq!(screen.text(), "abcd");
        screen.takes("\r\u{1b}[J");
        assert_eq!(screen.text(), "");
    }

    #[test]
    #[should_panic(expected = "an unknown order")]
    fn what_it_does_not_know_it_does_not_guess() {
        Screen::new(4, 3).takes("\u{1b}[?2004h");
    }
}
