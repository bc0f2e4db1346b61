//! Bad files are refused with a sentence, at once, and leave nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use danqing_checkpoints::{StorageType, Weights, safetensors};
use danqing_testing::fixture_path;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("danqing-checkpoints-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// The committed corpus: files named `sound*` open, all others are refused with their name in the sentence.
#[test]
fn only_sound_files_of_the_corpus_open() {
    for parser in ["safetensors", "zip"] {
        for entry in fs::read_dir(fixture_path("corpus").join(parser)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            match Weights::open(&path) {
                Ok(_) => assert!(name.starts_with("sound"), "{name} was accepted"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!name.starts_with("sound"), "{error}");
                    assert!(error.contains(name) && error.ends_with(|c: char| c.is_alphanumeric()), "{error}");
                }
            }
        }
    }
}

#[test]
fn sentences_say_what_is_wrong() {
    let message = |file: &str| Weights::open(fixture_path("corpus").join(file)).unwrap_err().to_string();
    for (file, part) in [
        ("safetensors/duplicate_name.safetensors", "\"a\" appears twice"),
        ("safetensors/hole.safetensors", "\"b\": its data_offsets are [8, 12] where the tensor before it ends at 4"),
        ("safetensors/overlap.safetensors", "[2, 6]"),
        ("safetensors/tail.safetensors", "which has 5 bytes"),
        ("safetensors/leading_space.safetensors", "does not start with '{'"),
        ("safetensors/unknown_type.safetensors", "\"Q4\" is not known"),
        ("safetensors/unread_type_of_wrong_size.safetensors", "of F4 does not take 4 bytes"),
        ("safetensors/wrong_size.safetensors", "takes 8 bytes but it has 4"),
        ("safetensors/shape_overflow.safetensors", "larger than any memory"),
        ("zip/compressed.pth", "is compressed"),
        ("zip/cut.pth", "it is cut short"),
        ("zip/other_local_name.pth", "differs from its directory"),
        ("zip/overlapping.pth", "differs from its directory"),
        ("zip/small_storage.pth", "too few"),
        ("zip/no_pickle.pth", "torch.save did not make it"),
    ] {
        let message = message(file);
        assert!(message.contains(part), "{file}: {message}");
    }
}

#[test]
fn weights_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let weights = Weights::from_parts("memory", vec![("a".to_owned(), vec![2], vec![1.0, 2.0])]).unwrap();
    shared(&weights);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(weights.read_f32("a").unwrap(), [1.0, 2.0]));
        }
    });
}

#[test]
fn strangers_are_named() {
    let folder = Folder::new("strangers");
    for (name, bytes, part) in [
        ("a.gguf", b"GGUF\x03\0\0\0".as_slice(), "GGUF file, which is not yet readable"),
        ("b.safetensors", b"<!DOCTYPE html>", "web page"),
        ("c.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("d.ckpt", b"", "empty"),
        ("e.bin", b"\0\0\0\0\0\0\0\0\0\0\0\0", "no known weight format"),
        ("f.pkl", b"\x80\x04N.", "bare Python pickle"),
    ] {
        fs::write(folder.0.join(name), bytes).unwrap();
        let message = Weights::open(folder.0.join(name)).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(name), "{message}");
    }
    let message = Weights::open(folder.0.join("none.safetensors")).unwrap_err().to_string();
    assert!(message.contains("none.safetensors") && message.contains("Check the path"), "{message}");
    let message = Weights::open(&folder.0).unwrap_err().to_string();
    assert!(message.contains("holds no weight file"), "{message}");
    let message = Weights::open("/dev/null").unwrap_err().to_string();
    assert!(message.contains("not a regular file"), "{message}");
}

/// 1,000,000 tensors in a 53 MiB header took the reference implementation 20 s and 1.9 GB.
#[test]
fn a_header_of_a_million_tensors_costs_nothing() {
    let folder = Folder::new("million");
    let mut header = String::from("{");
    for i in 0..1_000_000 {
        header.push_str(&format!("\"t{i:06}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}},"));
    }
    header.pop();
    header.push('}');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    let path = folder.0.join("million.safetensors");
    fs::write(&path, &file).unwrap();
    refused_cheaply(&path, "more than the 16777216 accepted");

    // The same within the header limit: the count stops it.
    let cut = header[..safetensors::MAX_HEADER - 100].rfind("},").unwrap();
    let header = format!("{}}}}}", &header[..cut]);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    fs::write(&path, &file).unwrap();
    refused_cheaply(&path, "more than 100000 tensors");
}

fn refused_cheaply(path: &std::path::Path, part: &str) {
    let resident = resident_bytes();
    let start = Instant::now();
    let message = Weights::open(path).unwrap_err().to_string();
    let (took, grown) = (start.elapsed(), resident_bytes().saturating_sub(resident));
    assert!(message.contains(part), "{message}");
    println!("refused in {took:?}, {} KiB more", grown >> 10);
    // Ten times the time it takes on an idle machine.
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(grown < 64 << 20, "{grown} bytes");
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM:"))
        .and_then(|l| l.split_whitespace().nth(1)?.parse::<usize>().ok());
    line.unwrap_or(0) << 10
}

