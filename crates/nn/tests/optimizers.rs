//! AdamW, clipping and moving average against PyTorch and diffusers (`reference/gen_optimizers.py`), and their saved state.

use danqing_nn::{AdamW, AdamWConfig, Ema, LrDecay, LrSchedule, ParamStore, clip_grad_norm, clip_scale};
use danqing_tensor::{Gradients, Param, Tensor};
use danqing_testing::{Fixture, assert_close};

const NAMES: [&str; 2] = ["matrix", "vector"];
const CONFIG: AdamWConfig = AdamWConfig { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.05 };

fn fixture() -> Fixture {
    Fixture::open("reference/nn/optimizers.safetensors")
}

fn tensor(fixture: &Fixture, name: &str) -> Tensor {
    Tensor::from_vec(fixture.f32(name), &fixture.shape(name)).unwrap()
}

fn start(fixture: &Fixture) -> ParamStore {
    let mut store = ParamStore::default();
    for name in NAMES {
        let param = Param::new(name, tensor(fixture, &format!("start/{name}")));
        param.trainable(true);
        store.insert(param, name == "matrix");
    }
    store
}

/// The gradients of a step.
fn raw_gradients(fixture: &Fixture, store: &ParamStore, step: usize) -> Gradients {
    let mut gradients = Gradients::new();
    for param in store.iter() {
        gradients.insert(param, tensor(fixture, &format!("grad/{step}/{}", param.name()))).unwrap();
    }
    gradients
}

/// The gradients of a step, clipped, and their length before.
fn gradients(fixture: &Fixture, store: &ParamStore, step: usize) -> (Gradients, f64) {
    let mut gradients = raw_gradients(fixture, store, step);
    let norm = clip_grad_norm(store, &mut gradients, 1.0);
    (gradients, norm)
}

#[test]
fn steps_are_pytorchs() {
    let fixture = fixture();
    let store = start(&fixture);
    let mut optimizer = AdamW::new(&store, CONFIG);
    let mut ema = Ema::new(&store, 0.7).unwrap();
    let schedule = LrSchedule { peak: 3e-2, warmup: 4, total: 10, decay: LrDecay::Constant };
    let (norms, rates) = (fixture.f32("norm"), fixture.f32("rate"));
    for step in 0..norms.len() {
        let (gradients, norm) = gradients(&fixture, &store, step);
        assert_close("norm", &[norm as f32], &[norms[step]], 1e-5);
        let rate = schedule.at(step as u64);
        assert_close("rate", &[rate], &[rates[step]], 1e-8);
        optimizer.step(&gradients, rate).unwrap();
        ema.update().unwrap();
        for param in store.iter() {
            let want = fixture.f32(&format!("weights/{step}/{}", param.name()));
            assert_close(&format!("{} after step {step}", param.name()), &param.value().to_vec(), &want, 2e-6);
        }
        ema.swap().unwrap();
        for param in store.iter() {
            let want = fixture.f32(&format!("ema/{step}/{}", param.name()));
            assert_close(&format!("{} averaged {step}", param.name()), &param.value().to_vec(), &want, 2e-6);
        }
        ema.swap().unwrap();
    }
}

#[test]
fn scaling_in_the_step_equals_clipping_before_it() {
    let fixture = fixture();
    let run = |fused: bool| {
        let store = start(&fixture);
        let mut optimizer = AdamW::new(&store, CONFIG);
        for step in 0..10 {
            let limit = if fused { f64::INFINITY } else { 1.0 };
            let mut gradients = raw_gradients(&fixture, &store, step);
            let norm = clip_grad_norm(&store, &mut gradients, limit);
            optimizer.step_scaled(&gradients, 1e-2, if fused { clip_scale(norm, 1.0) } else { 1.0 }).unwrap();
        }
        store.iter().flat_map(|p| p.value().to_vec()).collect::<Vec<f32>>()
    };
    assert_close("weights", &run(true), &run(false), 1e-6);
}

#[test]
fn a_resumed_run_equals_a_straight_one() {
    let fixture = fixture();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let run = |stop: Option<usize>| {
        let mut store = start(&fixture);
        let mut optimizer = AdamW::new(&store, CONFIG);
        let mut ema = Ema::new(&store, 0.7).unwrap();
        for step in 0..10 {
            if stop == Some(step) {
                store.save(&file("weights.safetensors"), danqing_tensor::DType::F32, &Default::default()).unwrap();
                optimizer.save(&file("optimizer.safetensors")).unwrap();
                ema.save(&file("ema.safetensors")).unwrap();
                store = start(&fixture);
                store.restore(&danqing_checkpoints::Weights::open(file("weights.safetensors")).unwrap()).unwrap();
                optimizer = AdamW::new(&store, CONFIG);
                optimizer.load(&file("optimizer.safetensors")).unwrap();
                ema = Ema::new(&store, 0.7).unwrap();
                ema.load(&file("ema.safetensors")).unwrap();
                assert_eq!((optimizer.steps(), ema.updates()), (step as u64, step as u64));
            }
            let (gradients, _) = gradients(&fixture, &store, step);
            optimizer.step(&gradients, 1e-2).unwrap();
            ema.update().unwrap();
        }
        let mut all: Vec<Vec<f32>> = store.iter().map(|p| p.value().to_vec()).collect();
        ema.swap().unwrap();
        all.extend(store.iter().map(|p| p.value().to_vec()));
        all
    };
    assert_eq!(run(None), run(Some(4)));
}

#[test]
fn a_state_of_other_parameters_is_refused() {
    let fixture = fixture();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimizer.safetensors");
    AdamW::new(&start(&fixture), CONFIG).save(&path).unwrap();
    let mut other = ParamStore::default();
    for (name, shape) in [("matrix", vec![7, 5]), ("new", vec![2])] {
        let param = Param::new(name, Tensor::zeros(&shape, danqing_tensor::DType::F32).unwrap());
        param.trainable(true);
        other.insert(param, true);
    }
    let error = AdamW::new(&other, CONFIG).load(&path).err().unwrap().to_string();
    let said =
        "does not fit this network: 1 missing (mean.new); 1 misshapen (mean.matrix: [5, 7] where [7, 5] is wanted)";
    assert!(error.ends_with(said), "{error}");
}
