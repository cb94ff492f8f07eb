//! Walks a parsed TOML file field by field. Each step gives a typed value or records a problem
//! with its place and goes on, so that one reading finds all of them.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{Source, Span};
use crate::plain;

/// A table whose fields are taken one by one; [`Table::finish`] reports those nobody asked for.
#[must_use = "`finish` reports the fields nobody asked for"]
pub(crate) struct Table<'a> {
    source: &'a Source<'a>,
    /// How messages call it, such as `[[person]]`.
    kind: &'static str,
    at: Span,
    fields: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

/// One value, and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    source: &'a Source<'a>,
    at: Span,
    value: &'a DeValue<'a>,
}

/// The good items of a list.
pub(crate) struct List<T> {
    /// What could be read.
    pub(crate) found: Vec<T>,
    flawed: bool,
}

/// Whether a list may be empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// It may.
    Fine,
    /// It may not.
    Refused,
}

impl<'a> Table<'a> {
    /// The top level of a file.
    pub(super) fn root(source: &'a Source<'a>, fields: &'a DeTable<'a>) -> Self {
        let known = Vec::new();
        Self { source, kind: "the top level of this file", at: source.span(0..0), fields, known }
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, field: &'static str) -> Option<Item<'a>> {
        let item = self.optional(field);
        if item.is_none() {
            self.problem(format!("{} lacks the field `{field}`", self.kind));
        }
        item
    }

    /// A field that may be there.
    pub(crate) fn optional(&mut self, field: &'static str) -> Option<Item<'a>> {
        self.known.push(field);
        let value = self.fields.get(field)?;
        Some(Item {
            source: self.source,
            at: self.source.span(value.span()),
            value: value.get_ref(),
        })
    }

    /// A field with a value of its own when absent. `None` if it is there and wrong.
    pub(crate) fn or<T>(
        &mut self,
        field: &'static str,
        absent: T,
        read: impl FnOnce(Item<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.optional(field) {
            Some(item) => read(item),
            None => Some(absent),
        }
    }

    /// The repeated tables `[[field]]`, in the file's order; none if there are none.
    pub(crate) fn tables(&mut self, field: &'static str, kind: &'static str) -> Vec<Table<'a>> {
        let Some(item) = self.optional(field) else {
            return Vec::new();
        };
        let items = item.list(Empty::Fine).unwrap_or_default();
        items.into_iter().filter_map(|item| item.table(kind)).collect()
    }

    /// Records a problem of the table as a whole.
    pub(crate) fn problem(&self, message: String) {
        self.source.problem(self.at, message, None);
    }

    /// Names of all fields, as labels have them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Item<'a>, &'a str, Item<'a>)> {
        let (source, fields) = (self.source, self.fields);
        fields.iter().map(move |(key, value)| {
            let name = Item { source, at: source.span(key.span()), value: value.get_ref() };
            let value = Item { source, at: source.span(value.span()), value: value.get_ref() };
            (name, key.get_ref().as_ref(), value)
        })
    }

    /// Reports every field that nobody asked for.
    pub(crate) fn finish(self) {
        for (key, _) in self.fields {
            let name: &str = key.get_ref();
            if !self.known.contains(&name) {
                let at = self.source.span(key.span());
                let message = format!("{} is not a field of {}", quote(name), self.kind);
                self.source.unknown(at, message, name, self.known.iter().copied());
            }
        }
    }
}

impl<'a> Item<'a> {
    /// The value as text.
    pub(crate) fn text(self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type("a string"),
        }
    }

