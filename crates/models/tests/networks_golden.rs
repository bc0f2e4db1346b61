//! Every block of the networks against diffusers and transformers (`reference/gen_models.py`).

use danqing_checkpoints::Weights;
use danqing_models::autoencoders::{AutoencoderKl, AutoencoderKlConfig};
use danqing_models::text_encoders::{ClipTextConfig, ClipTextEncoder};
use danqing_models::unet::{AddedConditioning, Unet, UnetConditioning, UnetConfig};
use danqing_nn::{LoadOptions, Loader, TensorSource};
use danqing_tensor::{DType, Tensor};
use danqing_testing::{Blocks, Fixture, assert_relative_l2, fixture_path};

/// Tolerances of `docs/numerics.md`: blocks in f32.
const BLOCK: (f32, f32) = (1e-4, 1e-4);

/// The weights below `w.` in a fixture.
struct BelowW(Weights);

impl TensorSource for BelowW {
    fn source_name(&self) -> String {
        self.0.source().to_owned()
    }
    fn names(&self) -> Vec<String> {
        self.0.names().filter_map(|n| n.strip_prefix("w.").map(String::from)).collect()
    }
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.info(&format!("w.{name}")).map(|i| i.shape.clone())
    }
    fn read_f32(&self, name: &str) -> Result<Vec<f32>, danqing_checkpoints::WeightsError> {
        self.0.read_f32(&format!("w.{name}"))
    }
    fn read_bf16(&self, name: &str) -> Result<Vec<half::bf16>, danqing_checkpoints::WeightsError> {
        self.0.read_bf16(&format!("w.{name}"))
    }
}

fn open(name: &str, dtype: DType) -> (Fixture, Loader) {
    let relative = format!("reference/models/{name}.safetensors");
    let weights = Weights::open(fixture_path(&relative)).unwrap();
    (Fixture::open(&relative), Loader::new(BelowW(weights), LoadOptions::inference(dtype)))
}

fn tensor(f: &Fixture, name: &str) -> Tensor {
    Tensor::from_vec(f.f32(name), &f.shape(name)).unwrap()
}

/// `[b, c, h, w]` → `[b, h, w, c]`.
fn map(f: &Fixture, name: &str) -> Tensor {
    tensor(f, name).permute(&[0, 2, 3, 1]).unwrap().contiguous().unwrap()
}

/// The values in PyTorch's order.
fn back(t: &Tensor) -> Vec<f32> {
    let t = t.cast(DType::F32).unwrap();
    if t.rank() == 4 { t.permute(&[0, 3, 1, 2]).unwrap().contiguous().unwrap().to_vec() } else { t.to_vec() }
}

fn unet_inputs(f: &Fixture) -> (Tensor, Vec<f32>, UnetConditioning) {
    let added = f
        .contains("in.pooled")
        .then(|| AddedConditioning { pooled: tensor(f, "in.pooled"), time_ids: tensor(f, "in.time_ids") });
    let conditioning = UnetConditioning { context: tensor(f, "in.context"), added, guidance: None };
    (map(f, "in.sample"), f.f32("in.timestep"), conditioning)
}

#[test]
fn unets_equal_diffusers_block_by_block() {
    for name in ["unet_sd1", "unet_sd2", "unet_sdxl", "unet_inpaint"] {
        let (f, loader) = open(name, DType::F32);
        let config: UnetConfig = serde_json::from_str(f.note("config")).unwrap();
        let unet = Unet::load(&loader, &config).unwrap();
        loader.finish().unwrap();
        let (sample, timesteps, conditioning) = unet_inputs(&f);
        let mut blocks = Blocks::new(name);
        let out = unet
            .forward_probed(&sample, &timesteps, &conditioning, &mut |block, t| {
                blocks.check(block, &back(t), &f.f32(&format!("out.{block}")), BLOCK);
            })
            .unwrap();
        blocks.check("sample", &back(&out), &f.f32("out.sample"), BLOCK).finish();
    }
}

