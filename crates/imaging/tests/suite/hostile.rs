//! Broken versions of sound files and texts: every parser returns, and what it returns stays bounded.

use danqing_imaging::container::{embed_metadata, read_metadata};
use danqing_imaging::generation::comfyui_from_json;
use danqing_imaging::inspect::Report;
use danqing_imaging::video::VideoHeader;
use danqing_imaging::{DecodeLimits, Format, GenerationInfo, Infotext, Metadata, decode};
use danqing_testing::mutate;

const LIMITS: DecodeLimits = DecodeLimits {
    max_side: 4096,
    max_pixels: 1 << 18,
    max_file_bytes: 1 << 20,
    max_metadata_bytes: 1 << 16,
    max_frames: 50,
    max_time: std::time::Duration::from_secs(60),
};

const FORMATS: [Format; 7] =
    [Format::Png, Format::Jpeg, Format::WebP, Format::Gif, Format::Bmp, Format::Tiff, Format::Avif];

#[test]
fn broken_picture_files_are_read_or_refused() {
    let corpus = mutate::corpus("picture-metadata");
    let tokens: [&[u8]; 9] =
        [b"tEXt", b"zTXt", b"iTXt", b"IEND", b"parameters\0", b"UNICODE\0", b"\xff\xe1", b"VP8X", b"Exif\0\0"];
    let (mut decoded, mut stated) = (0, 0);
    mutate::run_with_tokens(&corpus, &tokens, 2, mutate::count(), |bytes| {
        for format in FORMATS {
            let metadata = read_metadata(format, bytes, &LIMITS);
            let text: usize = metadata.text.iter().map(|entry| entry.text.len()).sum();
            // Latin-1 takes up to two bytes a letter here.
            assert!(text <= 2 * LIMITS.max_metadata_bytes);
            stated += usize::from(GenerationInfo::read(&metadata).is_some());
            let _ = metadata.digital_source_type();
            let _ = embed_metadata(format, bytes, &metadata);
        }
        if let Ok(picture) = decode(bytes, &LIMITS) {
            decoded += 1;
            assert!(u64::from(picture.width()) * u64::from(picture.height()) <= LIMITS.max_pixels);
            let _ = GenerationInfo::read_picture(&picture, &LIMITS);
        }
    });
    // A corpus that is never understood would test nothing.
    assert!(decoded > 500 && stated > 500, "{decoded} decoded, {stated} with parameters");
}

#[test]
fn broken_generation_texts_are_read_or_refused() {
    let corpus = mutate::corpus("infotext");
    let tokens: [&[u8]; 8] =
        [b"Steps: ", b": \"", b"\\\"", b", ", b"Negative prompt:", b"[\"3\", 0]", b"{\"", b"<lora:"];
    mutate::run_with_tokens(&corpus, &tokens, 3, mutate::count(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let infotext = Infotext::parse(&text);
        assert!(infotext.prompt.len() + infotext.negative.len() <= text.len());
        let written = infotext.to_string();
        assert!(written.len() <= 6 * text.len() + 64);
        let _ = comfyui_from_json(&text);
        for keyword in ["parameters", "prompt", "workflow", "Comment", "Dream", "sd-metadata", "invokeai_metadata"] {
            let mut metadata = Metadata::default();
            metadata.set_text(keyword, text.clone());
            if let Some(info) = GenerationInfo::read(&metadata) {
                assert!(serde_json::to_string(&info).is_ok());
            }
        }
        let _ = Report::of(bytes, &LIMITS);
    });
}

#[test]
fn broken_frame_streams_end() {
    let y4m = |words: &str, frame: usize| {
        let mut bytes = format!("YUV4MPEG2 W8 H6 F25:1 {words}\n").into_bytes();
        for _ in 0..3 {
            bytes.extend(b"FRAME\n");
            bytes.extend(vec![100; frame]);
        }
        bytes
    };
    let corpus = [y4m("Ip C420jpeg", 72), y4m("C444 XCOLORRANGE=FULL", 144), y4m("Cmono", 48), y4m("C422", 96)];
    let tokens: [&[u8]; 6] = [b"FRAME\n", b" W", b" H", b" C420mpeg2", b" Ip", b"XCOLORRANGE=FULL"];
    let mut whole = 0;
    mutate::run_with_tokens(&corpus, &tokens, 5, mutate::count(), |bytes| {
        let mut input = bytes;
        let Ok(header) = VideoHeader::read(&mut input, &LIMITS) else { return };
        assert!(u64::from(header.width) * u64::from(header.height) <= LIMITS.max_pixels);
        let (mut frame, mut back) = (Vec::new(), Vec::new());
        while let Ok(true) = header.read_frame(&mut input, &mut frame) {
            let values = header.to_unit_f32(&frame);
            assert!(header.from_unit_f32(&values, header.height, &mut back).is_ok());
            assert_eq!(back.len(), frame.len());
            whole += 1;
        }
    });
    assert!(whole > 500, "{whole} frames");
}

#[test]
fn long_texts_take_linear_time() {
    for unit in ["a: ", "aa ", "aa: \"", "Aa: \\", "[x", "\"", "\n", "{\"a\":", "[\"1\",0],", "<lora:a:"] {
        let text = unit.repeat(400_000 / unit.len());
        let start = std::time::Instant::now();
        let _ = Infotext::parse(&text);
        let mut metadata = Metadata::default();
        metadata.set_text("Dream", text.clone());
        let _ = GenerationInfo::read(&metadata);
        let _ = comfyui_from_json(&text);
        assert!(start.elapsed().as_secs() < 2, "{unit:?} took {:?}", start.elapsed());
    }
}
