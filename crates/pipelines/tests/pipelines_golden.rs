//! Whole pipelines against diffusers (`reference/gen_pipelines.py`), and relations that must hold.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use danqing_checkpoints::{Weights, safetensors};
use danqing_imaging::{Picture, PixelFormat};
use danqing_models::families::stable_diffusion::{Parts, StableDiffusion};
use danqing_pipelines::checkpoint::{OpenOptions, open};
use danqing_pipelines::control::{Control, Quiet, StopFlag};
use danqing_pipelines::request::{DrawRequest, Event, HiresPass, Init, Inpaint, MaskedContent, NoiseRequest};
use danqing_pipelines::resume::SavedRun;
use danqing_pipelines::tasks::draw::{DrawTools, draw, encode_prompts, sample_latents};
use danqing_pipelines::{TaskError, latents, preview};
use danqing_sampling::noise::{DrawOrder, DrawType, Generator};
use danqing_testing::{Fixture, assert_close, assets, fixture_path};
use serde_json::Value;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn tiny() -> PathBuf {
    fixture_path("reference/pipelines/tiny")
}

fn model() -> StableDiffusion {
    open(&tiny(), &OpenOptions::default()).unwrap()
}

fn golden() -> Fixture {
    Fixture::open("reference/pipelines/latents.safetensors")
}

fn request(f: &Fixture) -> DrawRequest {
    let asked: Value = serde_json::from_str(f.note("request")).unwrap();
    let number = |key: &str| asked[key].as_f64().unwrap();
    DrawRequest {
        prompt: asked["prompt"].as_str().unwrap().into(),
        negative_prompt: asked["negative_prompt"].as_str().unwrap().into(),
        translate: false,
        width: Some(number("width") as u32),
        height: Some(number("height") as u32),
        batch_size: number("batch") as usize,
        steps: Some(number("steps") as usize),
        guidance_scale: Some(number("guidance_scale") as f32),
        guidance_rescale: Some(0.0),
        seed: number("seed") as u64,
        noise: NoiseRequest {
            generator: Generator::Cpu(DrawType::F32),
            order: DrawOrder::Diffusers,
            step_seed_delta: 0,
        },
        ..Default::default()
    }
}

#[test]
fn latents_equal_diffusers_for_each_scheduler() {
    let f = golden();
    let schedulers: Value = serde_json::from_str(f.note("schedulers")).unwrap();
    for (name, config) in schedulers.as_object().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        copy(&tiny(), folder.path());
        std::fs::write(folder.path().join("scheduler/scheduler_config.json"), config.to_string()).unwrap();
        let model = open(folder.path(), &OpenOptions::default()).unwrap();
        let rescale = if name.contains("zero") { 0.7 } else { 0.0 };
        let request = DrawRequest { guidance_rescale: Some(rescale), ..request(&f) };
        let (latents, _) = sample_latents(&model, &request, &DrawTools::default(), &Quiet).unwrap();
        let want = f.f32(&format!("{name}.latents"));
        assert_latents(name, &latents, &want);
    }
}

/// As `assert_close`, relative to the latents' own size, which a network of random weights makes large. Ten times closer
/// than whole pipelines have to be: a wrong scale of the last step (4e-4) hides below 1e-3. Zero SNR has the full 1e-3: it
/// starts from sigma 4096 in f32.
fn assert_latents(name: &str, got: &[f32], want: &[f32]) {
    let scale = want.iter().map(|v| v.abs()).fold(1.0, f32::max);
    let tolerance = if name.contains("zero_snr") { 1e-3 } else { 1e-4 };
    assert_close(name, got, want, tolerance * scale);
}

#[test]
fn latents_of_two_text_encoders_equal_diffusers() {
    let f = Fixture::open("reference/pipelines/xl.safetensors");
    let model = open(&fixture_path("reference/pipelines/tiny-xl"), &OpenOptions::default()).unwrap();
    assert_eq!(model.time_ids, 6);
    // Without a negative prompt this model is conditioned by zeros.
    for (name, negative) in [("negative", request(&f).negative_prompt), ("zeros", String::new())] {
        let request = DrawRequest { negative_prompt: negative, ..request(&f) };
        let (latents, _) = sample_latents(&model, &request, &DrawTools::default(), &Quiet).unwrap();
        assert_latents(name, &latents, &f.f32(&format!("xl.{name}.latents")));
    }
}

