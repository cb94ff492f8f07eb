//! Rules that somebody was to look at.

use super::place::Field;
use super::{Kind, Lint, NOTICE, Severity};
use crate::bundle::Approval;

impl Lint<'_, '_, '_> {
    /// Rules whose `review_by` is over, or soon will be.
    pub(super) fn dates(&mut self) {
        let bundle = self.bundle;
        for rule in &bundle.policy.allow {
            let Approval::Auto(auto) = &rule.approval else { continue };
            let Some(last) = auto.review_by else { continue };
            let name = &rule.name;
            if auto.is_past(self.now) {
                // It lapsed, so it allows too little, never too much: no reason to hold back the
                // change that somebody is about to make.
                self.note(
                    (Severity::Warning, Kind::ReviewPast),
                    (name, Field::Auto),
                    format!("`{name}` was to be reviewed by {last} and allows nothing any more"),
                    "look at it, then set a new `review_by`, or take the rule out",
                );
            } else if auto.is_past(self.now.plus_secs(NOTICE)) {
                let days = last.end().since(self.now).div_ceil(86_400);
                let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
                self.note(
                    (Severity::Warning, Kind::ReviewSoon),
                    (name, Field::Auto),
                    format!("`{name}` is to be reviewed by {last}: after {days} it allows nothing"),
                    "look at it, then set a new `review_by`",
                );
            }
        }
    }
}
