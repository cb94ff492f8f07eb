//! A picture that moves by CSS alone. What can not move it, or was asked not to, shows the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Cast, Cell};

/// Width and height of a character, in pixels at the size that is written.
const CHAR: (f64, f64) = (7.8, 18.0);
const MARGIN: f64 = 14.0;
/// How long the end stands before it begins anew, in seconds.
const HOLD: f64 = 8.0;

const STYLE: &str = "\
text{font:13px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace;\
white-space:pre;fill:#d7dce2}\
.c31{fill:#ff7b72}.c32{fill:#7ee787}.c33{fill:#f2cc60}.c36{fill:#76e3ea}\
.c7{fill:#9ecbff;font-weight:bold}.bar{fill:#1f2733}.h{visibility:hidden}\
@media(prefers-reduced-motion:reduce){g{animation:none!important}}";

pub(super) fn picture(cast: &Cast) -> String {
    let frames = cast.frames();
    let end = frames.last().map_or(0.0, |frame| frame.at);
    let length = end + HOLD;
    // What stood in a line, by when it came and when it went; what stands at the end has not gone.
    let mut spans: BTreeMap<(u64, Option<u64>), String> = BTreeMap::new();
    let mut bars = String::new();
    for line in 0..cast.lines {
        let mut since = 0;
        for (number, frame) in frames.iter().enumerate() {
            let next = frames.get(number + 1);
            if next.is_some_and(|next| next.rows[line] == frame.rows[line]) {
                continue;
            }
            let row = &frame.rows[line];
            if !row.is_empty() {
                let came = thousandths(frames[since].at);
                let gone = next.map(|next| thousandths(next.at));
                spans.entry((came, gone)).or_default().push_str(&written(row, line));
            }
            since = number + 1;
        }
        if frames.last().is_some_and(|last| last.rows[line].first().is_some_and(is_bar)) {
            let y = MARGIN + CHAR.1 * as_f64(line);
            let _ = write!(bars, r#"<rect class="bar" y="{y}" width="100%" height="{}"/>"#, CHAR.1);
        }
    }
    let (width, height) =
        (MARGIN * 2.0 + CHAR.0 * as_f64(cast.columns), MARGIN * 2.0 + CHAR.1 * as_f64(cast.lines));
    let mut moves = String::new();
    let mut body = String::new();
    for (number, ((came, gone), text)) in spans.iter().enumerate() {
        let part = |moment: u64| format!("{:.3}%", as_f64(moment) / 10.0 / length);
        let hidden = if gone.is_some() { "h " } else { "" };
        let _ = writeln!(body, r#"<g class="{hidden}a{number}">{text}</g>"#);
        let goes =
            gone.map_or(String::new(), |gone| format!("{}{{visibility:hidden}}", part(gone)));
        let _ = write!(
            moves,
            "@keyframes a{number}{{0%{{visibility:hidden}}{}{{visibility:visible}}{goes}}}\
             .a{number}{{animation:a{number} {length:.3}s step-end infinite}}",
            part(*came)
        );
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xml:space=\"preserve\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         role=\"img\" aria-label=\"A terminal session: a request, its approval, and a login\">\n\
         <style>{STYLE}{moves}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n{bars}\n{body}</svg>\n"
    )
}

fn is_bar(cell: &Cell) -> bool {
    cell.look == 7
}

fn written(row: &[Cell], line: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    let y = MARGIN + CHAR.1 * as_f64(line) + 13.0;
    for run in row.chunk_by(|a, b| a.look == b.look) {
        let said: String = run.iter().map(|cell| cell.char).collect();
        let blank = said.len() - said.trim_start().len();
        let shown = said.trim();
        if !shown.is_empty() {
            let count = shown.chars().count();
            let x = MARGIN + CHAR.0 * as_f64(column + blank);
            let class = match run[0].look {
                0 => String::new(),
                look => format!(" class=\"c{look}\""),
            };
            // The length keeps columns in line, whatever font there is.
            let _ = write!(
                text,
                "<text{class} x=\"{x:.1}\" y=\"{y:.0}\" textLength=\"{:.1}\">{}</text>",
                CHAR.0 * as_f64(count),
                escaped(shown)
            );
        }
        column += run.len();
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn thousandths(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

fn as_f64(number: impl TryInto<u32>) -> f64 {
    f64::from(number.try_into().unwrap_or(u32::MAX))
}