#[test]
fn the_refined_picture_equals_diffusers() {
    let f = Fixture::open("reference/pipelines/xl.safetensors");
    let model = open(&fixture_path("reference/pipelines/tiny-refiner"), &OpenOptions::default()).unwrap();
    assert_eq!(model.time_ids, 5);
    let asked: Value = serde_json::from_str(f.note("request")).unwrap();
    let picture = Picture::new(24, 16, PixelFormat::Rgb8, f.bytes("refiner.picture").to_vec()).unwrap();
    let strength = asked["strength"].as_f64().unwrap() as f32;
    let init = Some(Init { picture, strength, inpaint: None });
    let request = DrawRequest { init, batch_size: 1, ..request(&f) };
    let (latents, _) = sample_latents(&model, &request, &DrawTools::default(), &Quiet).unwrap();
    assert_latents("refined", &latents, &f.f32("refiner.latents"));
}

#[test]
fn a_model_read_part_by_part_draws_the_same() {
    let part = |parts| open(&tiny(), &OpenOptions { parts, ..Default::default() }).unwrap();
    let request = a1111();
    let request = DrawRequest { hires: Some(HiresPass { scale: 2.0, strength: 0.5, steps: 4 }), ..request };
    // The larger pass goes through the autoencoder, so that it has to be there.
    let sampling = Parts { text: false, ..Parts::ALL };
    let prompts = encode_prompts(&part(Parts::TEXT), &request, &Quiet).unwrap();
    let tools = DrawTools { prompts: Some(prompts), ..Default::default() };
    let (staged, _) = sample_latents(&part(sampling), &request, &tools, &Quiet).unwrap();
    let (whole, _) = sample_latents(&model(), &request, &DrawTools::default(), &Quiet).unwrap();
    assert_eq!(staged, whole);
    assert!(part(Parts::TEXT).weight_bytes < part(Parts::ALL).weight_bytes / 2);
    let other = DrawRequest { steps: Some(3), ..request };
    assert!(sample_latents(&part(sampling), &other, &tools, &Quiet).is_err(), "prompts of another request were taken");
}

#[test]
fn an_autoencoder_given_beside_a_folder_is_used() {
    let own = small(&model(), &a1111());
    for vae in ["tiny-xl", "tiny-xl/vae"] {
        let vae = Some(fixture_path(format!("reference/pipelines/{vae}")));
        let model = open(&tiny(), &OpenOptions { vae, ..Default::default() }).unwrap();
        assert_eq!(model.autoencoder.config().scaling_factor, 0.13025);
        assert_ne!(small(&model, &a1111())[0].pixels(), own[0].pixels());
    }
    let vae = Some(tiny().join("vae"));
    let same = open(&tiny(), &OpenOptions { vae, ..Default::default() }).unwrap();
    assert_eq!(small(&same, &a1111())[0].pixels(), own[0].pixels());
    let vae = Some(tiny().join("unet"));
    assert!(open(&tiny(), &OpenOptions { vae, ..Default::default() }).is_err(), "a U-Net was taken for an autoencoder");
}

#[test]
fn the_picture_equals_diffusers() {
    let f = golden();
    let request = DrawRequest { batch_size: 1, ..request(&f) };
    let drawn = draw(&model(), &request, &DrawTools::default(), &Quiet).unwrap();
    let got: Vec<f32> = drawn[0].picture.pixels().iter().map(|v| f32::from(*v) / 255.0).collect();
    // Half a step of an 8-bit value, and rounding.
    assert_close("picture", &got, &f.f32("ddim.picture"), 0.6 / 255.0 + 1e-3);
}

fn small(model: &StableDiffusion, request: &DrawRequest) -> Vec<Picture> {
    draw(model, request, &DrawTools::default(), &Quiet).unwrap().into_iter().map(|d| d.picture).collect()
}

fn a1111() -> DrawRequest {
    let f = golden();
    let noise = NoiseRequest::default();
    DrawRequest { noise, sampler: Some("euler_ancestral".into()), schedule: Some("karras".into()), ..request(&f) }
}

#[test]
fn a_batch_of_two_is_two_singles() {
    let model = model();
    let both = small(&model, &a1111());
    for i in 0..2 {
        let one = DrawRequest { batch_size: 1, seed: a1111().seed + i, ..a1111() };
        assert_eq!(small(&model, &one)[0].pixels(), both[i as usize].pixels(), "picture {i}");
    }
}

#[test]
fn guidance_of_one_does_not_look_at_the_negative_prompt() {
    let model = model();
    let with = DrawRequest { guidance_scale: Some(1.0), ..a1111() };
    let without = DrawRequest { negative_prompt: String::new(), ..with.clone() };
    assert_eq!(small(&model, &with)[0].pixels(), small(&model, &without)[0].pixels());
}

/// Stops after some steps and keeps the state.
struct StopAfter {
    steps: usize,
    flag: StopFlag,
    saved: Mutex<Option<SavedRun>>,
}

