//! What a picture file says about itself: the logic of `danqing inspect`.

use std::fmt::Write as _;
use std::path::Path;

use crate::container::{has_content_credentials, read_metadata};
use crate::decode::read_file;
use crate::generation::{GenerationInfo, SamplingPass, comfyui_from_json, hidden_text};
use crate::{DecodeLimits, Format, ImagingError, Metadata, decode, probe};

/// The language of a report for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese.
    Chinese,
}

/// Everything that a file states; serialises to the JSON of `danqing inspect --json`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Report {
    /// `PNG`, `JPEG`, … or `ComfyUI workflow`.
    pub format: &'static str,
    /// Width in pixels as stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height in pixels as stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Size of the file.
    pub bytes: u64,
    /// Why the pixels cannot be read, when they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// How it was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationInfo>,
    /// True when the parameters were hidden in the lowest bits of the pixels.
    pub hidden: bool,
    /// IPTC DigitalSourceType.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digital_source_type: Option<String>,
    /// A C2PA manifest is there; it is not verified here.
    pub content_credentials: bool,
    /// An ICC profile is there.
    pub icc_profile: bool,
    /// An EXIF block is there.
    pub exif: bool,
    /// Names and lengths in bytes of all texts.
    pub texts: Vec<TextSummary>,
    /// The A1111 text as it stands, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infotext: Option<String>,
}

/// One text of a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TextSummary {
    /// Its name.
    pub keyword: String,
    /// Its length in bytes.
    pub bytes: usize,
}

/// Reads a file and reports on it.
///
/// # Errors
/// [`ImagingError::Read`], [`ImagingError::TooLarge`] and those of [`Report::of`].
pub fn report(path: &Path, limits: &DecodeLimits) -> Result<Report, ImagingError> {
    Report::of(&read_file(path, limits)?, limits)
}

impl Report {
    /// Reports on the bytes of a picture, or of a ComfyUI workflow in JSON.
    ///
    /// # Errors
    /// [`ImagingError::UnknownFormat`] when it is neither.
    pub fn of(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, ImagingError> {
        let Some(format) = Format::sniff(bytes) else {
            return Self::of_workflow(bytes).map_or_else(|| probe(bytes, limits).map(|_| Self::empty("", bytes)), Ok);
        };
        let mut report = Self::empty(format.name(), bytes);
        match probe(bytes, limits) {
            Ok((_, width, height)) => (report.width, report.height) = (Some(width), Some(height)),
            Err(error) => report.damage = Some(error.to_string()),
        }
        let metadata = read_metadata(format, bytes, limits);
        report.generation = GenerationInfo::read(&metadata);
        if report.damage.is_none() {
            match decode(bytes, limits) {
                Ok(picture) if report.generation.is_none() => {
                    report.generation = GenerationInfo::read_picture(&picture, limits);
                    report.hidden = report.generation.is_some();
                    report.infotext = hidden_text(&picture, limits.max_metadata_bytes).filter(|_| report.hidden);
                }
                Ok(_) => {}
                Err(error) => report.damage = Some(error.to_string()),
            }
        }
        report.state(&metadata);
        report.content_credentials = has_content_credentials(format, bytes);
        Ok(report)
    }

    fn of_workflow(bytes: &[u8]) -> Option<Self> {
        let info = comfyui_from_json(std::str::from_utf8(bytes).ok()?)?;
        Some(Self { generation: Some(info), ..Self::empty("ComfyUI workflow", bytes) })
    }

    fn empty(format: &'static str, bytes: &[u8]) -> Self {
        Self {
            format,
            width: None,
            height: None,
            bytes: bytes.len() as u64,
            damage: None,
            generation: None,
            hidden: false,
            digital_source_type: None,
            content_credentials: false,
            icc_profile: false,
            exif: false,
            texts: Vec::new(),
            infotext: None,
        }
    }

    fn state(&mut self, metadata: &Metadata) {
        self.digital_source_type = metadata.digital_source_type();
        self.icc_profile = metadata.icc.is_some();
        self.exif = metadata.exif.is_some();
        let summary = |keyword: &str, bytes| TextSummary { keyword: keyword.to_owned(), bytes };
        self.texts = metadata.text.iter().map(|e| summary(&e.keyword, e.text.len())).collect();
        self.texts.extend(metadata.user_comment().map(|text| summary("EXIF UserComment", text.len())));
        self.texts.extend(metadata.xmp.as_ref().map(|xmp| summary("XMP", xmp.len())));
        self.infotext = self.infotext.take().or_else(|| metadata.infotext());
    }

    /// The report for people: one fact a line, aligned.
    pub fn to_text(&self, language: Language) -> String {
        let mut lines = Lines { language, text: String::new() };
        let size = match (self.width, self.height) {
            (Some(width), Some(height)) => format!("{}, {width} × {height}, {} B", self.format, self.bytes),
            _ => format!("{}, {} B", self.format, self.bytes),
        };
        lines.add("File", "文件", Some(size));
        lines.add("Damage", "损坏", self.damage.as_deref());
        if let Some(info) = &self.generation {
            let hidden = match (self.hidden, language) {
                (false, _) => "",
                (true, Language::English) => " (hidden in the pixels)",
                (true, Language::Chinese) => "（隐藏在像素中）",
            };
            lines.add("Written by", "生成程序", Some(format!("{}{hidden}", info.generator.name())));
            lines.add_pass(&info.base);
            for (number, pass) in (2..).zip(&info.later_passes) {
                lines.add("Pass", "第几遍", Some(number));
                lines.add_pass(pass);
            }
            for (name, value) in &info.extra.0 {
                lines.add(name, name, Some(shortened(value)));
            }
        } else {
            lines.add("Written by", "生成程序", Some(lines.chosen("not stated", "未说明")));
        }
        lines.add("Source type", "来源类型", self.digital_source_type.as_deref());
        let found = lines.chosen("present, not verified here", "存在，此处未验证");
        lines.add("C2PA", "C2PA", self.content_credentials.then_some(found));
        let texts: Vec<String> = self.texts.iter().map(|t| format!("{} ({} B)", t.keyword, t.bytes)).collect();
        lines.add("Texts", "文本", (!texts.is_empty()).then(|| texts.join(", ")));
        lines.text
    }
}

/// Lines of a report: a label, two spaces at least, the fact.
struct Lines {
    language: Language,
    text: String,
}

impl Lines {
    fn chosen<'a>(&self, english: &'a str, chinese: &'a str) -> &'a str {
        if self.language == Language::Chinese { chinese } else { english }
    }

