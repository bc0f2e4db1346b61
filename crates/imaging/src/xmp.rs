//! The XMP packet that says how a picture came to be.
//!
//! IPTC Photo Metadata Standard 2023.1, property `Iptc4xmpExt:DigitalSourceType`; values from
//! <http://cv.iptc.org/newscodes/digitalsourcetype/>. The packet is treated as text: it is never given to an XML
//! parser, so entity bombs have nothing to explode in.

/// How a picture came to be, in the IPTC vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigitalSourceType {
    /// Made wholly by a trained model.
    TrainedAlgorithmicMedia,
    /// Partly by a trained model: inpainting or outpainting of a given picture.
    CompositeWithTrainedAlgorithmicMedia,
    /// A given picture, enlarged or corrected.
    AlgorithmicallyEnhanced,
}

impl DigitalSourceType {
    /// The term's URI.
    pub fn uri(self) -> &'static str {
        match self {
            Self::TrainedAlgorithmicMedia => "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
            Self::CompositeWithTrainedAlgorithmicMedia => {
                "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
            }
            Self::AlgorithmicallyEnhanced => "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced",
        }
    }
}

/// A property of an XMP packet.
struct Property {
    prefix: &'static str,
    namespace: &'static str,
    name: &'static str,
}

const SOURCE: Property = Property {
    prefix: "Iptc4xmpExt",
    namespace: "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    name: "DigitalSourceType",
};
/// Our own: the size that a picture had before `danqing shrink`.
const ORIGINAL_SIZE: Property =
    Property { prefix: "danqing", namespace: "urn:danqing:xmp:1.0:", name: "DanqingOriginalSize" };
const CLOSE: &str = "</rdf:RDF>";
/// A longer value is none of those that are read here.
const LONGEST_VALUE: usize = 512;

/// The value of `DigitalSourceType` in a packet, written as attribute or element.
pub fn digital_source_type(packet: &str) -> Option<String> {
    SOURCE.value(packet)
}

/// A packet that states `source`: the old packet with the property set, or a new one.
pub fn with_digital_source_type(packet: Option<&str>, source: DigitalSourceType) -> String {
    SOURCE.set(packet, source.uri())
}

/// Width and height that the picture had before it was made small, where a packet says so.
pub fn original_size(packet: &str) -> Option<(u32, u32)> {
    let value = ORIGINAL_SIZE.value(packet)?;
    let (width, height) = value.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| *side > 0);
    Some((side(width)?, side(height)?))
}

/// A packet that states the size before the picture was made small.
pub fn with_original_size(packet: Option<&str>, (width, height): (u32, u32)) -> String {
    ORIGINAL_SIZE.set(packet, &format!("{width}x{height}"))
}

impl Property {
    fn value(&self, packet: &str) -> Option<String> {
        value_range(packet, self.name).map(|range| packet[range].trim().to_owned())
    }

    /// The old packet with the property set, or a new one. `value` holds nothing that XML would take for its own.
    fn set(&self, packet: Option<&str>, value: &str) -> String {
        if let Some(packet) = packet {
            if let Some(range) = value_range(packet, self.name) {
                return format!("{}{value}{}", &packet[..range.start], &packet[range.end..]);
            }
            if let Some(at) = packet.rfind(CLOSE) {
                return format!("{}{}\n{}", &packet[..at], self.description(value), &packet[at..]);
            }
        }
        format!(
            "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n\
             <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n{}\n{CLOSE}\n</x:xmpmeta>\n\
             <?xpacket end=\"w\"?>",
            self.description(value)
        )
    }

    fn description(&self, value: &str) -> String {
        let Self { prefix, namespace, name } = self;
        format!("<rdf:Description rdf:about=\"\" xmlns:{prefix}=\"{namespace}\" {prefix}:{name}=\"{value}\"/>")
    }
}

/// Where the value stands: between the quotes of the attribute, or between the tags of the element.
fn value_range(packet: &str, name: &str) -> Option<std::ops::Range<usize>> {
    packet.match_indices(name).find_map(|(at, _)| {
        let after = at + name.len();
        let rest = &packet[after..];
        let (open, close) = match rest.trim_start().chars().next()? {
            '=' => {
                let skipped = rest.find('=')? + 1;
                let quote = rest[skipped..].trim_start().chars().next().filter(|c| matches!(c, '"' | '\''))?;
                (skipped + rest[skipped..].find(quote)? + 1, quote)
            }
            '>' => (rest.find('>')? + 1, '<'),
            _ => return None,
        };
        let length = rest[open..].find(close).filter(|&n| n <= LONGEST_VALUE)?;
        Some(after + open..after + open + length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_and_changed_packets_state_the_source() {
        let new = with_digital_source_type(None, DigitalSourceType::TrainedAlgorithmicMedia);
        assert_eq!(digital_source_type(&new).as_deref(), Some(DigitalSourceType::TrainedAlgorithmicMedia.uri()));
        let changed = with_digital_source_type(Some(&new), DigitalSourceType::AlgorithmicallyEnhanced);
        assert_eq!(digital_source_type(&changed).as_deref(), Some(DigitalSourceType::AlgorithmicallyEnhanced.uri()));
        assert_eq!(changed.matches(SOURCE.name).count(), 1);
    }

    #[test]
    fn other_properties_are_kept() {
        let old = "<x:xmpmeta><rdf:RDF><rdf:Description dc:title='我'/></rdf:RDF></x:xmpmeta>";
        let new = with_digital_source_type(Some(old), DigitalSourceType::CompositeWithTrainedAlgorithmicMedia);
        assert!(new.contains("dc:title='我'") && new.ends_with("</rdf:RDF></x:xmpmeta>"), "{new}");
        assert!(digital_source_type(&new).is_some());
    }

    #[test]
    fn the_original_size_stands_beside_the_source() {
        let packet = with_digital_source_type(None, DigitalSourceType::AlgorithmicallyEnhanced);
        let packet = with_original_size(Some(&packet), (4000, 3000));
        assert_eq!(original_size(&packet), Some((4000, 3000)));
        assert_eq!(digital_source_type(&packet).as_deref(), Some(DigitalSourceType::AlgorithmicallyEnhanced.uri()));
        assert_eq!(original_size(&with_original_size(Some(&packet), (8, 6))), Some((8, 6)));
        for broken in ["0x4", "4", "4x", "axb", "99999999999x1"] {
            assert_eq!(original_size(&ORIGINAL_SIZE.set(None, broken)), None, "{broken}");
        }
    }

    #[test]
    fn element_form_is_read_and_broken_forms_are_not() {
        let element = "<Iptc4xmpExt:DigitalSourceType> http://x/y </Iptc4xmpExt:DigitalSourceType>";
        assert_eq!(digital_source_type(element).as_deref(), Some("http://x/y"));
        for broken in ["DigitalSourceType", "DigitalSourceType=", "DigitalSourceType=\"", "DigitalSourceType>", "x"] {
            assert_eq!(digital_source_type(broken), None, "{broken}");
        }
    }
}
