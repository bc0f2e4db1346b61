//! ONNX networks against onnxruntime, and what is refused of them.

use danqing_checkpoints::Onnx;
use danqing_models::upscalers::open_onnx;
use danqing_nn::LoadOptions;
use danqing_tensor::{DType, Tensor};
use danqing_testing::{Closeness, Fixture, assert_close, assets, fixture_path};

/// Networks of `reference/gen_upscalers_onnx.py`: name, scale, channels, multiple of sides, whether tiles join exactly.
const CASES: &[(&str, usize, usize, usize, bool)] = &[
    ("srvgg", 4, 3, 1, true),
    ("span", 2, 3, 1, true),
    ("espcn", 3, 1, 1, true),
    ("rrdb", 4, 3, 1, true),
    ("views", 2, 3, 2, true),
    ("resized", 2, 3, 2, false),
    ("corners", 4, 3, 1, false),
    ("transposed", 4, 3, 1, true),
];

#[test]
fn exported_networks_equal_onnxruntime() {
    let fixture = Fixture::open("reference/upscalers/onnx.safetensors");
    for &(name, scale, channels, multiple, exact) in CASES {
        let onnx = Onnx::open(fixture_path(format!("reference/upscalers/onnx/{name}.onnx"))).unwrap();
        let upscaler = open_onnx(&onnx, &LoadOptions::inference(DType::F32)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let info = upscaler.info();
        println!("{name}: {info:?}");
        let (x, want) = (format!("{name}.in"), format!("{name}.out"));
        let x = Tensor::from_vec(fixture.f32(&x), &fixture.shape(&x)).unwrap();
        let y = upscaler.forward(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (shape, want) = (fixture.shape(&want), fixture.f32(&want));
        println!("{name}: {}", Closeness::of(&y.to_vec(), &want, f32::MAX));
        assert_eq!(y.shape(), shape, "{name}");
        let size = want.iter().fold(1f32, |m, v| m.max(v.abs()));
        assert_close(name, &y.to_vec(), &want, (1e-5 * size, 0.0));
        assert_eq!(
            (info.scale, info.channels, info.multiple, info.exact),
            (scale, channels, multiple, exact),
            "{name}"
        );
    }
}

#[test]
fn a_detector_is_refused_by_name() {
    let Some(assets) = assets() else { return };
    let onnx = Onnx::open(assets.join("weights/face/version-RFB-320.onnx")).unwrap();
    assert_eq!(onnx.nodes().iter().filter(|node| node.op == "Conv").count(), 52);
    let why = open_onnx(&onnx, &LoadOptions::inference(DType::F32)).err().unwrap().to_string();
    println!("{why}");
    assert!(why.contains("2 results where one of each is wanted"), "{why}");
}

#[test]
fn an_unknown_operator_is_named() {
    // One node of one kind from `in` to `out`, floats of [any, 3, any, any].
    let message = |field: u8, bytes: &[u8]| [&[field << 3 | 2, bytes.len() as u8], bytes].concat();
    let network = |op: &[u8]| {
        let node = [message(1, b"in"), message(2, b"out"), message(3, b"odd"), message(4, op)].concat();
        let any = message(1, &message(2, b"n"));
        let shape = message(2, &[any.clone(), message(1, &[8, 3]), any.clone(), any].concat());
        let kind = message(2, &message(1, &[&[8, 1][..], &shape].concat()));
        let input = message(11, &[message(1, b"in"), kind].concat());
        let graph = [message(1, &node), input, message(12, &message(1, b"out"))].concat();
        Onnx::parse("odd.onnx", &message(7, &graph)).unwrap()
    };
    let options = LoadOptions::inference(DType::F32);
    let why = open_onnx(&network(b"GridSample"), &options).err().unwrap().to_string();
    assert!(why.contains("odd.onnx") && why.contains("\"odd\" (GridSample) is not known"), "{why}");
    let why = open_onnx(&network(b"GlobalAveragePool"), &options).err().unwrap().to_string();
    assert!(why.contains("no network that enlarges pictures"), "{why}");
    assert_eq!(open_onnx(&network(b"Relu"), &options).unwrap_or_else(|e| panic!("{e}")).info().scale, 1);
}
