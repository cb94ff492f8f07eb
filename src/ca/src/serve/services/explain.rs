//! `Access.Explain`: what would follow from a request.

use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Actor, Allow, Bundle, SourceRule};
use jit_ssh_core::cidr::Cidr;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::View;
use jit_ssh_core::lifecycle::{
    Basis, Prolonged, check_approvable, prolongs, review_needed, standing,
};
use jit_ssh_core::policy::{self, Asked, ReasonTaken};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::sshsig::Presence;
use jit_ssh_core::statement::{self, Request};

use crate::serve::approvals::median;
use crate::serve::call::Call;
use crate::serve::front::{Front, unknown_request};
use crate::serve::visibility::is_own;
use crate::serve::{clock, show};

pub(super) async fn explain(
    call: &Call,
    message: &v1::ExplainRequest,
) -> Result<v1::ExplainResponse, Refusal> {
    let front = call.front();
    let in_force = front.trusted.bundle()?;
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
    let digest = Digest::of(&message.request);
    let view = in_force.view();
    let prolonged = match request.extends {
        Some(of) => Some(prolonged(front, (&request, digest), of, view).await?),
        None => None,
    };
    let open = message.reason_open;
    let prolonged = prolonged.as_ref();
    let rule_for = |request: &Request, reason: ReasonTaken| {
        rule((request, digest), requester, reason, prolonged, view)
    };
    let reason = if open { ReasonTaken::WillFit } else { ReasonTaken::AsSaid };
    let rule = rule_for(&request, reason)?;
    let otherwise = || match rule_for(&request, ReasonTaken::WillNotFit) {
        Err(refusal) if refusal.reason == Reason::SourceNeeded && request.source.is_empty() => {
            // As when it is made: the certificate is bound to where it is asked from.
            let mut bound = request.clone();
            bound.source = vec![Cidr::single(call.peer())];
            rule_for(&bound, ReasonTaken::WillNotFit).ok()
        }
        rule => rule.ok(),
    };
    let otherwise = open.then(otherwise).flatten();
    if rule.source == SourceRule::Client && request.source != [Cidr::single(call.peer())] {
        return Err(Refusal::new(
            Reason::SourceNeeded,
            format!("the rule {} binds the certificate to the client's address.", rule.name),
        ));
    }
    if request.break_glass.is_some()
        && let Some(earlier) = front.memory.unreviewed_of(&request.subject, digest)
    {
        return Err(review_needed(&earlier.chain));
    }
    check_approvable(rule, &request, bundle)?;
    let waits = front.store.waits(rule.name.clone()).await?;
    let mut answer = response(rule, &request, bundle, waits);
    if let Some(otherwise) = otherwise {
        answer.otherwise_rule = otherwise.name.to_string();
        answer.otherwise_basis = show::basis(Some(Basis::of(otherwise, &request))).into();
    }
    answer.extension = prolonged.map_or(0, |prolonged| u32::from(prolonged.place));
    Ok(answer)
}

/// The rule that would decide a request with this digest.
fn rule<'b>(
    (request, digest): (&Request, Digest),
    requester: &Actor,
    reason: ReasonTaken,
    prolonged: Option<&Prolonged>,
    view: View<'b>,
) -> Result<&'b Allow, Refusal> {
    // Unsigned: which key will sign it is not known, so the strongest is assumed.
    let presence = Presence::UserVerified;
    let extension = prolonged.map(|prolonged| prolonged.place);
    let asked = Asked { request, requester, presence, extension };
    let rule = policy::decide_with(asked, reason, view, clock::now())?;
    if let Some(prolonged) = prolonged {
        prolonged.check_rule(digest.short_id(), rule)?;
    }
    Ok(rule)
}

/// What a request would prolong.
async fn prolonged(
    front: &Front,
    (request, digest): (&Request, Digest),
    of: Digest,
    view: View<'_>,
) -> Result<Prolonged, Refusal> {
    let known = front.known(of).await?;
    if !is_own(&request.by, &known) {
        return Err(unknown_request(of.short_id()));
    }
    let prolonged = prolongs(request, digest.short_id(), &known.chain, view, clock::now())?;
    match &prolonged.cut_short {
        Some(status) => Err(standing(&known.chain, status)),
        None => Ok(prolonged),
    }
}

fn response(
    rule: &Allow,
    request: &Request,
    bundle: &Bundle,
    waits: Vec<u32>,
) -> v1::ExplainResponse {
    let basis = Basis::of(rule, request);
    let asks = basis == Basis::Approvals;
    let steps = if asks { show::steps(rule, &[]) } else { Vec::new() };
    let break_glass = rule.break_glass.as_ref();
    let longest = match (&rule.break_glass, &rule.extend) {
        (Some(terms), _) if request.break_glass.is_some() => terms.max_for.min(rule.max_for),
        (_, Some(terms)) if request.extends.is_some() => terms.max,
        _ => rule.max_for,
    };
    let pattern = rule.reason.pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
    v1::ExplainResponse {
        rule: rule.name.to_string(),
        approvals_needed: steps.iter().map(|step| step.needed).fold(0, u32::saturating_add),
        approvers: if asks { show::asked(rule, request, bundle) } else { Vec::new() },
        decide_within: rule.decide_within.get(),
        use_within: rule.use_within.get(),
        cert_for: rule.cert_for.get(),
        max_for: longest.get(),
        permit: rule.permitted(&request.permit).iter().map(ToString::to_string).collect(),
        basis: show::basis(Some(basis)).into(),
        steps,
        typical_of: show::count(waits.len()),
        typical_wait: median(waits),
        extend_max: rule.extend.map_or(0, |extend| extend.max.get()),
        extend_times: rule.extend.map_or(0, |extend| u32::from(extend.times.get())),
        break_glass_max: break_glass.map_or(0, |terms| terms.max_for.min(rule.max_for).get()),
        break_glass_strength: break_glass
            .map(|terms| terms.strength.as_str().to_owned())
            .unwrap_or_default(),
        break_glass_told: show::told(rule, request, bundle),
        reason_min: show::count(rule.reason.min.max(1)),
        reason_pattern: pattern.unwrap_or_default(),
        reason_hint: rule.reason.hint.clone().unwrap_or_default(),
        // Told where it is known.
        otherwise_rule: String::new(),
        otherwise_basis: v1::Basis::Unspecified.into(),
        extension: 0,
    }
}
