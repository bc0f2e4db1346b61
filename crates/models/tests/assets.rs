//! Real small networks against values that an independent NumPy run made (`golden/` of the test assets).

use danqing_checkpoints::Weights;
use danqing_models::autoencoders::{TinyDecoder, TinyEncoder};
use danqing_models::families::ddpm::PixelDdpm;
use danqing_nn::{LoadOptions, Loader};
use danqing_tensor::{DType, Tensor};
use danqing_testing::{Fixture, assert_close, assets};

#[test]
fn tiny_autoencoders_equal_numpy() {
    let Some(assets) = assets() else { return };
    let golden = Fixture::read(&assets.join("golden/taesd_kodak23_crop128.safetensors"));
    let map = |name: &str| {
        let shape = golden.shape(name);
        let t = Tensor::from_vec(golden.f32(name), &[1, shape[0], shape[1], shape[2]]).unwrap();
        t.permute(&[0, 2, 3, 1]).unwrap().contiguous().unwrap()
    };
    let back = |t: &Tensor| t.permute(&[0, 3, 1, 2]).unwrap().contiguous().unwrap().to_vec();
    for (name, channels) in [("taesd", 4), ("taesdxl", 4), ("taef1", 16)] {
        let loader = |half: &str| {
            let path = assets.join(format!("weights/vae/taesd/{name}_{half}.safetensors"));
            Loader::new(Weights::open(path).unwrap(), LoadOptions::inference(DType::F32))
        };
        let at = loader("encoder");
        let encoder = TinyEncoder::load(&at, channels).unwrap();
        at.finish().unwrap();
        let latent = encoder.forward(&map("input")).unwrap();
        assert_close(&format!("{name} latent"), &back(&latent), &golden.f32(&format!("{name}_latent")), 1e-3);
        let at = loader("decoder");
        let decoder = TinyDecoder::load(&at, channels).unwrap();
        at.finish().unwrap();
        let decoded = decoder.forward(&map(&format!("{name}_latent"))).unwrap();
        assert_close(&format!("{name} decoded"), &back(&decoded), &golden.f32(&format!("{name}_decoded")), 1e-3);
    }
}

#[test]
fn the_pixel_ddpm_equals_numpy_and_draws() {
    let Some(assets) = assets() else { return };
    let golden = Fixture::read(&assets.join("golden/ddpm_mnist.safetensors"));
    let weights = Weights::open(assets.join("weights/diffusion/ddpm_mnist.pt")).unwrap();
    let model = PixelDdpm::load(weights, DType::F32).unwrap();
    // One channel: [b, 1, h, w] and [b, h, w, 1] are the same values.
    let noise = Tensor::from_vec(golden.f32("noise"), &[4, 28, 28, 1]).unwrap();
    let first = noise.narrow(0, 0, 1).unwrap().contiguous().unwrap();
    for t in [0u32, 1, 100, 500, 999] {
        let eps = model.forward(&first, &[t]).unwrap();
        assert_close(&format!("noise at {t}"), &eps.to_vec(), &golden.f32(&format!("eps_t{t}")), 1e-3);
    }

    // Deterministic DDIM over 50 steps as the golden file's note describes it.
    let mut x = noise;
    let timesteps: Vec<u32> = (0..50).rev().map(|i| (999.0 * f64::from(i) / 49.0).round_ties_even() as u32).collect();
    for (i, t) in timesteps.iter().enumerate() {
        let abar = model.noise.alpha_cumprod(*t as usize);
        let next = timesteps.get(i + 1).map_or(1.0, |t| model.noise.alpha_cumprod(*t as usize));
        let eps = model.forward(&x, &[*t; 4]).unwrap().to_vec();
        let values = x
            .to_vec()
            .iter()
            .zip(&eps)
            .map(|(x, e)| {
                let (x, e) = (f64::from(*x), f64::from(*e));
                let clean = ((x - (1.0 - abar).sqrt() * e) / abar.sqrt()).clamp(-1.0, 1.0);
                let e = (x - abar.sqrt() * clean) / (1.0 - abar).sqrt();
                (next.sqrt() * clean + (1.0 - next).sqrt() * e) as f32
            })
            .collect();
        x = Tensor::from_vec(values, &[4, 28, 28, 1]).unwrap();
    }
    assert_close("digits", &x.to_vec(), &golden.f32("ddim50"), 1e-3);
}
