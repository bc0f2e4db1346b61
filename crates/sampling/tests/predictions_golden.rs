//! Prediction types and guidance against diffusers (`reference/gen_sampling.py`).

use danqing_sampling::PredictionType;
use danqing_sampling::guidance::{self, GuidanceOptions, Predictions};
use danqing_testing::{Fixture, assert_close};

#[test]
fn clean_pictures_and_inputs() {
    let fixture = Fixture::open("reference/sampling/predictions.safetensors");
    let (state, output) = (fixture.f32("state"), fixture.f32("output"));
    for kind in ["epsilon", "v_prediction", "sample"] {
        let prediction = PredictionType::parse(kind).unwrap();
        for t in [1, 500, 999] {
            let sigma = fixture.f64(&format!("{kind}.{t}.sigma"))[0];
            let mut found = vec![0f32; state.len()];
            prediction.denoised(&state, &output, sigma, &mut found).unwrap();
            let name = format!("{kind}.{t}.denoised");
            assert_close(&name, &found, &fixture.f32(&name), 1e-6);
            let input: Vec<f32> =
                state.iter().map(|x| (prediction.input_scale(sigma) * f64::from(*x)) as f32).collect();
            let name = format!("{kind}.{t}.input");
            assert_close(&name, &input, &fixture.f32(&name), 1e-6);
        }
    }
}

#[test]
fn guided_predictions() {
    let fixture = Fixture::open("reference/sampling/predictions.safetensors");
    let (conditional, unconditional) = (fixture.f32("guidance.conditional"), fixture.f32("guidance.unconditional"));
    let both = Predictions { conditional: &conditional, unconditional: &unconditional, picture: 256 };
    for id in ["cfg", "cfg_rescale"] {
        let mut guided = vec![0f32; conditional.len()];
        let options = GuidanceOptions { scale: 7.5, rescale: 0.7 };
        guidance::find(id).unwrap().combine(both, options, &mut guided).unwrap();
        assert_close(id, &guided, &fixture.f32(&format!("guidance.{id}")), 1e-6);
    }
}
