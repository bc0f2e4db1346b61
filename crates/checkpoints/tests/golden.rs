//! What is read equals what torch and safetensors read.

use danqing_checkpoints::{StorageType, Weights};
use danqing_testing::{Fixture, assert_close, assets, fixture_path};

fn open(name: &str) -> Weights {
    Weights::open(fixture_path("reference/checkpoints").join(name)).unwrap_or_else(|e| panic!("{e}"))
}

fn compare(name: &str, expected: &str) -> Weights {
    let weights = open(name);
    let fixture = Fixture::open(&format!("reference/checkpoints/{expected}"));
    assert_eq!(weights.names().collect::<Vec<_>>(), fixture.names().collect::<Vec<_>>(), "{name}");
    for tensor in fixture.names() {
        assert_eq!(weights.info(tensor).unwrap().shape, fixture.shape(tensor), "{name}: {tensor}");
        assert_close(&format!("{name}: {tensor}"), &weights.read_f32(tensor).unwrap(), &fixture.f32(tensor), 0.0);
    }
    weights
}

#[test]
fn archives_and_streams_hold_the_same_tensors() {
    compare("torch_archive.pth", "torch_archive.safetensors");
    let weights = compare("torch_stream.pth", "torch_archive.safetensors");
    assert_eq!(weights.info("half").unwrap().dtype, StorageType::F16);
    assert_eq!(weights.info("int64").unwrap().dtype, StorageType::I64);
    assert!(weights.unknown_globals().is_empty(), "{:?}", weights.unknown_globals());
    assert_eq!(weights.unwrapped().names().count(), weights.names().count());
}

#[test]
fn untyped_storages_are_read() {
    compare("torch_untyped.pth", "torch_untyped.safetensors");
}

#[test]
fn a_pickled_module_gives_its_state_dictionary() {
    let weights = compare("torch_module.pth", "torch_module.safetensors");
    assert!(weights.unknown_globals().contains(&"torch.nn.modules.container.Sequential".to_owned()));
    assert_eq!(weights.unwrapped().names().collect::<Vec<_>>(), weights.names().collect::<Vec<_>>());
}

#[test]
fn an_embedding_keeps_its_words() {
    compare("torch_embedding.pth", "torch_embedding.safetensors");
}

#[test]
fn a_tensor_of_an_unread_type_leaves_the_others_usable() {
    let weights = Weights::open(fixture_path("corpus/safetensors/sound_unread_type.safetensors")).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["b"]);
    assert!(weights.read_f32("a").unwrap_err().to_string().contains("its type F4 is not read"));
}

#[test]
fn a_trainers_file_is_read_without_knowing_its_classes() {
    for name in ["torch_trainer2.pth", "torch_trainer4.pth"] {
        let weights = compare(name, "torch_trainer.safetensors");
        assert!(weights.unknown_globals().contains(&"__main__.Inert".to_owned()), "{:?}", weights.unknown_globals());
        let (sparse, reason) = weights.refused().next().unwrap();
        assert_eq!(sparse, "sparse");
        assert!(reason.contains("torch._utils._rebuild_sparse_tensor"), "{reason}");
        assert!(weights.read_f32("sparse").unwrap_err().to_string().contains("never calls"));
        assert_eq!(weights.unwrapped().names().collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[test]
fn every_stored_type_is_converted_as_torch_does() {
    let weights = open("types.safetensors");
    let types: Vec<String> = weights.names().filter(|n| !n.contains('.')).map(str::to_owned).collect();
    assert_eq!(types.len(), 15);
    for name in &types {
        let want = weights.read_f32(&format!("{name}.float32")).unwrap();
        assert_close(name, &weights.read_f32(name).unwrap(), &want, 0.0);
        let want = weights.read_bf16(&format!("{name}.bfloat16")).unwrap();
        let got = weights.read_bf16(name).unwrap();
        let same = got.iter().zip(&want).all(|(g, w)| g.to_bits() == w.to_bits() || g.is_nan() && w.is_nan());
        assert!(same, "{name} as bfloat16: got {got:?}, want {want:?}");
    }
}

/// Every weight file among the assets loads with torch's values, or is refused with a sentence that says what it is.
#[test]
fn real_files_load_or_are_refused_with_reason() {
    let Some(assets) = assets() else { return };
    let text = std::fs::read_to_string(fixture_path("reference/checkpoints/assets.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut loaded = 0;
    for path in files_under(&assets.join("weights")) {
        let suffix = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !["safetensors", "sft", "pt", "pth", "ckpt", "bin", "gguf"].contains(&suffix) {
            continue;
        }
        let relative = path.strip_prefix(&assets).unwrap().to_str().unwrap().to_owned();
        match Weights::open(&path) {
            Ok(weights) => {
                let wanted =
                    expected["files"].get(&relative).unwrap_or_else(|| panic!("{relative} has no golden sums"));
                compare_sums(&relative, &weights, wanted);
                loaded += 1;
            }
            Err(error) => {
                let error = error.to_string();
                assert_eq!(suffix, "bin", "{error}");
                assert!(error.contains("ncnn") || error.contains("no known weight format"), "{error}");
            }
        }
    }
    assert_eq!(loaded, expected["files"].as_object().unwrap().len());
}

fn compare_sums(file: &str, weights: &Weights, wanted: &serde_json::Value) {
    assert_eq!(weights.len() as u64, wanted["count"].as_u64().unwrap(), "{file}");
    for (name, row) in wanted["tensors"].as_object().unwrap() {
        let shape: Vec<usize> = serde_json::from_value(row[0].clone()).unwrap();
        assert_eq!(weights.info(name).unwrap_or_else(|| panic!("{file}: no {name}")).shape, shape, "{file}: {name}");
        let numbers = weights.read_f32(name).unwrap();
        let n = numbers.len() as f64;
        let (mut sum, mut ramped, mut size) = (0f64, 0f64, 1f64);
        for (i, &value) in numbers.iter().enumerate() {
            let value = f64::from(value);
            (sum, ramped, size) = (sum + value, ramped + value * (i as f64 + 1.0) / n, size + value.abs());
        }
        for (got, want) in [(sum, row[1].as_f64().unwrap()), (ramped, row[2].as_f64().unwrap())] {
            assert!((got - want).abs() <= 1e-12 * size, "{file}: {name}: got {got}, want {want}");
        }
    }
}

fn files_under(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
