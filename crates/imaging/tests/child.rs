//! Decoding in a child process: this program is its own child, with the argument `serve`.
//!
//! It has its own `main`, since the usual test program writes to standard output, where the pixels go.

use std::io::{Write, stdin, stdout};
use std::time::{Duration, Instant};

use danqing_imaging::child::{ChildLimits, decode, serve};
use danqing_imaging::{DecodeLimits, EncodeOptions, Format, Picture, decode_deep, encode};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve(&mut stdin().lock(), &mut stdout().lock()).expect("the parent listens"),
        Some("hang") => std::thread::sleep(Duration::from_secs(60)),
        Some("crash") => std::process::abort(),
        Some("babble") => drop(stdout().write_all(&[b'x'; 1 << 20])),
        Some("lie") => drop(stdout().write_all(b"dqpixel1\xff\xff\0\0\xff\xff\0\0\x04\x02")),
        _ => check(),
    }
}

fn check() {
    let program = std::env::current_exe().expect("this program");
    let run = |argument: &str, bytes: &[u8], limits: &ChildLimits| decode(&program, &[argument], bytes, limits);
    let mut picture = Picture::filled(40, 30, &[10, 20, 30, 40]).expect("a picture");
    picture.metadata.set_infotext("a cat\nSteps: 20");
    let png = encode(&picture, Format::Png, &EncodeOptions::default()).expect("a file");
    let limits = ChildLimits::default();

    let through = run("serve", &png, &limits).expect("a sound file");
    assert_eq!(through, decode_deep(&png, &limits.decode).expect("a sound file"));

    for (name, bytes) in [("cut off", &png[..60]), ("no picture", &b"hello"[..]), ("empty", &[][..])] {
        let inside = decode_deep(bytes, &limits.decode).expect_err(name).to_string();
        assert_eq!(run("serve", bytes, &limits).expect_err(name).to_string(), inside, "{name}");
    }

    let small = ChildLimits { decode: DecodeLimits { max_pixels: 100, ..limits.decode }, ..limits };
    let refused = run("serve", &png, &small).expect_err("too many pixels").to_string();
    assert!(refused.contains("pixels is 1200, the limit is 100"), "{refused}");

    let hasty = ChildLimits { decode: DecodeLimits { max_time: Duration::from_secs(1), ..limits.decode }, ..limits };
    let start = Instant::now();
    let refused = run("hang", &png, &hasty).expect_err("time is up").to_string();
    assert!(refused.contains("seconds of decoding"), "{refused}");
    assert!(start.elapsed() < Duration::from_secs(20), "waited {:?}", start.elapsed());

    let refused = run("crash", &png, &limits).expect_err("a crash").to_string();
    assert!(refused.contains("crashed"), "{refused}");
    for argument in ["babble", "lie"] {
        let refused = run(argument, &png, &limits).expect_err(argument).to_string();
        assert!(refused.contains("process"), "{argument}: {refused}");
    }
    assert!(decode(std::path::Path::new("/no/such/program"), &[], &png, &limits).is_err());

    if cfg!(target_os = "linux") {
        // Eight thousand squared are 192 MB of pixels: more than the child may take.
        let large = Picture::filled(8000, 8000, &[1, 2, 3]).expect("a picture");
        let png = encode(&large, Format::Png, &EncodeOptions::default()).expect("a file");
        let narrow = ChildLimits { memory: 160 << 20, ..limits };
        let refused = run("serve", &png, &narrow).expect_err("memory").to_string();
        assert!(refused.contains("memory"), "{refused}");
    }
    println!("child: 11 passed, 0 failed");
}
