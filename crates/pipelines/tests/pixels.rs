//! The small pixel-space DDPM of the test assets, drawn as the command draws it.

use danqing_pipelines::checkpoint::{list, open_pixels};
use danqing_pipelines::control::Quiet;
use danqing_pipelines::request::DrawRequest;
use danqing_pipelines::settings::Settings;
use danqing_pipelines::tasks::pixels::{draw_pixels, from_noise};
use danqing_sampling::noise::{DrawOrder, DrawType, Generator, NoiseShape, SeededNoise};
use danqing_testing::{Fixture, assert_close, assets, fixture_path};

#[test]
fn digits_equal_an_independent_run() {
    let Some(assets) = assets() else { return };
    let model = open_pixels(&assets.join("weights/diffusion/ddpm_mnist.pt")).unwrap().unwrap();
    let golden = Fixture::read(&assets.join("golden/ddpm_mnist.safetensors"));
    let request = DrawRequest { batch_size: 4, ..Default::default() };
    let settings = Settings::without_words(model.network.side, &request).unwrap();
    let shape = NoiseShape { batch: 4, channels: 1, height: 28, width: 28 };
    let mut unused = SeededNoise::new(Generator::Cpu(DrawType::F32), DrawOrder::A1111, shape, 0);
    let noise = golden.f32("noise");
    let drawn = from_noise(&model.network, &settings, None, &noise, &mut unused, &Quiet).unwrap();
    assert_close("digits", &drawn, &golden.f32("ddim50"), 1e-3);
}

#[test]
fn pictures_are_numbered_by_seed_and_words_are_refused() {
    let Some(assets) = assets() else { return };
    let folder = assets.join("weights/diffusion");
    let model = open_pixels(&folder.join("ddpm_mnist.pt")).unwrap().unwrap();
    let request = DrawRequest { batch_size: 2, steps: Some(4), seed: 7, ..Default::default() };
    let both = draw_pixels(&model, &request, &Quiet).unwrap();
    let one = DrawRequest { batch_size: 1, seed: 8, ..request.clone() };
    assert_eq!(draw_pixels(&model, &one, &Quiet).unwrap()[0].picture.pixels(), both[1].picture.pixels());
    assert_eq!((both[0].seed, both[1].seed), (7, 8));
    let words = DrawRequest { prompt: "a seven".into(), ..request };
    assert!(draw_pixels(&model, &words, &Quiet).unwrap_err().to_string().contains("knows no words"));
    let listed = list(&folder);
    assert!(listed.iter().any(|l| l.path.ends_with("ddpm_mnist.pt") && l.reason_not_loadable.is_none()), "{listed:?}");
    assert!(
        open_pixels(&fixture_path("reference/pipelines/tiny/vae/diffusion_pytorch_model.safetensors"))
            .unwrap()
            .is_none()
    );
}
