//! Before a person signs a decision or an end: what it is about, read from the signed bytes.

use crate::cli::Context;
use crate::failure::Failure;
use crate::view::lay_out;

/// Shows what a statement is about and what it says, and asks for a yes.
///
/// Where nobody can be asked and `--yes` is not given, this is a usage error.
pub(super) async fn confirm(
    context: &Context,
    lines: &[(&'static str, String)],
    question: &str,
) -> Result<(), Failure> {
    let ui = &context.ui;
    if !ui.yes && ui.can_ask() {
        ui.say(&lay_out(lines));
    }
    ui.confirm(question).await
}
