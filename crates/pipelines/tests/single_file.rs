//! A single-file checkpoint (LDM layout) draws what the diffusers folder of the same weights draws. Which stored tensor
//! holds which of the folder's is said by `reference/gen_single_file.py`, checked there by diffusers' own converters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use danqing_checkpoints::StorageType;
use danqing_checkpoints::safetensors::write;
use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_pipelines::checkpoint::{OpenOptions, open};
use danqing_pipelines::control::Quiet;
use danqing_pipelines::preview;
use danqing_pipelines::request::DrawRequest;
use danqing_pipelines::tasks::draw::{DrawTools, sample_latents};
use danqing_sampling::PredictionType;
use danqing_testing::fixture_path;
use serde_json::{Value, json};

/// A tensor: shape and values.
type Values = (Vec<usize>, Vec<f32>);

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

/// Values by name and index alone, of a size that keeps the network calm.
fn random(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut state =
        name.bytes().fold(0x9e37_79b9_7f4a_7c15u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let fan_in: usize = shape[1..].iter().product();
    let norm = shape.len() == 1 && name.contains("norm") && name.ends_with("weight");
    let size = if shape.len() == 1 { 0.1 } else { 1.0 / (fan_in as f32).sqrt() };
    (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let v = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            v * size + if norm { 1.0 } else { 0.0 }
        })
        .collect()
}

fn save(path: &Path, tensors: &BTreeMap<String, Values>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let bytes: Vec<Vec<u8>> =
        tensors.values().map(|(_, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let rows: Vec<_> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, (shape, _)), bytes)| (name.as_str(), StorageType::F32, shape.as_slice(), bytes.as_slice()))
        .collect();
    write(path, &rows, &BTreeMap::new()).unwrap();
}

/// What the file stores, made of the folder's tensors.
fn made(operation: &str, sources: &[&Values]) -> Values {
    let (shape, values) = sources[0];
    match operation {
        "point" => ([shape.as_slice(), &[1, 1]].concat(), values.clone()),
        "transpose" => {
            let (rows, columns) = (shape[0], shape[1]);
            let at = |i: usize| values[i % rows * columns + i / rows];
            (vec![columns, rows], (0..rows * columns).map(at).collect())
        }
        "stack" => {
            let mut stacked = shape.clone();
            stacked[0] *= sources.len();
            (stacked, sources.iter().flat_map(|(_, values)| values.iter().copied()).collect())
        }
        _ => (shape.clone(), values.clone()),
    }
}

fn tokenizer() -> PathBuf {
    fixture_path("reference/pipelines/tiny/tokenizer")
}

fn copy_tokenizer(to: &Path, pad: &str) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        let text = std::fs::read_to_string(tokenizer().join(name)).unwrap();
        let text = if name.ends_with("config.json") {
            let mut config: Value = serde_json::from_str(&text).unwrap();
            config["pad_token"] = json!(pad);
            config.to_string()
        } else {
            text
        };
        std::fs::write(to.join(name), text).unwrap();
    }
}

/// Writes the same weights as a folder and as a file; gives both.
fn written(family: &str, at: &Path) -> (PathBuf, PathBuf) {
    let table =
        std::fs::read_to_string(fixture_path(format!("reference/pipelines/single-file/{family}.json"))).unwrap();
    let table: Value = serde_json::from_str(&table).unwrap();
    let tensors: BTreeMap<&str, Values> = table["shapes"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| (name.as_str(), (sizes(shape), random(name, &sizes(shape)))))
        .collect();

    let folder = at.join("folder");
    for (part, config) in table["config"].as_object().unwrap() {
        let own = tensors
            .iter()
            .filter_map(|(name, t)| Some((name.strip_prefix(part)?.strip_prefix('/')?.into(), t.clone())));
        let file = if part.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
        save(&folder.join(part).join(format!("{file}.safetensors")), &own.collect());
        std::fs::write(folder.join(part).join("config.json"), config.to_string()).unwrap();
    }
    std::fs::write(folder.join("model_index.json"), "{}").unwrap();
    copy_tokenizer(&folder.join("tokenizer"), "<|endoftext|>");
    copy_tokenizer(&folder.join("tokenizer_2"), "!");

    let mut stored: BTreeMap<String, Values> = table["stored"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, row)| {
            let row: Vec<&str> = row.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
            let sources: Vec<&Values> = row[1..].iter().map(|source| &tensors[source]).collect();
            (name.clone(), made(row[0], &sources))
        })
        .collect();
    // What published files carry beside the networks.
    for name in ["alphas_cumprod", "model_ema.decay", "first_stage_model.loss.logvar"] {
        stored.insert(name.into(), (vec![1], vec![0.5]));
    }
    let prefix = if family == "sd1" { "cond_stage_model" } else { "conditioner.embedders.0" };
    let positions = (0..16).map(|v| v as f32).collect();
    stored.insert(format!("{prefix}.transformer.text_model.embeddings.position_ids"), (vec![1, 16], positions));
    let file = at.join("single.safetensors");
    save(&file, &stored);
    (folder, file)
}

fn latents(model: &StableDiffusion) -> Vec<f32> {
    let request = DrawRequest {
        prompt: "a red cat, BREAK blue house".into(),
        negative_prompt: "blue".into(),
        translate: false,
        width: Some(16),
        height: Some(24),
        steps: Some(3),
        guidance_scale: Some(4.0),
        seed: 5,
        ..Default::default()
    };
    sample_latents(model, &request, &DrawTools::default(), &Quiet).unwrap().0
}

#[test]
fn a_single_file_draws_what_its_folder_draws() {
    for family in ["sd1", "sdxl"] {
        let at = tempfile::tempdir().unwrap();
        let (folder, file) = written(family, at.path());
        let options = OpenOptions { vocabularies: vec![tokenizer()], ..Default::default() };
        let options = OpenOptions { prediction: Some(PredictionType::Epsilon), ..options };
        let from_folder = open(&folder, &options).unwrap();
        let from_file = open(&file, &options).unwrap();
        for model in [&from_folder, &from_file] {
            assert_eq!(model.family.map(|f| f.id), Some(family));
        }
        assert_eq!(from_folder.time_ids, from_file.time_ids);

        // Beside them, as ComfyUI's tree has it, lies the family's preview decoder.
        let places = [file.clone()];
        assert_eq!(preview::locate_decoder(&from_file, &places), None);
        let decoder = at.path().join("vae_approx").join(if family == "sd1" {
            "taesd_decoder.pth"
        } else {
            "taesdxl_decoder.pth"
        });
        std::fs::create_dir_all(decoder.parent().unwrap()).unwrap();
        std::fs::write(&decoder, []).unwrap();
        assert_eq!(preview::locate_decoder(&from_file, &places), Some(decoder));

        let (want, got) = (latents(&from_folder), latents(&from_file));
        assert!(want.iter().all(|v| v.is_finite()) && want.iter().any(|v| v.abs() > 0.1));
        assert_eq!(want, got, "{family}: the single file draws something else");

        let picture = danqing_tensor::Tensor::from_vec(random("picture", &[1, 16, 16, 3]), &[1, 16, 16, 3]).unwrap();
        let coded = |model: &StableDiffusion| {
            let mean = model.autoencoder.encode(&picture).unwrap().mean;
            [mean.to_vec(), model.autoencoder.decode(&mean).unwrap().to_vec()].concat()
        };
        assert_eq!(coded(&from_folder), coded(&from_file), "{family}: the autoencoder differs");
    }
}