#[test]
fn unets_in_bf16_are_closer_than_pytorch_bf16() {
    for name in ["unet_sd1", "unet_sd2", "unet_sdxl", "unet_inpaint"] {
        let (f, loader) = open(name, DType::Bf16);
        let config: UnetConfig = serde_json::from_str(f.note("config")).unwrap();
        let unet = Unet::load(&loader, &config).unwrap();
        let (sample, timesteps, conditioning) = unet_inputs(&f);
        let out = unet.forward(&sample.cast(DType::Bf16).unwrap(), &timesteps, &conditioning).unwrap();
        assert_relative_l2(name, &back(&out), &f.f32("out.sample"), f.f64("bf16.relative_l2")[0]);
    }
}

#[test]
fn a_batch_of_two_is_two_singles() {
    let (f, loader) = open("unet_sd1", DType::F32);
    let config: UnetConfig = serde_json::from_str(f.note("config")).unwrap();
    let unet = Unet::load(&loader, &config).unwrap();
    let (sample, timesteps, conditioning) = unet_inputs(&f);
    let both = unet.forward(&sample, &timesteps, &conditioning).unwrap();
    for i in 0..2 {
        let one = |t: &Tensor| t.narrow(0, i, 1).unwrap().contiguous().unwrap();
        let alone = UnetConditioning { context: one(&conditioning.context), ..conditioning.clone() };
        let single = unet.forward(&one(&sample), &timesteps[i..=i], &alone).unwrap();
        assert_eq!(single.to_vec(), one(&both).to_vec(), "picture {i}");
    }
}

#[test]
fn autoencoders_equal_diffusers() {
    for name in ["vae", "vae_no_quant"] {
        let (f, loader) = open(name, DType::F32);
        let config: AutoencoderKlConfig = serde_json::from_str(f.note("config")).unwrap();
        let autoencoder = AutoencoderKl::load(&loader, &config).unwrap();
        loader.finish().unwrap();
        let mut blocks = Blocks::new(name);
        let posterior = autoencoder
            .encode_probed(&map(&f, "in.image"), &mut |block, t| {
                blocks.check(block, &back(t), &f.f32(&format!("out.{block}")), BLOCK);
            })
            .unwrap();
        blocks.check("mean", &back(&posterior.mean), &f.f32("out.mean"), BLOCK);
        blocks.check("logvar", &back(&posterior.log_variance), &f.f32("out.logvar"), BLOCK);
        let decoded = autoencoder
            .decode_probed(&map(&f, "in.latent"), &mut |block, t| {
                blocks.check(block, &back(t), &f.f32(&format!("out.{block}")), BLOCK);
            })
            .unwrap();
        blocks.check("decoded", &back(&decoded), &f.f32("out.decoded"), BLOCK).finish();
    }
}

#[test]
fn text_encoders_equal_transformers() {
    for name in ["clip_l", "clip_g"] {
        let (f, loader) = open(name, DType::F32);
        let config: ClipTextConfig = serde_json::from_str(f.note("config")).unwrap();
        let encoder = ClipTextEncoder::load(&loader, &config).unwrap();
        loader.finish().unwrap();
        let length = config.max_position_embeddings;
        let ids: Vec<Vec<u32>> =
            f.i64("in.ids").chunks(length).map(|row| row.iter().map(|id| *id as u32).collect()).collect();
        let encoding = encoder.forward(&ids, DType::F32).unwrap();
        let mut blocks = Blocks::new(name);
        // transformers' last "hidden state" is through the final norm.
        for (k, hidden) in encoding.hidden.iter().enumerate().take(config.num_hidden_layers) {
            blocks.check(&format!("hidden.{k}"), &back(hidden), &f.f32(&format!("out.hidden.{k}")), BLOCK);
        }
        blocks.check("last", &back(&encoding.last), &f.f32("out.last_hidden_state"), BLOCK);
        blocks.check("pooled", &back(&encoding.pooled), &f.f32("out.pooled"), BLOCK).finish();
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let (f, loader) = open("unet_sd1", DType::F32);
    let mut config: UnetConfig = serde_json::from_str(f.note("config")).unwrap();
    config.cross_attention_dim = 20;
    let _ = Unet::load(&loader, &config).unwrap();
    let error = loader.finish().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("attn2.to_k.weight"), "{error}");
}
