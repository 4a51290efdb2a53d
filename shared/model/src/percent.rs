//! Percentages as their authors write them: `50%`, `0.05%`, ` 50 % `.

use vamp_routing::wire::Share;

use crate::decode::{Decoder, Field};
use crate::tree::Content;

const HINT: &str = "write a percentage from 0% to 100% with up to two decimals, such as \"12.5%\"";

/// Reads a percentage, exactly: up to two decimals, never a bare number.
pub fn parse(text: &str) -> Option<Share> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let dangling = number.ends_with('.');
    if whole.is_empty() || whole.len() > 3 || fraction.len() > 2 || dangling || !digits(whole) || !digits(fraction) {
        return None;
    }
    let share: u16 = format!("{whole}{fraction:0<2}").parse().ok()?;
    (share <= Share::WHOLE.0).then_some(Share(share))
}

/// Writes a percentage the shortest way: `50%`, `12.5%`, `0.05%`.
pub fn format(share: Share) -> String {
    let (whole, fraction) = (share.0 / 100, share.0 % 100);
    match fraction {
        0 => format!("{whole}%"),
        tenths if tenths % 10 == 0 => format!("{whole}.{}%", tenths / 10),
        _ => format!("{whole}.{fraction:02}%"),
    }
}

/// Writes a sum of shares, which may be above 100 %.
pub fn format_sum(sum: u64) -> String {
    format!("{}.{:02}%", sum / 100, sum % 100).replace(".00%", "%")
}

pub(crate) fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Share> {
    if let Content::Number(_, text) = &field.node.content {
        let hint = if parse(&format!("{text}%")).is_some() { format!("write \"{text}%\"") } else { HINT.to_owned() };
        decoder.refuse(field, format!("{what} is the bare number {text}"), hint);
        return None;
    }
    let text = decoder.text(field, what)?;
    let share = parse(text);
    if share.is_none() {
        decoder.refuse(field, format!("{what} is `{text}`, which is no percentage"), HINT);
    }
    share
}
