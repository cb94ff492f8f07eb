//! How a rule's terms read in a sentence, for whoever is shown the rule.

use std::fmt;

use super::policy::{Approval, Auto, BreakGlass, Extend, Step, Steps, Strength};

/// `by itself within Mon-Fri 08:00-18:00 Europe/Berlin`, or `2 of group:sre-leads`.
impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Approval::Auto(auto) => auto.fmt(f),
            Approval::Steps(steps) => steps.fmt(f),
        }
    }
}

/// `by itself within Mon-Fri 08:00-18:00 Europe/Berlin, last on 2027-01-31`.
impl fmt::Display for Auto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("by itself")?;
        if let Some(hours) = &self.hours {
            write!(f, " within {hours}")?;
        }
        if let Some(last) = self.review_by {
            write!(f, ", last on {last}")?;
        }
        Ok(())
    }
}

/// `2 of group:sre-leads and 1 of person:carol with strength hardware`.
impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, self, " and ")
    }
}

/// `2 of group:sre-leads with strength hardware`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of ", self.count)?;
        joined(f, &self.from, ", ")?;
        with_strength(f, self.strength)
    }
}

/// `for at most 15m with strength hardware, telling group:sre-leads`.
impl fmt::Display for BreakGlass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "for at most {}", self.max_for)?;
        with_strength(f, self.strength)?;
        if !self.notify.is_empty() {
            f.write_str(", telling ")?;
            joined(f, &self.notify, ", ")?;
        }
        Ok(())
    }
}

/// `2 times, each by at most 30m`.
impl fmt::Display for Extend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.times.get() {
            1 => write!(f, "once, by at most {}", self.max),
            times => write!(f, "{times} times, each by at most {}", self.max),
        }
    }
}

/// Any key is what one expects, and is not worth a word.
fn with_strength(f: &mut fmt::Formatter<'_>, strength: Strength) -> fmt::Result {
    match strength {
        Strength::Any => Ok(()),
        Strength::Hardware | Strength::Verified => write!(f, " with strength {strength}"),
    }
}

fn joined<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    between: &str,
) -> fmt::Result {
    for (place, item) in items.into_iter().enumerate() {
        let gap = if place == 0 { "" } else { between };
        write!(f, "{gap}{item}")?;
    }
    Ok(())
}
