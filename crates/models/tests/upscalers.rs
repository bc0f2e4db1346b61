//! Upscalers against what other software makes of the same weights and pictures.

use danqing_checkpoints::{GraphDef, Ncnn, Weights};
use danqing_models::ModelError;
use danqing_models::upscalers::{
    Network, Purpose, Shapes, UPSCALERS, Upscaler, open_graphdef, open_ncnn, open_upscaler, span, srvgg,
};
use danqing_nn::{LoadOptions, Loader};
use danqing_tensor::{DType, Rng, Tensor};
use danqing_testing::{Closeness, Fixture, assert_close, assets, fixture_path};

fn open(weights: &Weights) -> Box<dyn Upscaler> {
    open_upscaler(weights, &LoadOptions::inference(DType::F32)).unwrap_or_else(|e| panic!("{e}"))
}

/// Pictures agree to 1e-4 of the largest value.
fn assert_picture(name: &str, got: &Tensor, want: &[f32]) {
    let size = want.iter().fold(1f32, |m, v| m.max(v.abs()));
    println!("{name}: {}", Closeness::of(&got.to_vec(), want, f32::MAX));
    assert_close(name, &got.to_vec(), want, (1e-4 * size, 0.0));
}

/// Every network of `reference/gen_upscalers.py` and `reference/gen_restorers.py` and tiny one of
/// `reference/gen_upscalers_public.py`: name of the file, architecture, scale, channels.
const TINY: &[(&str, &str, usize, usize)] = &[
    ("span_branches", "SPAN", 2, 3),
    ("span_plain", "SPAN", 4, 1),
    ("srvgg", "SRVGGNetCompact", 4, 3),
    ("rrdb_old_x4", "RRDBNet", 4, 3),
    ("rrdb_old_x2", "RRDBNet", 2, 3),
    ("rrdb_old_x1", "RRDBNet", 1, 3),
    ("rrdb_real_x2", "RRDBNet", 2, 3),
    ("rrdb_real_x1", "RRDBNet", 1, 3),
    ("rrdb_bsrgan", "RRDBNet", 4, 3),
    ("edsr", "EDSR", 4, 3),
    ("imdn", "IMDN", 2, 3),
    ("espcn", "ESPCN", 3, 1),
    ("fsrcnn_x3", "FSRCNN", 3, 1),
    ("nafnet", "NAFNet", 1, 3),
    ("fbcnn_colour", "FBCNN", 1, 3),
    ("fbcnn_grey", "FBCNN", 1, 1),
    ("scunet_colour", "SCUNet", 1, 3),
    ("scunet_grey", "SCUNet", 1, 1),
    ("swinir_classic", "SwinIR", 3, 3),
    ("swinir_light", "SwinIR", 2, 3),
    ("swinir_real", "SwinIR", 4, 3),
    ("swinir_noise", "SwinIR", 1, 3),
    ("swinir_jpeg", "SwinIR", 1, 1),
    ("cugan_x2", "CUNet", 2, 3),
    ("cugan_x2_pro", "CUNet", 2, 3),
    ("cugan_x3", "CUNet", 3, 3),
    ("cugan_x4", "CUNet", 4, 3),
    ("waifu2x_cunet_x1", "CUNet", 1, 3),
    ("waifu2x_cunet_x2", "CUNet", 2, 3),
    ("waifu2x_upconv", "waifu2x", 2, 3),
    ("waifu2x_vgg", "waifu2x", 1, 3),
    ("hat_x2", "HAT", 2, 3),
    ("hat_x4", "HAT", 4, 3),
    ("gfpgan", "GFPGAN", 1, 3),
    ("dat_x2", "DAT", 2, 3),
    ("dat_light", "DAT", 3, 3),
];

/// Weights of a network of [`TINY`].
fn tiny(name: &str) -> Weights {
    Weights::open(fixture_path(format!("reference/upscalers/{name}.safetensors"))).unwrap().under("w.")
}

