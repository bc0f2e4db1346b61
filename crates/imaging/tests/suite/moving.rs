//! Animations written and read back.

use std::io::Cursor;
use std::time::Duration;

use danqing_imaging::animation::{Animation, AnimationHeader, AnimationWriter, Frame, Plays, gif_moves};
use danqing_imaging::{DecodeLimits, Format, Metadata, Picture, PixelFormat};

const MOVING: [Format; 3] = [Format::Gif, Format::Png, Format::WebP];

/// A square that walks; few colours, so that a GIF keeps them.
fn frames(alpha: bool) -> Vec<Frame> {
    let frame = |step: u32| {
        let mut pixels = Vec::new();
        for (x, y) in (0..12).flat_map(|y| (0..20).map(move |x| (x, y))) {
            let inside = (4..8).contains(&y) && (step * 3..step * 3 + 4).contains(&x);
            let colour = if inside { [200, 30, 40, 255] } else { [0, 0, 0, if alpha { 0 } else { 255 }] };
            pixels.extend(colour);
        }
        let picture = Picture::new(20, 12, PixelFormat::Rgba8, pixels).unwrap();
        Frame { picture, delay: Duration::from_millis(40 + u64::from(step) * 10) }
    };
    (0..5).map(frame).collect()
}

fn write(format: Format, frames: &[Frame], alpha: bool, plays: Plays) -> Vec<u8> {
    let mut metadata = Metadata::default();
    metadata.set_infotext("a cat\nSteps: 20");
    let header = AnimationHeader { width: 20, height: 12, frames: frames.len() as u32, alpha, plays, metadata };
    let mut sink = Cursor::new(Vec::new());
    let mut writer = AnimationWriter::begin(format, header, &mut sink).unwrap();
    for frame in frames {
        writer.write_frame(frame).unwrap();
    }
    writer.finish().unwrap();
    sink.into_inner()
}

#[test]
fn frames_delays_showings_and_text_come_back() {
    for format in MOVING {
        for alpha in [false, true] {
            for plays in [Plays::Forever, Plays::Times(1), Plays::Times(3)] {
                let frames = frames(alpha);
                let bytes = write(format, &frames, alpha, plays);
                let mut animation = Animation::open(&bytes, &DecodeLimits::server()).unwrap();
                assert!(animation.is_moving() && animation.format() == format);
                assert_eq!((animation.plays(), animation.size()), (plays, (20, 12)), "{}", format.name());
                assert_eq!(animation.metadata().infotext().as_deref(), Some("a cat\nSteps: 20"), "{}", format.name());
                let back: Vec<Frame> = animation.by_ref().map(Result::unwrap).collect();
                assert_eq!(back.len(), 5);
                for (index, (found, wanted)) in back.iter().zip(&frames).enumerate() {
                    assert_eq!(found.delay, wanted.delay, "{} {index}", format.name());
                    let pairs = found.picture.pixels().chunks_exact(4).zip(wanted.picture.pixels().chunks_exact(4));
                    for (a, b) in pairs {
                        assert!(a == b || (a[3] == 0 && b[3] == 0), "{} {index}: {a:?} {b:?}", format.name());
                    }
                }
            }
        }
    }
}

#[test]
fn limits_end_an_animation_and_wrong_frames_are_refused() {
    for format in MOVING {
        let frames = frames(false);
        let bytes = write(format, &frames, false, Plays::Forever);
        let few = DecodeLimits { max_frames: 2, ..DecodeLimits::server() };
        let read: Vec<_> = Animation::open(&bytes, &few).unwrap().collect();
        assert_eq!(read.len(), 3, "{}", format.name());
        let message = read[2].as_ref().map_err(|e| e.to_string()).unwrap_err();
        assert!(message.contains("frames"), "{message}");
        let hasty = DecodeLimits { max_time: Duration::ZERO, ..DecodeLimits::server() };
        assert!(Animation::open(&bytes, &hasty).unwrap().next().unwrap().is_err());
        for end in (0..bytes.len()).step_by(7) {
            if let Ok(cut) = Animation::open(&bytes[..end], &DecodeLimits::server()) {
                assert!(cut.count() <= 6, "{}", format.name());
            }
        }
        let header = AnimationHeader {
            width: 20,
            height: 12,
            frames: 2,
            alpha: false,
            plays: Plays::Forever,
            metadata: Metadata::default(),
        };
        let mut sink = Cursor::new(Vec::new());
        let mut writer = AnimationWriter::begin(format, header.clone(), &mut sink).unwrap();
        let small = Frame { picture: Picture::filled(3, 3, &[1, 2, 3]).unwrap(), delay: Duration::ZERO };
        assert!(writer.write_frame(&small).is_err());
        writer.write_frame(&frames[0]).unwrap();
        assert!(writer.finish().is_err(), "{}", format.name());
        let none = AnimationHeader { frames: 0, ..header };
        assert!(AnimationWriter::begin(format, none, &mut Cursor::new(Vec::new())).is_err());
    }
}

#[test]
fn gif_files_that_move_are_told_by_their_beginning() {
    let path = std::env::temp_dir().join(format!("danqing-moving-{}.gif", std::process::id()));
    let moves = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        gif_moves(&path)
    };
    let moving = write(Format::Gif, &frames(true), true, Plays::Forever);
    let half = &moving[..moving.len() / 2];
    let still = write(Format::Gif, &frames(false)[..1], false, Plays::Forever);
    assert!(moves(&moving) && moves(half) && !moves(&still) && !moves(&moving[..20]) && !moves(b"no picture at all"));
    std::fs::remove_file(&path).unwrap();
    assert!(!gif_moves(&path));
}

#[test]
fn a_still_picture_is_an_animation_of_one_frame() {
    let picture = Picture::filled(4, 3, &[9, 8, 7]).unwrap();
    for format in Format::WRITABLE {
        let bytes = danqing_imaging::encode(&picture, format, &Default::default()).unwrap();
        let animation = Animation::open(&bytes, &DecodeLimits::server()).unwrap();
        assert!(!animation.is_moving());
        let frames: Vec<Frame> = animation.map(Result::unwrap).collect();
        assert_eq!((frames.len(), frames[0].picture.width(), frames[0].delay), (1, 4, Duration::ZERO));
    }
}
