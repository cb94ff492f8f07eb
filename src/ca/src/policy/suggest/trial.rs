//! What a proposed rule would make of the requests it cites: the policy's own decision says so, with the
//! rule where it is to be put.

use jit_ssh_core::bundle::{Approval, Bundle, BundleFiles};
use jit_ssh_core::names::RuleName;
use jit_ssh_core::policy::{Asked, decide};

use super::Suggestion;
use crate::history::Past;

/// The configuration with a proposed rule in its place.
pub(super) struct Trial {
    bundle: Bundle,
    rule: RuleName,
}

impl Trial {
    /// Puts the rule into the policy, above the one that asks for approvals now.
    ///
    /// # Errors
    /// If the rule can not stand there.
    pub(super) fn of(suggestion: &Suggestion, files: &BundleFiles) -> Result<Trial, String> {
        let parse = |name: &str| name.parse::<RuleName>().map_err(|error| error.to_string());
        let (rule, above) = (parse(&suggestion.rule)?, parse(&suggestion.above)?);
        let mut policy = files.policy.clone();
        policy.extend_from_slice(b"\n");
        policy.extend_from_slice(suggestion.text.as_bytes());
        let files = BundleFiles { policy, ..files.clone() };
        // No rule hangs on signers.toml, which a checkout of the configuration may not have.
        let parsed = Bundle::parse_rules(&files, &[]).map_err(|problems| {
            problems.0.first().map_or_else(String::new, |problem| problem.message.clone())
        })?;
        let policy = parsed.policy.moved_above(&rule, &above);
        Ok(Trial { bundle: Bundle { policy, ..parsed }, rule })
    }

    /// Those of the requests that the rule approves by itself.
    pub(super) fn approved<'h>(&self, cited: &[&'h Past]) -> Vec<&'h Past> {
        cited.iter().copied().filter(|past| self.approves(past)).collect()
    }

    fn approves(&self, past: &Past) -> bool {
        let request = past.request();
        let Some(requester) = self.bundle.people.get(&request.by) else { return false };
        let presence = past.signed().presence();
        let asked = Asked { request, requester, presence, extension: past.extension };
        decide(asked, past.view(&self.bundle), past.recorded)
            .is_ok_and(|rule| rule.name == self.rule && matches!(rule.approval, Approval::Auto(_)))
    }
}