impl Control for StopAfter {
    fn event(&self, event: Event) {
        if let Event::Step { step, .. } = event
            && step >= self.steps
        {
            self.flag.stop();
        }
    }
    fn stopped(&self) -> bool {
        self.flag.stopped()
    }
    fn save(&self, state: &SavedRun) {
        *self.saved.lock().unwrap() = Some(state.clone());
    }
}

#[test]
fn a_resumed_run_equals_the_straight_one() {
    let model = model();
    for sampler in ["euler_ancestral", "dpmpp_2m", "dpmpp_sde", "uni_pc"] {
        let request = DrawRequest { sampler: Some(sampler.into()), ..a1111() };
        let straight = small(&model, &request);
        let stop = StopAfter { steps: 3, flag: StopFlag::default(), saved: Mutex::default() };
        let stopped = draw(&model, &request, &DrawTools::default(), &stop);
        assert!(matches!(stopped, Err(TaskError::Stopped)), "{sampler}");
        // Through a file, as the command does it.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.safetensors");
        stop.saved.into_inner().unwrap().unwrap().write(&path).unwrap();
        let tools = DrawTools { resume: Some(SavedRun::read(&path).unwrap()), ..Default::default() };
        let resumed = draw(&model, &request, &tools, &Quiet).unwrap();
        let other = DrawRequest { prompt: "something else".into(), ..request.clone() };
        assert!(draw(&model, &other, &tools, &Quiet).is_err(), "{sampler}: a run resumed for another prompt");
        for (s, r) in straight.iter().zip(&resumed) {
            assert_eq!(s.pixels(), r.picture.pixels(), "{sampler}");
        }
    }
}

/// Keeps the sizes of previews.
#[derive(Default)]
struct Previews(Mutex<Vec<(u32, u32)>>);

impl Control for Previews {
    fn event(&self, event: Event) {
        if let Event::Preview(picture) = event {
            self.0.lock().unwrap().push((picture.width(), picture.height()));
        }
    }
}

#[test]
fn previews_go_through_a_small_decoder_where_there_is_one() {
    let Some(assets) = assets() else { return };
    let model = model();
    let taesd = assets.join("weights/vae/taesd/taesd_decoder.safetensors");
    let folder = tempfile::tempdir().unwrap();
    // The names that diffusers gives the same tensors.
    let own = Weights::open(&taesd).unwrap();
    let renamed = own
        .renamed(|name| {
            let (index, leaf) = name.split_once('.')?;
            Some(format!("decoder.layers.{}.{leaf}", index.parse::<usize>().ok()? - 1))
        })
        .unwrap();
    let rows: Vec<_> = renamed.names().map(|n| (n, renamed.info(n).unwrap(), renamed.bytes(n).unwrap())).collect();
    let rows: Vec<_> = rows.iter().map(|(n, i, bytes)| (*n, i.dtype, i.shape.as_slice(), bytes.as_ref())).collect();
    let theirs = folder.path().join("diffusion_pytorch_model.safetensors");
    safetensors::write(&theirs, &rows, &Default::default()).unwrap();

    let request = DrawRequest { preview_every: 2, batch_size: 1, ..a1111() };
    for path in [taesd.as_path(), folder.path()] {
        let decoder = preview::open_decoder(path, &model).unwrap();
        let seen = Previews::default();
        let tools = DrawTools { preview: Some(&decoder), ..Default::default() };
        sample_latents(&model, &request, &tools, &seen).unwrap();
        // The model's latents are half of its pictures' size; TAESD enlarges them eight times.
        assert_eq!(seen.0.into_inner().unwrap(), [(96, 64), (96, 64)]);
    }
    for other in ["taef1_decoder.safetensors", "taesd_encoder.safetensors"] {
        let error = preview::open_decoder(&assets.join("weights/vae/taesd").join(other), &model).unwrap_err();
        assert!(error.to_string().contains("no preview decoder"), "{error}");
    }
}

fn photograph() -> Picture {
    let pixels = (0..48 * 32 * 3).map(|i| ((i * 37) % 251) as u8).collect();
    Picture::new(48, 32, PixelFormat::Rgb8, pixels).unwrap()
}

#[test]
fn strength_zero_gives_the_picture_back_and_one_changes_it() {
    let model = model();
    let init = |strength| Some(Init { picture: photograph(), strength, inpaint: None });
    let size = DrawRequest { width: Some(48), height: Some(32), batch_size: 1, ..a1111() };
    let kept = small(&model, &DrawRequest { init: init(0.0), ..size.clone() });
    assert_eq!(kept[0].pixels(), photograph().pixels());
    let changed = small(&model, &DrawRequest { init: init(0.8), ..size });
    assert_ne!(changed[0].pixels(), photograph().pixels());
}