#[test]
fn networks_equal_spandrels_and_their_own_code() {
    for &(name, architecture, scale, channels) in TINY {
        let file = format!("reference/upscalers/{name}.safetensors");
        let fixture = Fixture::open(&file);
        let weights = Weights::open(fixture_path(&file)).unwrap().under("w.");
        let upscaler = open(&weights);
        let info = upscaler.info();
        assert_eq!((info.architecture, info.scale, info.channels), (architecture, scale, channels), "{name}");
        let x = Tensor::from_vec(fixture.f32("in"), &fixture.shape("in")).unwrap();
        let y = upscaler.forward(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(y.shape(), fixture.shape("out"), "{name}");
        assert_picture(name, &y, &fixture.f32("out"));
    }
}

/// `[3, h, w]` of the golden files as `[1, h, w, 3]`.
fn picture(golden: &Fixture, name: &str) -> Tensor {
    let shape = golden.shape(name);
    let t = Tensor::from_vec(golden.f32(name), &[1, shape[0], shape[1], shape[2]]).unwrap();
    t.permute(&[0, 2, 3, 1]).unwrap().contiguous().unwrap()
}

/// Published files (`reference/gen_upscalers_public.py`): name, architecture, number of weights.
const PUBLISHED: &[(&str, &str, usize)] = &[
    ("2022_rfdn_baseline", "RFDN", 433_448),
    ("2022_team03_fmen", "FMEN", 341_066),
    ("2022_team18_bsrn", "BSRN", 156_288),
    ("2024_team23_safmnpp", "SAFMN++", 211_572),
    ("2024_team24_smfan", "SMFAN", 84_408),
    ("2024_team38_span_ch28_slim", "SPAN", 150_688),
];

#[test]
fn published_files_equal_their_own_code() {
    let Some(assets) = assets() else { return };
    let fixture = Fixture::open("reference/upscalers/published.safetensors");
    let x = Tensor::from_vec(fixture.f32("in"), &fixture.shape("in")).unwrap();
    for &(name, architecture, parameters) in PUBLISHED {
        let upscaler = open(&Weights::open(assets.join(format!("weights/sr/ntire/{name}.pth"))).unwrap());
        let info = upscaler.info();
        assert_eq!((info.architecture, info.scale, info.parameters), (architecture, 4, parameters), "{name}");
        let y = upscaler.forward(&x).unwrap();
        let part = y.narrow(1, 16, 40).unwrap().narrow(2, 16, 56).unwrap();
        assert_picture(name, &part, &fixture.f32(name));
    }
}

#[test]
fn rlfn_equals_numpy() {
    let Some(assets) = assets() else { return };
    let golden = Fixture::read(&assets.join("golden/sr_kodak23_64to256.safetensors"));
    let upscaler = open(&Weights::open(assets.join("weights/sr/ntire/2022_team04_rlfn.pth")).unwrap());
    assert_eq!((upscaler.info().architecture, upscaler.info().parameters), ("RLFN", 317_218));
    let y = upscaler.forward(&picture(&golden, "input")).unwrap();
    assert_close("rlfn", &y.to_vec(), &picture(&golden, "rlfn_x4").to_vec(), (1e-4, 0.0));
}

/// Largest difference of the middle `side`×`side` of a picture run alone and as part of a larger one.
fn seam(upscaler: &dyn Upscaler, x: &Tensor) -> f32 {
    let info = upscaler.info();
    let whole = upscaler.forward(x).unwrap();
    let side = x.dim(1);
    let (start, kept) = (info.multiple, info.multiple.max(4).next_multiple_of(info.multiple));
    let tile = x.narrow(1, start, 2 * info.overlap + kept).unwrap();
    let tile = tile.narrow(2, side - (2 * info.overlap + kept), 2 * info.overlap + kept).unwrap();
    let tiled = upscaler.forward(&tile.contiguous().unwrap()).unwrap();
    let inner = |t: &Tensor, y: usize, x: usize| {
        let s = info.scale;
        t.narrow(1, y * s, kept * s).unwrap().narrow(2, x * s, kept * s).unwrap().to_vec()
    };
    let a = inner(&tiled, info.overlap, info.overlap);
    let b = inner(&whole, start + info.overlap, side - info.overlap - kept);
    a.iter().zip(&b).fold(0f32, |m, (a, b)| m.max((a - b).abs()))
}

#[test]
fn exact_overlaps_cover_what_a_pixel_depends_on() {
    for &(name, ..) in TINY {
        let weights =
            Weights::open(fixture_path(format!("reference/upscalers/{name}.safetensors"))).unwrap().under("w.");
        let upscaler = open(&weights);
        let info = upscaler.info();
        if !info.exact {
            continue;
        }
        let side = (2 * info.overlap + 3 * info.multiple + 8).next_multiple_of(info.multiple);
        let x = Tensor::rand(&[1, side, side, info.channels], 0.0, 1.0, &mut Rng::new(7)).unwrap();
        let largest = upscaler.forward(&x).unwrap().to_vec().iter().fold(1f32, |m, v| m.max(v.abs()));
        let seam = seam(upscaler.as_ref(), &x);
        assert!(seam <= 1e-5 * largest, "{name}: a tile differs by {seam}");
    }
}

#[test]
fn an_unknown_file_is_told_what_it_resembles() {
    let part = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec(), vec![0.0; shape.iter().product()]);
    let refusal = |parts| {
        let weights = Weights::from_parts("stranger.pth", parts).unwrap();
        match open_upscaler(&weights, &LoadOptions::inference(DType::F32)) {
            Err(ModelError::Unknown(why)) => why,
            Err(other) => panic!("{other}"),
            Ok(found) => panic!("taken for {}", found.info().architecture),
        }
    };
    let why = refusal(vec![
        part("block_1.c1_r.eval_conv.weight", &[4, 4, 3, 3]),
        part("block_2.c1_r.eval_conv.weight", &[4, 4, 3, 3]),
        part("tail.weight", &[4]),
    ]);
    assert!(
        why.contains("stranger.pth") && why.contains("resembles SPAN, by the names of 2 of its 3 tensors"),
        "{why}"
    );
    let why = refusal(vec![part("alpha", &[1])]);
    assert!(why.contains("none of its 1 tensors") && why.contains("SRVGGNetCompact"), "{why}");
}

