//! Before a person signs a decision or an end: what it is about, read from the signed bytes.

use crate::cli::Context;
use crate::failure::Failure;
use crate::view::{View, asked_lines, lay_out};

/// Shows a request and what is about to be signed on it, and asks for a yes.
///
/// Where nobody can be asked and `--yes` is not given, this is a usage error.
pub(super) async fn confirm(
    context: &Context,
    view: &View,
    action: &[(&'static str, String)],
    question: &str,
) -> Result<(), Failure> {
    let ui = &context.ui;
    if !ui.yes && ui.can_ask() {
        let mut lines = asked_lines(&view.request);
        lines.extend(action.iter().cloned());
        ui.say(&lay_out(&lines));
    }
    ui.confirm(question).await
}
