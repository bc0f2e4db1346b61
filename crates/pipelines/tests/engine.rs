//! What an engine gives back, asked of the one that computes and of the one for tests.

use std::sync::Mutex;

use danqing_imaging::{Picture, PixelFormat};
use danqing_pipelines::TaskError;
use danqing_pipelines::control::{Control, Quiet, StopFlag};
use danqing_pipelines::embedded_upscalers::Subject;
use danqing_pipelines::engine::{
    DrawWish, EmbeddedOnly, Engine, EnlargeChain, EnlargeWish, FakeEngine, NativeConfig, NativeEngine, STARTER, Sizing,
};
use danqing_pipelines::request::{DrawRequest, Event};
use danqing_pipelines::tasks::enlarge::TargetSize;
use danqing_tensor::DType;

fn native() -> NativeEngine {
    NativeEngine::new(NativeConfig { dtype: DType::F32, usual: STARTER.into(), keep: None }, EmbeddedOnly)
}

fn wish(prompt: &str, size: Option<(u32, u32)>) -> DrawWish {
    let request = DrawRequest {
        prompt: prompt.into(),
        steps: Some(4),
        seed: 7,
        width: size.map(|size| size.0),
        height: size.map(|size| size.1),
        ..Default::default()
    };
    DrawWish { model: None, request, sizing: Sizing::Exact }
}

#[test]
fn the_starter_draws_at_its_own_size_and_is_enlarged() {
    let engine = native();
    let made = engine.draw(&wish("a red cat", None), &Quiet).unwrap().remove(0);
    assert_eq!((made.size.drawn, made.size.wished), ((64, 64), (512, 512)));
    assert_eq!((made.drawn.picture.width(), made.drawn.picture.height()), (512, 512));
    assert_eq!((made.model.as_str(), made.enlarged_by.as_deref()), (STARTER, Some("art-x4 + art-x4")));
    assert_eq!(made.drawn.infotext.get("Postprocess upscale to"), Some("512x512"));

    // Wide, and as small as it is drawn.
    let wide = engine.draw(&wish("a red cat", Some((384, 256))), &Quiet).unwrap().remove(0);
    assert_eq!((wide.size.drawn, wide.drawn.picture.width()), ((96, 64), 384));
    let small = engine.draw(&wish("a red cat", Some((64, 64))), &Quiet).unwrap().remove(0);
    assert_eq!((small.enlarged_by, small.drawn.picture.width()), (None, 64));
    // Forgetting what is loaded changes nothing.
    engine.unload();
    let again = engine.draw(&wish("a red cat", None), &Quiet).unwrap().remove(0);
    assert_eq!(again.drawn.picture.pixels(), made.drawn.picture.pixels());
}

#[test]
fn what_is_not_there_is_said() {
    let engine = native();
    let unknown = DrawWish { model: Some("flux".into()), ..wish("a cat", None) };
    let said = engine.draw(&unknown, &Quiet).unwrap_err().to_string();
    assert!(said.contains("no model flux") && said.contains(STARTER), "{said}");
    let picture = Picture::filled(8, 8, &[1, 2, 3]).unwrap();
    let chain = EnlargeChain::Named(vec!["none".into()]);
    let wish = EnlargeWish { picture, jpeg_quality: None, chain, size: TargetSize::Native };
    assert!(engine.enlarge(&wish, &Quiet).unwrap_err().to_string().contains("no upscaler none"));
}

#[test]
fn pictures_are_enlarged_by_name_by_subject_and_by_their_looks() {
    let engine = native();
    let pixels = (0..40 * 24).flat_map(|i: u32| [(i % 40 * 6) as u8, (i / 40 * 10) as u8, 90]).collect();
    let picture = Picture::new(40, 24, PixelFormat::Rgb8, pixels).unwrap();
    let enlarge = |chain, size| {
        let wish = EnlargeWish { picture: picture.clone(), jpeg_quality: None, chain, size };
        let made = engine.enlarge(&wish, &Quiet).unwrap();
        ((made.picture.width(), made.picture.height()), made.networks.join(" + "))
    };
    let named = EnlargeChain::Named(vec!["live-x2".into()]);
    assert_eq!(enlarge(named, TargetSize::Native), ((80, 48), "live-x2".into()));
    let photograph = EnlargeChain::For(Subject::Photograph);
    assert_eq!(enlarge(photograph.clone(), TargetSize::Width(100)), ((100, 60), "photo-x4".into()));
    assert_eq!(enlarge(photograph, TargetSize::Scale(0.5)), ((20, 12), "Lanczos".into()));
    let (size, networks) = enlarge(EnlargeChain::Auto, TargetSize::Scale(2.0));
    assert_eq!(size, (80, 48));
    assert!(["art-x4", "photo-x2"].iter().any(|name| networks.ends_with(name)), "{networks}");
}

/// Counts events and stops after some steps.
struct After(Mutex<usize>, usize);

impl Control for After {
    fn event(&self, event: Event) {
        if let Event::Step { .. } = event {
            *self.0.lock().unwrap() += 1;
        }
    }

    fn stopped(&self) -> bool {
        *self.0.lock().unwrap() >= self.1
    }
}

#[test]
fn a_control_stops_either_engine_within_a_step() {
    for engine in [&native() as &dyn Engine, &FakeEngine::default()] {
        let control = After(Mutex::new(0), 2);
        let stopped = engine.draw(&wish("a cat", Some((64, 64))), &control);
        assert!(matches!(stopped, Err(TaskError::Stopped)), "{stopped:?}");
        assert_eq!(*control.0.lock().unwrap(), 2);
        let flag = StopFlag::default();
        flag.stop();
        let picture = Picture::filled(16, 16, &[1, 2, 3]).unwrap();
        let name = engine.upscalers().unwrap()[0].name.clone();
        let chain = EnlargeChain::Named(vec![name]);
        let wish = EnlargeWish { picture, jpeg_quality: None, chain, size: TargetSize::Native };
        assert!(matches!(engine.enlarge(&wish, &flag), Err(TaskError::Stopped)));
    }
}

#[test]
fn the_engine_for_tests_draws_by_prompt_and_seed() {
    let engine = FakeEngine::default();
    let draw = |prompt: &str, size| engine.draw(&wish(prompt, size), &Quiet).unwrap().remove(0);
    let cat = draw("a cat", Some((100, 50)));
    assert_eq!((cat.drawn.picture.width(), cat.drawn.picture.height(), cat.drawn.seed), (100, 50, 7));
    assert_eq!(cat.drawn.picture.pixels(), draw("a cat", Some((100, 50))).drawn.picture.pixels());
    assert_ne!(cat.drawn.picture.pixels(), draw("a dog", Some((100, 50))).drawn.picture.pixels());
    assert!(engine.draw(&wish("please fail", None), &Quiet).is_err());
    assert_eq!(
        engine
            .draw(&DrawWish { request: DrawRequest { batch_size: 3, ..Default::default() }, ..wish("", None) }, &Quiet)
            .unwrap()
            .len(),
        3
    );
}
