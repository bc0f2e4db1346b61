//! Face detectors against what other software makes of the same weights and pictures.

use danqing_checkpoints::Weights;
use danqing_models::detectors::{Face, FaceDetector, open_face_detector};
use danqing_nn::LoadOptions;
use danqing_tensor::{DType, Tensor};
use danqing_testing::{Closeness, Fixture, assert_close, assets, fixture_path};

fn open(weights: &Weights) -> Box<dyn FaceDetector> {
    open_face_detector(weights, &LoadOptions::inference(DType::F32)).unwrap_or_else(|e| panic!("{e}"))
}

/// `pattern` of `reference/gen_faces.py`.
fn pattern(height: usize, width: usize) -> Tensor {
    let value = |i: usize| {
        let (y, x, c) = (i / 3 / width, i / 3 % width, i % 3);
        (((x * (3 + c) + y * (5 - c)) ^ (x * y / 16)) & 255) as f32 / 255.0
    };
    Tensor::from_vec((0..height * width * 3).map(value).collect(), &[1, height, width, 3]).unwrap()
}

/// Scores agree to 1e-4, and places to a hundredth of a pixel.
fn compare(name: &str, fixture: &Fixture, faces: &[Face]) {
    let values = |of: &dyn Fn(&Face) -> Vec<f32>| -> Vec<f32> { faces.iter().flat_map(of).collect() };
    let check = |part: &str, got: Vec<f32>, tolerance: f32| {
        let want = fixture.f32(part);
        println!("{name} {part}: {}", Closeness::of(&got, &want, f32::MAX));
        assert_close(&format!("{name} {part}"), &got, &want, (tolerance, 0.0));
    };
    check("scores", values(&|face| vec![face.score]), 1e-4);
    check("boxes", values(&|face| face.area.to_vec()), 1e-2);
    if fixture.contains("landmarks") {
        check("landmarks", values(&|face| face.landmarks.unwrap().as_flattened().to_vec()), 1e-2);
    }
}

#[test]
fn retinaface_equals_facexlib() {
    for (name, architecture) in
        [("retinaface_resnet", "RetinaFace ResNet"), ("retinaface_mobilenet", "RetinaFace MobileNet")]
    {
        let file = format!("reference/faces/{name}.safetensors");
        let fixture = Fixture::open(&file);
        let weights = Weights::open(fixture_path(&file)).unwrap().under("w.");
        let detector = open(&weights);
        let info = detector.info();
        assert_eq!((info.architecture, info.landmarks), (architecture, true));
        let x = Tensor::from_vec(fixture.f32("in"), &fixture.shape("in")).unwrap();
        compare(name, &fixture, &detector.candidates(&x).unwrap());

        let options = LoadOptions { values: false, ..LoadOptions::inference(DType::F32) };
        for lost in weights.names().filter(|name| !name.ends_with("num_batches_tracked")) {
            let cut = weights.renamed(|name| (name != lost).then(|| name.to_owned())).unwrap();
            assert!(open_face_detector(&cut, &options).is_err(), "{name} without {lost}");
        }
    }
}

#[test]
fn other_files_are_refused() {
    let weights = Weights::open(fixture_path("reference/upscalers/espcn.safetensors")).unwrap().under("w.");
    let why = open_face_detector(&weights, &LoadOptions::inference(DType::F32)).err().unwrap().to_string();
    assert!(why.contains("no face detector known here") && why.contains("RetinaFace"), "{why}");
}

#[test]
fn rfb_320_equals_onnxruntime() {
    let Some(assets) = assets() else { return };
    let detector = open(&Weights::open(assets.join("weights/face/version-RFB-320.pth")).unwrap());
    println!("{:?}", detector.info());
    assert_eq!((detector.info().architecture, detector.info().landmarks), ("Ultra-Light RFB", false));
    let faces = detector.candidates(&pattern(240, 320)).unwrap();
    compare("rfb", &Fixture::open("reference/faces/rfb.safetensors"), &faces);
    // Sides that are no multiples of anything.
    assert!(!detector.candidates(&pattern(31, 77)).unwrap().is_empty());
    assert!(detector.candidates(&Tensor::zeros(&[1, 8, 8, 1], DType::F32).unwrap()).is_err());
}
