//! Tags that name further weights: `<lora:name:te:unet:dyn>`, `<lyco:…>`, `<hypernet:name:weight>`; `embedding:name` in ComfyUI's
//! dialect. They are taken out of the text and listed.

use super::plan::Notice;
use super::schedule::parse_number;

/// What kind of weights a tag names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraNetworkKind {
    /// A low-rank adapter (`lora`, `lyco`).
    Lora,
    /// A hypernetwork.
    Hypernetwork,
    /// A textual inversion.
    Embedding,
}

/// Further weights that a prompt asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtraNetwork {
    /// What kind.
    pub kind: ExtraNetworkKind,
    /// File stem, or the name in the file's metadata.
    pub name: String,
    /// Strength on the text encoder.
    pub text_encoder: f64,
    /// Strength on the U-Net; that of the text encoder where only one number is given.
    pub unet: f64,
    /// Rank for dynamic LyCORIS adapters.
    pub dynamic_rank: Option<u32>,
}

/// Takes the tags of A1111's notation out of `text`.
pub(super) fn extract(text: &str, notices: &mut Vec<Notice>) -> (String, Vec<ExtraNetwork>) {
    let mut kept = String::new();
    let mut networks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let Some((kind, arguments, length)) = tag(&rest[start..]) else {
            kept.push_str(&rest[..=start]);
            rest = &rest[start + 1..];
            continue;
        };
        kept.push_str(&rest[..start]);
        match network(kind, arguments) {
            Some(network) => networks.push(network),
            None => notices.push(Notice::TagLeftOut(rest[start..start + length].to_owned())),
        }
        rest = &rest[start + length..];
    }
    kept.push_str(rest);
    (kept, networks)
}

/// `<word:arguments>` at the start of `text`: word, arguments, length.
fn tag(text: &str) -> Option<(&str, &str, usize)> {
    let inner = &text[1..];
    let colon =
        inner.find(|c: char| !c.is_alphanumeric() && c != '_').filter(|&at| at > 0 && inner[at..].starts_with(':'))?;
    let close = inner[colon..].find('>').map(|at| colon + at)?;
    (close > colon + 1).then(|| (&inner[..colon], &inner[colon + 1..close], close + 2))
}

fn network(kind: &str, arguments: &str) -> Option<ExtraNetwork> {
    let kind = match kind {
        "lora" | "lyco" => ExtraNetworkKind::Lora,
        "hypernet" => ExtraNetworkKind::Hypernetwork,
        _ => return None,
    };
    let mut positional = Vec::new();
    let (mut te, mut unet, mut dynamic) = (None, None, None);
    for argument in arguments.split(':') {
        match argument.split_once('=') {
            Some(("te", value)) => te = Some(value),
            Some(("unet", value)) => unet = Some(value),
            Some(("dyn", value)) => dynamic = Some(value),
            _ => positional.push(argument),
        }
    }
    let mut positional = positional.into_iter();
    let name = positional.next().filter(|name| !name.trim().is_empty())?.trim().to_owned();
    let number = |value: Option<&str>| value.map(|value| parse_number(value.trim()));
    // A number that cannot be read spoils the tag rather than silently meaning 1.
    let text_encoder = number(positional.next().or(te)).unwrap_or(Some(1.0))?;
    let unet = number(positional.next().or(unet)).unwrap_or(Some(text_encoder))?;
    let dynamic_rank = positional.next().or(dynamic).and_then(|value| value.trim().parse().ok());
    Some(ExtraNetwork { kind, name, text_encoder, unet, dynamic_rank })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, kept: &str, expected: &[(&str, f64, f64, Option<u32>)], left_out: usize) {
        let mut notices = Vec::new();
        let (rest, networks) = extract(text, &mut notices);
        let got: Vec<_> = networks.iter().map(|n| (n.name.as_str(), n.text_encoder, n.unet, n.dynamic_rank)).collect();
        assert_eq!((rest.as_str(), got.as_slice(), notices.len()), (kept, expected, left_out), "{text:?}");
    }

    #[test]
    fn tags_are_read_and_taken_out() {
        check("a <lora:Detail Tweaker:0.8> b", "a  b", &[("Detail Tweaker", 0.8, 0.8, None)], 0);
        check("<lora:x>", "", &[("x", 1.0, 1.0, None)], 0);
        check("<lyco:x:0.5:0.7:4>", "", &[("x", 0.5, 0.7, Some(4))], 0);
        check("<lora:x:te=0.2:unet=0.9:dyn=8>", "", &[("x", 0.2, 0.9, Some(8))], 0);
        check("<lora:x:unet=0.9>", "", &[("x", 1.0, 0.9, None)], 0);
        check("<hypernet:h:0.3>", "", &[("h", 0.3, 0.3, None)], 0);
        check("<lora:x:strong> y", " y", &[], 1);
        check("<random:a|b>", "", &[], 1);
        check("<3 a<b <:x> <lora:> <lora", "<3 a<b <:x> <lora:> <lora", &[], 0);
    }
}