#[test]
fn a_recognised_file_with_missing_parts_is_refused() {
    let file = fixture_path("reference/upscalers/srvgg.safetensors");
    let weights = Weights::open(file).unwrap().under("w.");
    let cut = weights.renamed(|name| (name != "body.2.bias").then(|| name.to_owned())).unwrap();
    let why = open_upscaler(&cut, &LoadOptions::inference(DType::F32)).err().unwrap().to_string();
    assert!(why.contains("1 missing (body.2.bias)"), "{why}");
}

#[test]
fn every_file_is_claimed_by_one_architecture() {
    for &(name, architecture, ..) in TINY {
        let shapes = Shapes::of(&tiny(name));
        let claims: Vec<&str> = UPSCALERS.iter().filter(|a| (a.detect)(&shapes)).map(|a| a.name).collect();
        assert_eq!(claims, [architecture], "{name}");
    }
}

#[test]
fn files_tell_what_networks_are_for() {
    for (name, purpose, multiple) in [
        ("nafnet", Purpose::Restore, 4),
        ("fbcnn_grey", Purpose::Dejpeg, 8),
        ("scunet_colour", Purpose::Denoise, 64),
        ("swinir_classic", Purpose::Enlarge, 4),
        ("swinir_noise", Purpose::Denoise, 4),
        ("swinir_jpeg", Purpose::Dejpeg, 7),
        ("cugan_x3", Purpose::Enlarge, 4),
        ("waifu2x_cunet_x1", Purpose::Denoise, 4),
    ] {
        let upscaler = open(&tiny(name));
        let info = upscaler.info();
        assert_eq!((info.purpose, info.multiple, info.exact), (purpose, multiple, false), "{name}");
        assert!(info.overlap >= 32 && info.overlap.is_multiple_of(multiple), "{name}: {info:?}");
    }
}