#[test]
fn a_file_cut_while_open_is_an_error() {
    let folder = Folder::new("cut");
    let path = folder.0.join("a.safetensors");
    let bytes = vec![0u8; 1 << 16];
    safetensors::write(&path, &[("a", StorageType::U8, &[1 << 16], &bytes)], &BTreeMap::new()).unwrap();
    let weights = Weights::open(&path).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    let message = weights.read_f32("a").unwrap_err().to_string();
    assert!(message.contains("was cut while it was open"), "{message}");
    assert!(weights.bytes("a").unwrap_err().to_string().contains("was cut"), "{message}");
}

#[test]
fn replacing_a_file_does_not_disturb_who_reads_it() {
    let folder = Folder::new("replace");
    let path = folder.0.join("a.safetensors");
    let none = BTreeMap::new();
    safetensors::write(&path, &[("a", StorageType::U8, &[2], &[1, 2])], &none).unwrap();
    let weights = Weights::open(&path).unwrap();
    safetensors::write(&path, &[("b", StorageType::U8, &[1], &[3])], &none).unwrap();
    assert_eq!(weights.read_f32("a").unwrap(), [1.0, 2.0]);
    assert_eq!(Weights::open(&path).unwrap().read_f32("b").unwrap(), [3.0]);
}

#[test]
fn a_checkpoint_in_several_files_is_one() {
    let folder = Folder::new("sharded");
    let none = BTreeMap::new();
    for (file, name) in [("m-1.safetensors", "a"), ("m-2.safetensors", "b")] {
        safetensors::write(folder.0.join(file), &[(name, StorageType::U8, &[1], &[7])], &none).unwrap();
    }
    let index = folder.0.join("model.safetensors.index.json");
    fs::write(&index, r#"{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#).unwrap();
    for path in [&index, &folder.0] {
        let weights = Weights::open(path).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(weights.read_f32("b").unwrap(), [7.0]);
    }
    for (map, part) in [
        (r#"{"a":"m-2.safetensors"}"#, "the index says it is in"),
        (r#"{"a":"../m-1.safetensors"}"#, "not beside it"),
        (r#"{"a":"m-3.safetensors"}"#, "m-3.safetensors"),
        (r#"{"a":"model.safetensors.index.json"}"#, "another index"),
    ] {
        fs::write(&index, format!(r#"{{"weight_map":{map}}}"#)).unwrap();
        let message = Weights::open(&index).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_missing_name_suggests_the_nearest() {
    let parts = vec![("unet.conv_in.weight".to_owned(), vec![1], vec![0.5]), ("vae.x".to_owned(), vec![1], vec![1.0])];
    let weights = Weights::from_parts("memory", parts).unwrap();
    let message = weights.read_f32("conv_in.weight").unwrap_err().to_string();
    assert!(message.contains("no tensor \"conv_in.weight\"") && message.contains("unet.conv_in.weight"), "{message}");
    assert_eq!(weights.under("unet.").read_f32("conv_in.weight").unwrap(), [0.5]);
    let renamed = weights.renamed(|name| name.strip_prefix("vae.").map(str::to_owned)).unwrap();
    assert_eq!(renamed.names().collect::<Vec<_>>(), ["x"]);
    assert!(weights.renamed(|_| Some("same".to_owned())).is_err());
}

#[test]
fn numbers_that_are_none_are_named() {
    let mut values = vec![0.5f32; 3000];
    let weights = |values: &[f32]| {
        Weights::from_parts("memory", vec![("a".to_owned(), vec![values.len()], values.to_vec())]).unwrap()
    };
    assert!(weights(&values).check_finite("a").is_ok());
    values[2047] = f32::NAN;
    values[2048] = f32::INFINITY;
    let message = weights(&values).check_finite("a").unwrap_err().to_string();
    assert!(message.contains("\"a\": element 2047 of 3000 is NaN"), "{message}");
    assert!(weights(&values[2048..]).check_finite("a").unwrap_err().to_string().contains("element 0 of 952 is inf"));
}

#[test]
fn a_variant_is_taken_by_name() {
    let folder = Folder::new("variant");
    let none = BTreeMap::new();
    for (file, value) in [("model.safetensors", 1), ("model.fp16.safetensors", 2)] {
        safetensors::write(folder.0.join(file), &[("a", StorageType::U8, &[1], &[value])], &none).unwrap();
    }
    assert_eq!(Weights::open(&folder.0).unwrap().read_f32("a").unwrap(), [1.0]);
    assert_eq!(Weights::open_variant(&folder.0, "fp16").unwrap().read_f32("a").unwrap(), [2.0]);
    assert!(Weights::open_variant(&folder.0, "ema").is_err());
    fs::remove_file(folder.0.join("model.safetensors")).unwrap();
    assert_eq!(Weights::open(&folder.0).unwrap().read_f32("a").unwrap(), [2.0]);
}

#[test]
fn unwritable_places_are_named_and_nothing_is_left() {
    let none = BTreeMap::new();
    let tensor: [safetensors::TensorToWrite<'_>; 1] = [("a", StorageType::U8, &[1], &[1])];
    let error = safetensors::write("/proc/nowhere/a.safetensors", &tensor, &none).unwrap_err().to_string();
    assert!(error.contains("/proc/nowhere/a.safetensors"), "{error}");
    let folder = Folder::new("unwritable");
    let target = folder.0.join("taken");
    fs::create_dir_all(target.join("inside")).unwrap();
    assert!(safetensors::write(&target, &tensor, &none).is_err());
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}