#[test]
fn inpainting_keeps_what_the_mask_does_not_cover() {
    let model = model();
    let mask: Vec<u8> = (0..48 * 32).map(|i| if i % 48 < 20 { 255 } else { 0 }).collect();
    for content in
        [MaskedContent::Original, MaskedContent::Fill, MaskedContent::LatentNoise, MaskedContent::LatentNothing]
    {
        for only_masked in [None, Some(4)] {
            let inpaint = Some(Inpaint { mask: mask.clone(), blur: 0.0, only_masked, content });
            let init = Some(Init { picture: photograph(), strength: 0.9, inpaint });
            let request = DrawRequest { init, width: Some(48), height: Some(32), batch_size: 1, ..a1111() };
            let drawn = small(&model, &request);
            let mut changed = 0;
            for (i, (d, o)) in drawn[0].pixels().chunks(3).zip(photograph().pixels().chunks(3)).enumerate() {
                if mask[i] == 0 {
                    assert_eq!(d, o, "{content:?} {only_masked:?} pixel {i}");
                } else {
                    changed += usize::from(d != o);
                }
            }
            assert!(changed > 100, "{content:?} {only_masked:?}: only {changed} pixels changed");
        }
    }
}

#[test]
fn a_second_pass_is_larger_and_variations_differ() {
    let model = model();
    let hires = Some(HiresPass { scale: 2.0, strength: 0.5, steps: 4 });
    let large = small(&model, &DrawRequest { hires, batch_size: 1, ..a1111() });
    assert_eq!((large[0].width(), large[0].height()), (48, 32));
    let variation = |strength| Some(danqing_pipelines::request::VariationRequest { seed: 9, strength });
    let plain = small(&model, &DrawRequest { batch_size: 1, ..a1111() });
    let none = small(&model, &DrawRequest { batch_size: 1, variation: variation(0.0), ..a1111() });
    let some = small(&model, &DrawRequest { batch_size: 1, variation: variation(0.3), ..a1111() });
    assert_eq!(plain[0].pixels(), none[0].pixels());
    assert_ne!(plain[0].pixels(), some[0].pixels());
}

#[test]
fn tiled_decoding_leaves_no_seam() {
    let model = model();
    let (h, w) = (40, 24);
    let values: Vec<f32> = (0..4 * h * w).map(|i| ((i as f32) * 0.37).sin()).collect();
    let whole = latents::decode(&model.autoencoder, &values, [1, 4, h, w], model.dtype, &|| false).unwrap();
    let at = danqing_tensor::Tensor::from_slice(&values, &[1, 4, h, w]).unwrap();
    let at = model.autoencoder.unscale(&at.permute(&[0, 2, 3, 1]).unwrap().contiguous().unwrap()).unwrap();
    let tiled = latents::decode_tiled(&model.autoencoder, &at, 24, 8, &|| false).unwrap().to_vec();
    let flat = whole[0].pixels().iter().map(|v| f32::from(*v) / 127.5 - 1.0);
    let error: f32 = flat.zip(&tiled).map(|(a, b)| (a - b.clamp(-1.0, 1.0)).powi(2)).sum::<f32>() / tiled.len() as f32;
    let psnr = 10.0 * (4.0 / error).log10();
    assert!(psnr > 20.0, "tiled differs from whole by {psnr} dB");
}

#[test]
fn what_cannot_be_drawn_is_refused_with_a_sentence() {
    let model = model();
    let refuse = |request: DrawRequest, word: &str| {
        let error = draw(&model, &request, &DrawTools::default(), &Quiet).err().map(|e| e.to_string());
        assert!(error.as_ref().is_some_and(|e| e.contains(word)), "{error:?} does not name {word}");
    };
    refuse(DrawRequest { steps: Some(0), ..a1111() }, "steps");
    refuse(DrawRequest { sampler: Some("nosuch".into()), ..a1111() }, "nosuch");
    refuse(DrawRequest { schedule: Some("nosuch".into()), ..a1111() }, "nosuch");
    refuse(DrawRequest { width: Some(0), ..a1111() }, "width");
    refuse(DrawRequest { batch_size: 0, ..a1111() }, "at once");
    refuse(DrawRequest { guidance_scale: Some(f32::NAN), ..a1111() }, "guidance");
    let tools = DrawTools { memory: Some(1 << 10), ..Default::default() };
    let error = draw(&model, &a1111(), &tools, &Quiet).unwrap_err().to_string();
    assert!(error.contains("MiB"), "{error}");
}