/// Weights and activations in half precision give nearly the same picture.
#[test]
fn networks_run_in_half_precision() {
    for &(name, ..) in TINY {
        let fixture = Fixture::open(&format!("reference/upscalers/{name}.safetensors"));
        let upscaler = open_upscaler(&tiny(name), &LoadOptions::inference(DType::Bf16)).unwrap();
        let x = Tensor::from_vec(fixture.f32("in"), &fixture.shape("in")).unwrap();
        for x in [x.cast(DType::Bf16).unwrap(), x] {
            let y = upscaler.forward(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(y.dtype(), x.dtype(), "{name}");
            let closeness = Closeness::of(&y.to_vec(), &fixture.f32("out"), f32::MAX);
            println!("{name} {:?}: {closeness}", x.dtype());
            assert!(closeness.relative_l2 <= 0.02, "{name}: {closeness}");
        }
    }
}

#[test]
fn faces_are_drawn_as_a_whole() {
    let upscaler = open(&tiny("gfpgan"));
    let info = upscaler.info();
    assert_eq!((info.purpose, info.multiple, info.least, info.overlap), (Purpose::Face, 32, 32, 0));
    let why = upscaler.forward(&Tensor::zeros(&[1, 64, 32, 3], DType::F32).unwrap()).unwrap_err().to_string();
    assert!(why.contains("draws faces of 32x32"), "{why}");
}

#[test]
fn pictures_of_other_shapes_are_refused() {
    let file = fixture_path("reference/upscalers/srvgg.safetensors");
    let upscaler = open(&Weights::open(file).unwrap().under("w."));
    for shape in [&[1, 4, 4, 1][..], &[4, 4, 3], &[1, 0, 4, 3]] {
        let why = upscaler.forward(&Tensor::zeros(shape, DType::F32).unwrap()).unwrap_err().to_string();
        assert!(why.contains("SRVGGNetCompact takes [batch, height, width, 3]"), "{why}");
    }
}

/// Both architectures learn from a random start: a step against the gradient lowers the loss.
#[test]
fn small_networks_can_be_trained() {
    let x = Tensor::rand(&[2, 8, 8, 3], 0.0, 1.0, &mut Rng::new(3)).unwrap();
    let want = x.upsample_nearest(2).unwrap();
    let learn = |name: &str, loader: Loader, network: &dyn Network, step: f32| {
        let store = loader.finish().unwrap();
        let loss = || network.forward(&x).unwrap().sub(&want).unwrap().square().unwrap().mean_all().unwrap();
        let before = loss();
        let gradients = before.backward().unwrap();
        for param in store.iter() {
            let gradient = gradients.slice(param).unwrap_or_else(|| panic!("{name}: no gradient of {}", param.name()));
            param.update(|values| values.iter_mut().zip(gradient).for_each(|(v, g)| *v -= step * g)).unwrap();
        }
        let (before, after) = (before.item().unwrap(), loss().item().unwrap());
        assert!(after < before, "{name}: {before} became {after}");
    };
    let loader = Loader::random(1);
    let config = span::SpanConfig { colours: 3, channels: 8, blocks: 6, scale: 2, centred: true };
    let network = span::Span::load(&loader, config).unwrap();
    learn("SPAN", loader, &network, 1e-4);
    let loader = Loader::random(2);
    let config = srvgg::SrvggConfig { colours: 3, channels: 8, convs: 3, scale: 2 };
    let network = srvgg::Srvgg::load(&loader, config).unwrap();
    learn("SRVGG", loader, &network, 1e-2);
}

#[test]
fn every_architecture_says_how_its_files_look() {
    for architecture in UPSCALERS {
        assert!(!architecture.names.is_empty(), "{}", architecture.name);
        assert!(!(architecture.detect)(&Shapes::default()), "{}", architecture.name);
    }
}

/// Networks of ncnn (`reference/gen_upscalers_ncnn.py`): file, scale, context that it eats, multiple of sides.
const NCNN: &[(&str, usize, usize, usize)] = &[
    ("realesrgan/realesr-general-x4v3", 4, 0, 1),
    ("waifu2x/models-cunet/scale2.0x_model", 2, 18, 2),
    ("waifu2x/models-cunet/noise1_scale2.0x_model", 2, 18, 2),
    ("waifu2x/models-upconv_7_photo/noise1_scale2.0x_model", 2, 7, 1),
    ("realcugan/models-nose/up2x-no-denoise", 2, 18, 2),
    ("realcugan/models-se/up2x-conservative", 2, 18, 2),
];

#[test]
fn a_tiny_ncnn_network_of_every_layer_equals_ncnns() {
    let fixture = Fixture::open("reference/upscalers/ncnn.safetensors");
    let network = Ncnn::open(fixture_path("reference/upscalers/tiny.param")).unwrap();
    let upscaler = open_ncnn(&network, &LoadOptions::inference(DType::F32)).unwrap();
    let info = upscaler.info();
    assert_eq!((info.scale, info.channels, info.multiple, info.exact), (2, 3, 2, false));
    let x = Tensor::from_vec(fixture.f32("tiny/in"), &fixture.shape("tiny/in")).unwrap();
    assert_picture("tiny ncnn", &upscaler.forward(&x).unwrap(), &fixture.f32("tiny/out"));
}

#[test]
fn published_ncnn_networks_equal_ncnns() {
    let Some(assets) = assets() else { return };
    let fixture = Fixture::open("reference/upscalers/ncnn.safetensors");
    let x = Tensor::from_vec(fixture.f32("in"), &fixture.shape("in")).unwrap();
    for &(name, scale, context, multiple) in NCNN {
        let network = Ncnn::open(assets.join(format!("weights/sr/{name}.param"))).unwrap();
        let upscaler = open_ncnn(&network, &LoadOptions::inference(DType::F32)).unwrap_or_else(|e| panic!("{e}"));
        let info = upscaler.info();
        println!("{name}: {info:?}");
        assert_eq!((info.scale, info.channels, info.multiple), (scale, 3, multiple), "{name}");
        assert!(info.overlap >= context, "{name}: {info:?}");
        let y = upscaler.forward(&x).unwrap();
        let part = y.narrow(1, 8, 40).unwrap().narrow(2, 8, 40).unwrap();
        assert_picture(name, &part, &fixture.f32(&name.replace('/', ".")));
    }
}

/// Names of the layers with weights of Real-CUGAN's and waifu2x's PyTorch files, in the order in which ncnn's run.
fn names_in_order(weighted: bool) -> Vec<String> {
    let unet = |unet: &str, layers: &[&str]| -> Vec<String> {
        let inner = |layer: &str| match layer {
            "conv1" => vec!["conv1.conv.0".to_owned(), "conv1.conv.2".to_owned()],
            "conv2" | "conv3" | "conv4" if unet == "unet2" || layer == "conv2" => {
                let parts = ["conv.0", "conv.2", "seblock.conv1", "seblock.conv2"];
                parts[..if weighted { 4 } else { 2 }].iter().map(|part| format!("{layer}.{part}")).collect()
            }
            _ => vec![layer.to_owned()],
        };
        layers.iter().flat_map(|layer| inner(layer)).map(|name| format!("{unet}.{name}")).collect()
    };
    let first = unet("unet1", &["conv1", "conv1_down", "conv2", "conv2_up", "conv3", "conv_bottom"]);
    let down = ["conv1", "conv1_down", "conv2", "conv2_down", "conv3", "conv3_up", "conv4", "conv4_up", "conv5"];
    [first, unet("unet2", &down), unet("unet2", &["conv_bottom"])].concat()
}

/// Published weights under the names of PyTorch files make what their ncnn networks make.
#[test]
fn published_cunets_equal_their_ncnn_networks() {
    let Some(assets) = assets() else { return };
    let options = LoadOptions::inference(DType::F32);
    for (name, architecture, names) in [
        ("realcugan/models-se/up2x-conservative", "CUNet", names_in_order(true)),
        ("realcugan/models-nose/up2x-no-denoise", "CUNet", names_in_order(false)),
        ("waifu2x/models-cunet/scale2.0x_model", "CUNet", names_in_order(true)),
        (
            "waifu2x/models-upconv_7_photo/noise1_scale2.0x_model",
            "waifu2x",
            (0..7).map(|i| format!("net.{}", 2 * i)).collect(),
        ),
    ] {
        let network = Ncnn::open(assets.join(format!("weights/sr/{name}.param"))).unwrap();
        let weights = network.weights();
        let stored = network.layers().iter().filter(|layer| weights.contains(&format!("{}.weight", layer.name)));
        let stored: Vec<_> = stored.collect();
        assert_eq!(stored.len(), names.len(), "{name}");
        let parts = stored.iter().zip(&names).flat_map(|(layer, to)| {
            ["weight", "bias"].map(|kind| {
                let from = format!("{}.{kind}", layer.name);
                let shape = &weights.info(&from).unwrap().shape;
                let value = Tensor::from_vec(weights.read_f32(&from).unwrap(), shape).unwrap();
                let value = match (shape.as_slice(), layer.kind.as_str()) {
                    (&[c_out, c_in], _) => value.reshape(&[c_out, c_in, 1, 1]).unwrap(),
                    // ncnn counts the results first.
                    ([_, _, _, _], "Deconvolution") => value.transpose(0, 1).unwrap(),
                    _ => value,
                };
                (format!("{to}.{kind}"), value.shape().to_vec(), value.to_vec())
            })
        });
        let renamed = open(&Weights::from_parts("renamed.pth", parts.collect()).unwrap());
        assert_eq!((renamed.info().architecture, renamed.info().scale), (architecture, 2), "{name}");
        let x = Tensor::rand(&[1, 40, 44, 3], 0.0, 1.0, &mut Rng::new(5)).unwrap();
        let want = open_ncnn(&network, &options).unwrap().forward(&x).unwrap();
        let inner = |t: &Tensor| t.narrow(1, 16, 48).unwrap().narrow(2, 16, 56).unwrap();
        assert_picture(name, &inner(&renamed.forward(&x).unwrap()), &inner(&want).to_vec());
    }
}

#[test]
fn an_ncnn_network_equals_numpy() {
    let Some(assets) = assets() else { return };
    let golden = Fixture::read(&assets.join("golden/sr_kodak23_64to256.safetensors"));
    let network = Ncnn::open(assets.join("weights/sr/realesrgan/realesr-general-x4v3.bin")).unwrap();
    let upscaler = open_ncnn(&network, &LoadOptions::inference(DType::F32)).unwrap();
    let y = upscaler.forward(&picture(&golden, "input")).unwrap();
    assert_close("realesr", &y.to_vec(), &picture(&golden, "realesr_general_x4v3").to_vec(), (1e-3, 0.0));
}

#[test]
fn frozen_tensorflow_graphs_equal_numpys() {
    let fixture = Fixture::open("reference/upscalers/tensorflow.safetensors");
    let x = Tensor::from_vec(fixture.f32("in"), &fixture.shape("in")).unwrap();
    let compare = |path: std::path::PathBuf, name: &str, scale: usize| {
        let graph = GraphDef::open(&path).unwrap();
        let upscaler = open_graphdef(&graph, &LoadOptions::inference(DType::F32)).unwrap_or_else(|e| panic!("{e}"));
        let info = upscaler.info();
        println!("{name}: {info:?}");
        assert_eq!((info.scale, info.channels, info.multiple, info.exact), (scale, 1, 1, true), "{name}");
        assert_picture(name, &upscaler.forward(&x).unwrap(), &fixture.f32(name));
    };
    compare(fixture_path("corpus/graphdef/sound.pb"), "tiny", 2);
    let Some(assets) = assets() else { return };
    for (name, scale) in [
        ("fsrcnn/FSRCNN-small_x2", 2),
        ("fsrcnn/FSRCNN_x2", 2),
        ("fsrcnn/FSRCNN_x3", 3),
        ("fsrcnn/FSRCNN_x4", 4),
        ("lapsrn/LapSRN_x2", 2),
    ] {
        compare(assets.join(format!("weights/sr/{name}.pb")), &name.replace('/', "."), scale);
    }
}

#[test]
fn networks_of_other_things_than_pictures_are_refused() {
    let refusal = |text: &str| {
        let network = Ncnn::from_bytes("other.param", text.as_bytes(), Vec::new()).unwrap();
        open_ncnn(&network, &LoadOptions::inference(DType::F32)).err().unwrap().to_string()
    };
    for (text, part) in [
        ("7767517\n2 2\nInput in 0 1 a\nPooling p 1 1 a b 0=1 4=1\n", "no network that enlarges pictures"),
        ("7767517\n2 2\nInput in 0 1 a\nSoftmax p 1 1 a b\n", "layer \"p\" (Softmax) is not known"),
        ("7767517\n2 3\nInput in 0 1 a\nSplit s 1 2 a b c\n", "2 results where one is wanted"),
        ("7767517\n1 1\nNoop in 0 1 a\n", "no input"),
        ("7767517\n2 2\nInput in 0 1 a\nPixelShuffle p 1 1 a b 0=2\n", "cannot take its inputs"),
    ] {
        let why = refusal(text);
        assert!(why.contains(part) && why.contains("other.param"), "{why}");
    }
}
