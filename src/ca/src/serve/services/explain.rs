//! `Access.Explain`: what would follow from a request.

use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Approval, SourceRule};
use jit_ssh_core::cidr::Cidr;
use jit_ssh_core::policy::{self, Asked};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::sshsig::Presence;
use jit_ssh_core::statement::{self, Request};

use crate::serve::call::Call;
use crate::serve::show;

pub(super) fn explain(
    call: &Call,
    message: &v1::ExplainRequest,
) -> Result<v1::ExplainResponse, Refusal> {
    let in_force = call.front().trusted.bundle()?;
    let caller = call.caller()?;
    let bundle = &in_force.bundle;
    let request: Request = statement::parse(&message.request)?;
    if request.by != caller.id {
        return Err(Refusal::new(
            Reason::NotAllowed,
            format!("the request is by {}, and this session is of {}.", request.by, caller.id),
        ));
    }
    let requester = bundle.people.get(&request.by).ok_or_else(|| {
        Refusal::new(Reason::UnknownSigner, format!("{} is not in people.toml.", request.by))
    })?;
    // Unsigned: which key will sign it is not known.
    let presence = Presence::UserVerified;
    let asked = Asked { request: &request, requester, presence, extension: None };
    let rule = policy::decide(asked, bundle)?;
    if rule.source == SourceRule::Client && request.source != [Cidr::single(call.peer())] {
        return Err(Refusal::new(
            Reason::SourceNeeded,
            format!("the rule {} binds the certificate to the client's address.", rule.name),
        ));
    }
    let needed = match &rule.approval {
        Approval::Auto(_) => 0,
        Approval::Steps(steps) => steps.iter().map(|step| u32::from(step.count.get())).sum(),
    };
    let permit = request.permit.iter().filter(|permit| rule.permit.contains(permit));
    Ok(v1::ExplainResponse {
        rule: rule.name.to_string(),
        approvals_needed: needed,
        approvers: show::asked(rule, &request, bundle),
        decide_within: rule.decide_within.get(),
        use_within: rule.use_within.get(),
        cert_for: rule.cert_for.get(),
        max_for: rule.max_for.get(),
        permit: permit.map(ToString::to_string).collect(),
        ..v1::ExplainResponse::default()
    })
}