    fn add(&mut self, english: &str, chinese: &str, fact: Option<impl std::fmt::Display>) {
        let Some(fact) = fact else { return };
        let label = if self.language == Language::Chinese { chinese } else { english };
        // A Chinese character is two columns wide.
        let columns: usize = label.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        let gap = " ".repeat(18usize.saturating_sub(columns).max(2));
        // A terminal must not be steered by a stranger's text.
        let fact: String = fact.to_string().chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        let fact = fact.trim_end().replace('\n', &format!("\n{}", " ".repeat(18)));
        let label: String = label.chars().filter(|c| !c.is_control()).collect();
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "{label}{gap}{fact}");
    }

    fn add_pass(&mut self, pass: &SamplingPass) {
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.add("Prompt", "提示词", filled(&pass.prompt));
        self.add("Negative prompt", "反向提示词", filled(&pass.negative_prompt));
        let size = pass.width.zip(pass.height).map(|(width, height)| format!("{width} × {height}"));
        self.add("Size asked for", "请求尺寸", size);
        self.add("Steps", "步数", pass.steps);
        self.add("Sampler", "采样器", pass.sampler.as_deref());
        self.add("Schedule", "噪声调度", pass.schedule.as_deref());
        self.add("Guidance", "引导强度", pass.guidance_scale);
        self.add("Seed", "种子", pass.seed);
        self.add("Strength", "重绘幅度", pass.strength);
        let hash = pass.model_hash.as_ref().map(|hash| format!(" [{hash}]")).unwrap_or_default();
        self.add("Model", "模型", pass.model.as_ref().map(|name| format!("{name}{hash}")));
        let loras: Vec<String> = pass.loras.iter().map(|l| format!("{}: {}", l.name, l.weight)).collect();
        self.add("LoRA", "LoRA", (!loras.is_empty()).then(|| loras.join(", ")));
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 240;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmp::DigitalSourceType;
    use crate::{EncodeOptions, Infotext, Picture, encode};

    fn labelled(format: Format) -> Vec<u8> {
        let mut picture = Picture::filled(8, 6, &[1, 2, 3]).unwrap();
        let mut infotext = Infotext::new("两只红色的猫\u{1b}[2J", "dog");
        infotext.set("Steps", 20).set("Sampler", "Euler").set("Seed", 9).set("Version", "danqing 0.1.0");
        picture.metadata.set_infotext(infotext.to_string());
        picture.metadata.set_digital_source_type(DigitalSourceType::TrainedAlgorithmicMedia);
        encode(&picture, format, &EncodeOptions::default()).unwrap()
    }

    #[test]
    fn own_pictures_are_reported_in_both_languages_and_as_json() {
        for format in Format::WRITABLE.into_iter().filter(|f| f.keeps_metadata()) {
            let report = Report::of(&labelled(format), &DecodeLimits::default()).unwrap();
            let english = report.to_text(Language::English);
            assert!(english.contains("Written by        danqing\n"), "{english}");
            assert!(english.contains("Prompt            两只红色的猫[2J\n"), "{english}");
            let chinese = report.to_text(Language::Chinese);
            assert!(chinese.contains("步数              20\n"), "{chinese}");
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!(json["generation"]["generator"], "danqing");
            assert_eq!(json["generation"]["seed"], 9);
            assert_eq!(json["digital_source_type"], DigitalSourceType::TrainedAlgorithmicMedia.uri());
        }
    }

    #[test]
    fn damage_is_reported_beside_what_can_still_be_read() {
        let bytes = labelled(Format::Png);
        let report = Report::of(&bytes[..bytes.len() - 20], &DecodeLimits::default()).unwrap();
        assert!(report.damage.is_some() && report.generation.is_some(), "{report:?}");
        assert!(Report::of(b"hello", &DecodeLimits::default()).is_err());
        assert!(Report::of(b"{}", &DecodeLimits::default()).is_err());
    }
}