    /// The text parsed as `T`.
    pub(crate) fn parse<T>(self) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let parsed = self.text()?.parse();
        parsed.map_err(|error: T::Err| self.problem(error.to_string())).ok()
    }

    /// A text for people: one line without control characters, of at most `max` characters.
    pub(crate) fn line(self, max: usize) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.problem("this text is empty".to_owned());
        } else if text.chars().any(plain::moves) {
            self.problem("this text holds a control character".to_owned());
        } else if text.chars().nth(max).is_some() {
            self.problem(format!("this text is longer than {max} characters"));
        } else {
            return Some(text);
        }
        None
    }

    /// A whole number from `min` to `max`.
    pub(crate) fn integer(self, min: u32, max: u32) -> Option<u32> {
        let DeValue::Integer(integer) = self.value else {
            return self.wrong_type("an integer");
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fits = number.filter(|number| (min..=max).contains(number));
        if fits.is_none() {
            self.problem(format!("this number must be from {min} to {max}"));
        }
        fits
    }

    /// Yes or no.
    pub(crate) fn boolean(self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(truth) => Some(*truth),
            _ => self.wrong_type("a boolean"),
        }
    }

    /// Whether the value is a list.
    pub(crate) fn is_list(self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// The items of a list.
    pub(crate) fn list(self, empty: Empty) -> Option<Vec<Item<'a>>> {
        let DeValue::Array(values) = self.value else {
            return self.wrong_type("a list");
        };
        if values.is_empty() && empty == Empty::Refused {
            self.problem("this list is empty".to_owned());
            return None;
        }
        let item = |value: &'a Spanned<DeValue<'a>>| Item {
            source: self.source,
            at: self.source.span(value.span()),
            value: value.get_ref(),
        };
        Some(values.iter().map(item).collect())
    }

    /// The items of a list, each read by `read`, all different.
    pub(crate) fn unique<T>(self, empty: Empty, read: impl Fn(Item<'a>) -> Option<T>) -> List<T>
    where
        T: Eq + Hash + Clone,
    {
        let Some(items) = self.list(empty) else {
            return List::default();
        };
        let mut list = List { found: Vec::with_capacity(items.len()), flawed: false };
        let mut seen = HashSet::new();
        for item in items {
            match read(item) {
                Some(value) if seen.insert(value.clone()) => list.found.push(value),
                Some(_) => {
                    list.flawed = true;
                    item.problem(format!("{} is listed twice", item.quoted()));
                }
                None => list.flawed = true,
            }
        }
        list
    }

    /// The value as a table, called `kind` in messages.
    pub(crate) fn table(self, kind: &'static str) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(fields) => {
                let Self { source, at, .. } = self;
                Some(Table { source, kind, at, fields, known: Vec::new() })
            }
            _ => self.wrong_type("a table"),
        }
    }

    /// Records a problem of this value.
    pub(crate) fn problem(self, message: String) {
        self.source.problem(self.at, message, None);
    }

    /// Records a problem of this value, and what to do about it.
    pub(crate) fn problem_with_help(self, message: String, help: impl Into<String>) {
        self.source.problem(self.at, message, Some(help.into()));
    }

    /// Records that `name`, which this value names, is not among what is `known`.
    pub(crate) fn unknown<'c>(
        self,
        message: String,
        name: &str,
        known: impl Iterator<Item = &'c str>,
    ) {
        self.source.unknown(self.at, message, name, known);
    }

    /// Where the value stands.
    pub(crate) fn span(self) -> Span {
        self.at
    }

    /// The line this value begins on, counted from 1.
    pub(crate) fn line_number(self) -> usize {
        self.source.line(self.at)
    }

    fn quoted(self) -> String {
        match self.value {
            DeValue::String(text) => quote(text),
            _ => "this".to_owned(),
        }
    }

    fn wrong_type<T>(self, expected: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("expected {expected}, found {found}"));
        None
    }
}

impl<T> List<T> {
    /// The list, if every item could be read.
    pub(crate) fn whole(self) -> Option<Vec<T>> {
        (!self.flawed).then_some(self.found)
    }
}

/// What a missing list leaves: nothing, and flawed.
impl<T> Default for List<T> {
    fn default() -> Self {
        Self { found: Vec::new(), flawed: true }
    }
}

/// `text` in backquotes, cut and escaped so that it can stand in a message.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 80;
    let shown = text.chars().take(SHOWN).flat_map(char::escape_debug);
    let cut = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{}{cut}`", shown.collect::<String>())
}

/// A help line with the name nearest to `wrong`, if one is near enough to be what was meant.
pub(crate) fn did_you_mean<'c>(
    wrong: &str,
    known: impl Iterator<Item = &'c str>,
) -> Option<String> {
    // One edit per three characters: closer than that is a slip of the hand, further is a guess.
    let near = wrong.len().clamp(3, 12) / 3;
    let nearest = known
        .filter(|name| name.len().abs_diff(wrong.len()) <= near)
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, _)| *distance <= near)
        .min()?;
    Some(format!("did you mean `{}`?", nearest.1))
}
