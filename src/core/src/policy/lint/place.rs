//! Where in `policy.toml` each rule and each of its fields stands.

use std::collections::HashMap;

use crate::bundle::Diagnostic;
use crate::bundle::source::{Source, Span, whole_file};
use crate::names::RuleName;

/// A field that a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Name,
    Who,
    OnBehalf,
    Hosts,
    Logins,
    Approvals,
    Auto,
    BreakGlass,
    /// The list at the top of the file.
    Auditors,
}

impl Field {
    const OF_RULES: [Field; 8] = [
        Field::Name,
        Field::Who,
        Field::OnBehalf,
        Field::Hosts,
        Field::Logins,
        Field::Approvals,
        Field::Auto,
        Field::BreakGlass,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Field::Name => "name",
            Field::Who => "who",
            Field::OnBehalf => "on_behalf",
            Field::Hosts => "hosts",
            Field::Logins => "logins",
            Field::Approvals => "approvals",
            Field::Auto => "auto",
            Field::BreakGlass => "break_glass",
            Field::Auditors => "auditors",
        }
    }
}

/// Where each rule and each of its fields stands.
pub(super) struct Places<'s> {
    source: &'s Source<'s>,
    spans: HashMap<(Option<RuleName>, Field), Span>,
}

const FILE: &str = "policy.toml";

impl Places<'_> {
    /// Finds them in `text`, and gives what `then` makes of them.
    pub(super) fn of<T>(text: &[u8], then: impl FnOnce(&Places<'_>) -> T) -> T {
        let source = Source::new(FILE, text);
        let mut spans = HashMap::new();
        // What can not be read was refused when the bundle was: here it only has no place.
        let _ = source.read(|mut file| {
            if let Some(item) = file.optional(Field::Auditors.as_str()) {
                spans.insert((None, Field::Auditors), item.span());
            }
            for kind in ["deny", "allow"] {
                for mut table in file.tables(kind, kind) {
                    let name = table.optional("name").and_then(|item| item.text());
                    let Some(Ok(name)) = name.map(str::parse::<RuleName>) else { continue };
                    for field in Field::OF_RULES {
                        if let Some(item) = table.optional(field.as_str()) {
                            spans.insert((Some(name.clone()), field), item.span());
                        }
                    }
                }
            }
        });
        then(&Places { source: &source, spans })
    }

    /// A problem of a field, or of the rule where it does not have the field.
    pub(super) fn diagnostic(
        &self,
        rule: Option<&RuleName>,
        field: Field,
        message: String,
        help: &str,
    ) -> Diagnostic {
        let span = |field| self.spans.get(&(rule.cloned(), field));
        let Some(span) = span(field).or_else(|| span(Field::Name)) else {
            return whole_file(FILE, message, Some(help.to_owned()));
        };
        let (line, column, excerpt) = self.source.locate(*span);
        let (help, excerpt) = (Some(help.to_owned()), Some(excerpt));
        Diagnostic { file: FILE, line, column, message, help, excerpt }
    }
}
