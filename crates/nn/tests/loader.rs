//! Loading networks: what fits, what does not, and what is held in memory.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, Embedding, GroupNorm, Init, LayerNorm, Linear, LoadError, LoadOptions, Loader, ParamStore};
use danqing_tensor::{Conv2dOptions, DType, Rng, Tensor};

struct Network {
    conv: Conv2d,
    norm: GroupNorm,
    proj: Linear,
}

impl Network {
    fn load(loader: &Loader) -> Result<Self, LoadError> {
        Ok(Network {
            conv: Conv2d::load(&loader.at("conv_in"), 3, 32, 3, Conv2dOptions::padded(1))?,
            norm: GroupNorm::load(&loader.at("blocks").at(0).at("norm"), 4, 32, 1e-5)?,
            proj: Linear::load(&loader.at("blocks").at(0).at("proj"), 32, 64, true)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.proj.forward(&self.norm.forward(&self.conv.forward(x).unwrap()).unwrap()).unwrap()
    }
}

/// Tensors of the network, `change` made to each name and shape.
fn weights(change: impl Fn(&str, &[usize]) -> Vec<(String, Vec<usize>)>) -> Weights {
    let loader = Loader::random(3);
    Network::load(&loader).unwrap();
    let mut parts = Vec::new();
    for param in loader.finish().unwrap().iter() {
        for (name, shape) in change(param.name(), param.shape()) {
            let mut values = param.value().to_vec();
            values.resize(shape.iter().product(), 0.5);
            parts.push((name, shape, values));
        }
    }
    Weights::from_parts("net.safetensors", parts).unwrap()
}

#[test]
fn all_that_does_not_fit_is_said_in_one_sentence() {
    let source = weights(|name, shape| match name {
        "conv_in.weight" => vec![(name.into(), vec![32, 4, 3, 3])],
        "blocks.0.proj.bias" => vec![("blocks.0.proj.offset".into(), shape.to_vec())],
        "blocks.0.norm.bias" => vec![],
        _ => vec![(name.into(), shape.to_vec())],
    });
    let loader = Loader::new(source, LoadOptions::inference(DType::F32));
    Network::load(&loader).unwrap();
    assert_eq!(
        loader.finish().err().unwrap().to_string(),
        "net.safetensors does not fit this network: 2 missing (blocks.0.norm.bias, blocks.0.proj.bias); \
         1 unexpected (blocks.0.proj.offset); 1 misshapen (conv_in.weight: [32, 4, 3, 3] where [32, 3, 3, 3] is wanted)"
    );
    let error = loader.finish_ignoring(|name| name.ends_with("offset")).err().unwrap().to_string();
    assert!(!error.contains("unexpected"), "{error}");
}

#[test]
fn keys_are_mapped_and_unused_ones_may_be_ignored() {
    let source =
        weights(|name, shape| vec![(format!("model.{name}"), shape.to_vec()), (format!("ema.{name}"), shape.to_vec())]);
    let loader = Loader::with_key_map(source, LoadOptions::inference(DType::F32), |name| format!("model.{name}"));
    let network = Network::load(&loader).unwrap();
    let store = loader.finish_ignoring(|name| name.starts_with("ema.")).unwrap();
    assert_eq!((store.len(), store.numel()), (6, 32 * 27 + 32 + 64 + 64 * 32 + 64));
    assert_eq!(loader.at("conv_in").contains("weight"), Some(true));
    assert_eq!(loader.at("conv_in").shape("weight"), Some(vec![32, 3, 3, 3]));
    assert!(store.iter().all(|p| !p.is_trainable()));
    let x = Tensor::randn(&[2, 5, 5, 3], &mut Rng::new(1)).unwrap();
    let fresh = Network::load(&Loader::random(3)).unwrap();
    assert_eq!(network.forward(&x).to_vec(), fresh.forward(&x).to_vec(), "packed weights are the same numbers");
}

#[test]
fn bf16_weights_are_held_once() {
    let loader = Loader::new(weights(|n, s| vec![(n.into(), s.to_vec())]), LoadOptions::inference(DType::Bf16));
    let network = Network::load(&loader).unwrap();
    loader.finish().unwrap();
    assert_eq!((network.proj.weight.dtype(), network.norm.weight.dtype()), (DType::Bf16, DType::F32));
    let bytes = 64 * 32 * 2;
    assert!((bytes..=bytes + 64).contains(&network.proj.weight.bytes()), "{}", network.proj.weight.bytes());
    let x = Tensor::randn(&[2, 4, 4, 3], &mut Rng::new(1)).unwrap().cast(DType::Bf16).unwrap();
    assert_eq!(network.forward(&x).dtype(), DType::Bf16);
    assert!((bytes..=bytes + 64).contains(&network.proj.weight.bytes()), "running it packs nothing more");
}

#[test]
fn random_starts_are_pytorchs_distributions_and_depend_on_the_name_alone() {
    let values = |seed: u64, order: [&str; 2]| {
        let loader = Loader::random(seed);
        for name in order {
            Linear::load(&loader.at(name), 64, 48, true).unwrap();
        }
        loader.finish().unwrap().get("a.weight").unwrap().value().to_vec()
    };
    assert_eq!(values(1, ["a", "b"]), values(1, ["b", "a"]));
    assert_ne!(values(1, ["a", "b"]), values(2, ["a", "b"]));
    let weight = values(1, ["a", "b"]);
    let bound = 1.0 / 8.0;
    assert!(weight.iter().all(|v| v.abs() <= bound) && weight.iter().any(|v| v.abs() > 0.98 * bound));
    let variance = weight.iter().map(|v| v * v).sum::<f32>() / weight.len() as f32;
    assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.1, "{variance}");
    let loader = Loader::random(5);
    let table = Embedding::load_with(&loader.at("table"), 50, 40, Init::Normal(0.02)).unwrap();
    let deviation = (table.weight.value().to_vec().iter().map(|v| v * v).sum::<f32>() / 2000.0).sqrt();
    assert!((deviation / 0.02 - 1.0).abs() < 0.1, "{deviation}");
    let norm = LayerNorm::load(&loader.at("norm"), 4, 1e-5).unwrap();
    assert_eq!((norm.weight.value().to_vec(), norm.bias.value().to_vec()), (vec![1.0; 4], vec![0.0; 4]));
    let store = loader.finish().unwrap();
    assert!(store.iter_with_decay().all(|(_, decay)| !decay), "neither embeddings nor norms decay");
}

#[test]
fn saved_weights_load_again() {
    let loader = Loader::random(9);
    Network::load(&loader).unwrap();
    let store = loader.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    for dtype in [DType::F32, DType::Bf16] {
        store.save(&path, dtype, &Default::default()).unwrap();
        let again = Loader::new(Weights::open(&path).unwrap(), LoadOptions::training());
        Network::load(&again).unwrap();
        for (a, b) in store.iter().zip(again.finish().unwrap().iter()) {
            let want = a.value().cast(dtype).unwrap().to_vec();
            assert_eq!((b.value().to_vec(), b.is_trainable()), (want, true), "{}", a.name());
        }
    }
}

#[test]
fn parts_of_a_network_are_restored_from_files_of_their_own() {
    let loader = Loader::random(1);
    Linear::load(&loader.at("unet").at("proj"), 3, 2, true).unwrap();
    Linear::load(&loader.at("text").at("proj"), 2, 2, false).unwrap();
    let params = loader.finish().unwrap();
    let text = params.get("text.proj.weight").unwrap().value().to_vec();

    let part = Loader::random(2);
    Linear::load(&part.at("proj"), 3, 2, true).unwrap();
    let part = part.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.safetensors");
    part.save(&path, DType::F32, &Default::default()).unwrap();

    let weights = Weights::open(&path).unwrap();
    params.restore_under("unet.", &weights).unwrap();
    let weight = |store: &ParamStore, name: &str| store.get(name).unwrap().value().to_vec();
    assert_eq!(weight(&params, "unet.proj.weight"), weight(&part, "proj.weight"));
    assert_eq!(weight(&params, "text.proj.weight"), text);
    let error = params.restore_under("text.", &weights).unwrap_err().to_string();
    assert!(error.contains("proj.weight"), "{error}");
}

/// Kernels keep all taps of few channels in one matrix, but not where the taps are spread.
#[test]
fn dilated_convolutions_of_few_channels_are_loaded_and_run() {
    for (channels, groups) in [(1, 1), (3, 1), (4, 2), (32, 1)] {
        let options = Conv2dOptions { dilation: [2; 2], groups, ..Conv2dOptions::padded(2) };
        let x = Tensor::rand(&[1, 9, 8, channels], -1.0, 1.0, &mut Rng::new(5)).unwrap();
        let results = [LoadOptions::inference(DType::F32), LoadOptions::training()].map(|load| {
            let conv = Conv2d::load(&Loader::random_with(7, load), channels, 4, 3, options).unwrap();
            conv.forward(&x).unwrap().to_vec()
        });
        assert_eq!(results[0], results[1], "{channels} channels");
    }
}
