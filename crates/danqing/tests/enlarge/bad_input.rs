//! What nobody wants: a clear error or the right result, and never half a file under its name.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use danqing_imaging::{DecodeLimits, EncodeOptions, Picture, open, save};

use super::{danqing, folder, network, said};

/// Names in a folder that were not there before.
fn new_names(folder: &Path, before: &[String]) -> Vec<String> {
    let mut names = names(folder);
    names.retain(|name| !before.contains(name));
    names
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// A PNG that announces a size and holds hardly anything.
fn announcing(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 6, 0, 0, 0]);
    let sum = crc(&bytes[12..]);
    bytes.extend(sum.to_be_bytes());
    for chunk in [&b"IDAT\x78\x9c"[..], b"IEND"] {
        bytes.extend((chunk.len() as u32 - 4).to_be_bytes());
        bytes.extend(chunk);
        bytes.extend(crc(chunk).to_be_bytes());
    }
    bytes
}

/// CRC-32 of PNG (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let folder = folder();
    for (name, bytes, wanted) in [
        ("wide.png", announcing(60_000, 60_000), "too large"),
        ("long.png", announcing(1, 4_000_000), "too large"),
        ("empty.png", Vec::new(), "empty.png"),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
        let before = names(folder.path());
        let began = Instant::now();
        let output = danqing(folder.path(), &["enlarge", name, "--scale", "2", "-o", "out.png"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(said(&output).contains(wanted) || said(&output).contains("not a picture"), "{name}: {}", said(&output));
        assert!(began.elapsed() < Duration::from_secs(20), "{name}");
        assert!(new_names(folder.path(), &before).is_empty(), "{name}");
    }
}

#[test]
fn odd_shapes_come_out_right() {
    let folder = folder();
    for (width, height) in [(1, 1), (1, 300), (20_000, 2)] {
        let picture = Picture::filled(width, height, &[10, 200, 90]).unwrap();
        save(&folder.path().join("odd.png"), &picture, &EncodeOptions::default()).unwrap();
        let output = danqing(folder.path(), &["enlarge", "odd.png", "-u", "span.safetensors", "-o", "out.png"]);
        assert!(output.status.success(), "{width}x{height}: {}", said(&output));
        let out = open(&folder.path().join("out.png"), &DecodeLimits::default()).unwrap();
        assert_eq!((out.width(), out.height()), (2 * width, 2 * height));
    }
}

#[test]
fn a_network_of_no_numbers_leaves_no_file() {
    let folder = folder();
    network(folder.path(), |_| f32::NAN);
    let before = names(folder.path());
    let output = danqing(folder.path(), &["enlarge", "a.png", "-u", "span.safetensors", "-o", "out.png"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not numbers"), "{}", said(&output));
    assert!(new_names(folder.path(), &before).is_empty());
}

#[test]
#[cfg(unix)]
fn a_full_disk_leaves_the_old_file() {
    let folder = folder();
    fs::write(folder.path().join("out.bmp.png"), "old").unwrap();
    let picture = {
        let mut picture = Picture::filled(300, 300, &[0, 0, 0]).unwrap();
        // Noise does not compress.
        let mut state = 1u32;
        picture.pixels_mut().iter_mut().for_each(|v| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *v = (state >> 24) as u8;
        });
        picture
    };
    save(&folder.path().join("noise.png"), &picture, &EncodeOptions::default()).unwrap();
    let before = names(folder.path());
    // A limit on the size of files stands for a full disk: writes fail at 64 blocks.
    let line = format!(
        "trap '' XFSZ; ulimit -f 64; exec {} enlarge noise.png --scale 3 -u cubic -o out.bmp.png",
        env!("CARGO_BIN_EXE_danqing")
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &line])
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .env("LANG", "C.UTF-8");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("error"), "{}", said(&output));
    assert_eq!(fs::read(folder.path().join("out.bmp.png")).unwrap(), b"old");
    assert!(new_names(folder.path(), &before).is_empty(), "{:?}", names(folder.path()));
}

#[test]
fn a_killed_run_leaves_nothing_under_the_name() {
    let folder = folder();
    let picture = Picture::filled(600, 600, &[10, 200, 90]).unwrap();
    save(&folder.path().join("large.png"), &picture, &EncodeOptions::default()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_danqing"));
    let line = ["enlarge", "large.png", "-u", "span.safetensors,span.safetensors,span.safetensors", "-o", "out.png"];
    command.args(line).current_dir(folder.path()).env_clear().env("HOME", folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Killed once the file is under construction.
    let began = Instant::now();
    while !names(folder.path()).iter().any(|name| name.ends_with(".tmp")) && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("out.png").exists());
    // What it leaves hidden goes with the next run, once it is not as young as a file that is about to be written.
    let left: Vec<String> = names(folder.path()).into_iter().filter(|name| name.ends_with(".tmp")).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let file = fs::File::options().write(true).open(folder.path().join(&left[0])).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    drop(file);
    let again = danqing(folder.path(), &["enlarge", "large.png", "--scale", "2", "-u", "cubic", "-o", "out.png"]);
    assert!(again.status.success(), "{}", said(&again));
    assert!(open(&folder.path().join("out.png"), &DecodeLimits::default()).is_ok());
    assert!(!folder.path().join(&left[0]).exists());
}
