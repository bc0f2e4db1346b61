//! Broken inputs for every parser of this crate: each must return, quickly, with weights or a sentence.

use std::sync::Arc;

use danqing_testing::mutate::{Mutator, corpus, count, run_with_tokens};

use crate::blob::Blob;
use crate::{GraphDef, GraphNode, Ncnn, Onnx, Weights, WeightsError, index, pickle, safetensors, torch};

/// Reads every tensor that a broken file still has.
fn use_up(result: Result<Weights, WeightsError>) {
    let weights = match result {
        Ok(weights) => weights.unwrapped(),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for name in weights.names() {
        let info = weights.info(name).unwrap();
        if info.numel() < 100_000 {
            assert_eq!(weights.read_f32(name).unwrap().len(), info.numel());
            assert_eq!(weights.bytes(name).unwrap().len(), info.byte_len());
        }
    }
}

#[test]
fn fuzz_safetensors() {
    let tokens: [&[u8]; 8] = [
        b"\"a\":",
        b"\"shape\":",
        b"[0,4]",
        b"\"__metadata__\":{",
        b"\\u0061",
        b"18446744073709551615",
        b"\"F64\"",
        b"{},",
    ];
    run_with_tokens(&corpus("safetensors"), &tokens, 1, count(), |input| {
        use_up(safetensors::parse(&Arc::new(Blob::from_vec("fuzz.safetensors", input.to_vec()))));
    });
}

#[test]
fn fuzz_zip() {
    let tokens: [&[u8]; 5] = [b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"archive/data/0"];
    run_with_tokens(&corpus("zip"), &tokens, 2, count(), |input| {
        use_up(Weights::from_bytes("fuzz.pth", input.to_vec()));
    });
}

#[test]
fn fuzz_pickle() {
    let tokens: [&[u8]; 11] = [
        b"ctorch\nFloatStorage\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"ccollections\nOrderedDict\n",
        b"h\x00",
        b"q\x00",
        b"(t",
        b"}",
        b"R",
        b"Q",
    ];
    run_with_tokens(&corpus("pickle"), &tokens, 3, count(), |input| {
        pickle::run(input).ok();
        use_up(torch::parse_program("fuzz.pth", input, &[("0", &[0; 32])]));
    });
}

#[test]
fn fuzz_index() {
    let tokens: [&[u8]; 5] = [b"\"weight_map\":{", b"\"a\":\"x\",", b"../", b"\\u002e", b"[[["];
    run_with_tokens(&corpus("index"), &tokens, 4, count(), |input| {
        if let Ok(map) = index::weight_map(input) {
            assert!(map.values().all(|file| !file.contains('/') && file != ".."));
        }
    });
}

#[test]
fn fuzz_ncnn() {
    let tokens: [&[u8]; 8] =
        [b"6=", b"-23309=2,", b"1 1 ", b"Convolution", b"PReLU", b"0=-233", b"4294967296", b"1e38"];
    let numbers: Vec<u8> = [&0x0130_6b47u32.to_le_bytes()[..], &[0x3c; 60]].concat();
    run_with_tokens(&corpus("ncnn"), &tokens, 6, count(), |input| {
        match Ncnn::from_bytes("fuzz.param", input, numbers.clone()) {
            Ok(network) => use_up(Ok(network.weights().clone())),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

#[test]
fn fuzz_graphdef() {
    let tokens: [&[u8]; 6] =
        [b"\x0a\x10", b"\x12\x02\x08\x02", b"Const", b"\xff\xff\xff\xff\x0f", b"\x22\x08", b"\x08\x01"];
    run_with_tokens(&corpus("graphdef"), &tokens, 7, count(), |input| match GraphDef::parse("fuzz.pb", input) {
        Ok(graph) => graph.nodes().iter().filter_map(GraphNode::constant).for_each(|constant| {
            assert_eq!(constant.shape.iter().product::<usize>(), constant.values.len());
        }),
        Err(error) => assert!(!error.to_string().is_empty()),
    });
}

#[test]
fn fuzz_onnx() {
    let tokens: [&[u8]; 7] =
        [b"\x0a\x01x", b"\x12\x01y", b"\x08\x02", b"\x10\x07", b"\xff\xff\xff\xff\x0f", b"\x4a\x08", b"\x70\x01"];
    run_with_tokens(&corpus("onnx"), &tokens, 8, count(), |input| match Onnx::parse("fuzz.onnx", input) {
        Ok(network) => network.tensors().values().for_each(|tensor| {
            assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len());
        }),
        Err(error) => assert!(!error.to_string().is_empty()),
    });
}

/// Mutations alone rarely pass the archive's checks with a broken pickle; here the archive is sound and the pickle is not.
#[test]
fn fuzz_storage_bounds() {
    let corpus = corpus("pickle");
    let mut mutator = Mutator::new(5);
    for round in 0..count() / 10 {
        let program = mutator.mutate(&corpus);
        let storage = vec![0u8; mutator.below(64)];
        use_up(torch::parse_program(&format!("round {round}"), &program, &[("0", &storage)]));
    }
}

/// The hostile pickles of the corpus give a sentence; the sound ones give their tensor; nothing is ever called.
#[test]
fn pickles_of_the_corpus_are_told_apart() {
    let folder = danqing_testing::fixture_path("corpus/pickle");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let program = std::fs::read(&path).unwrap();
        let result = torch::parse_program(name, &program, &[("0", &[1; 32])]);
        match (name, result) {
            ("sound_tensor" | "sound_parameter", result) => {
                let weights = result.unwrap();
                assert_eq!(weights.info("w").unwrap().shape, [2, 4], "{name}");
                assert!(weights.unknown_globals().is_empty(), "{:?}", weights.unknown_globals());
            }
            // These hold a NumPy array, which is a tensor.
            (name, result) if name.starts_with("sound_protocol") => {
                let weights = result.unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(weights.read_f32("n").unwrap(), [0.0, 1.0, 2.0], "{name}");
            }
            (name, result) => assert!(result.is_err(), "{name} was accepted"),
        }
    }
}

#[test]
fn refusals_of_hostile_pickles_name_their_reason() {
    let message = |name: &str| {
        let path = danqing_testing::fixture_path("corpus/pickle").join(name).with_extension("pkl");
        let program = std::fs::read(path).unwrap();
        torch::parse_program(name, &program, &[("0", &[1; 32])]).unwrap_err().to_string()
    };
    for (name, part) in [
        ("os_system", "no tensor in it"),
        ("eval_in_state", "no tensor in it"),
        ("doubling_dictionary", "no tensor in it"),
        ("self_dictionary", "no tensor in it"),
        ("huge_binunicode", "ends 4294967294 bytes early"),
        ("deep_marks", "nested deeper than 1000"),
        ("negative_shape", "broken or negative"),
        ("negative_offset", "offset is negative"),
        ("huge_shape", "reaches outside"),
        ("huge_expanded", "seen through 32 stored ones"),
        ("huge_stride", "reaches outside"),
        ("out_of_bounds", "reaches outside"),
        ("too_few_elements", "reaches outside"),
        ("too_many_elements", "too few"),
        ("unknown_storage", "torch.SecretStorage is not known"),
        ("quantised", "torch._utils._rebuild_qtensor"),
        ("parameter_of_itself", "no tensor"),
        ("extension", "registry number"),
        ("no_stop", "ends 1 bytes early"),
    ] {
        let message = message(name);
        assert!(message.contains(part), "{name}: {message}");
    }
}

/// Programs made to cost: each must end within seconds whatever it says.
#[test]
fn costly_pickles_are_bounded() {
    let tensor = std::fs::read(danqing_testing::fixture_path("corpus/pickle/sound_tensor.pkl")).unwrap();
    // Without protocol, dictionary and name: the tensor itself, kept in memo 0.
    let tensor = [&tensor[2 + 1 + 6..tensor.len() - 2], b"q\x000"].concat();
    let wide_list = [b"]q\x01(".as_slice(), &b"h\x01".repeat(500_000), b"e"].concat();
    let wide_tensors = [b"]q\x01(".as_slice(), &b"h\x00".repeat(500_000), b"e"].concat();
    let mut doubling = b"h\x00q\x01".to_vec();
    for _ in 0..200 {
        doubling.extend_from_slice(b"0h\x01h\x01\x86q\x01");
    }
    let scalars =
        [b"]q\x02(".as_slice(), &b"N".repeat(1_000_000), b"h\x00e0]q\x01(", &b"h\x02".repeat(500_000), b"e"].concat();
    let deep = [b"h\x00".as_slice(), &b"\x85".repeat(1_000_000)].concat();
    for (name, body) in [
        ("wide list of itself", wide_list),
        ("one tensor under many names", wide_tensors),
        ("tuples that double", doubling),
        ("scalars seen many times", scalars),
        ("tuples in tuples", deep),
        ("empty values", b"N".repeat(3_900_000)),
        ("open lists", b"]".repeat(3_900_000)),
    ] {
        let program = [b"\x80\x02".as_slice(), &tensor, &body, b"."].concat();
        let start = std::time::Instant::now();
        let result = torch::parse_program(name, &program, &[("0", &[0; 32])]);
        let took = start.elapsed();
        println!("{name}: {took:?}, {}", result.as_ref().map_or_else(ToString::to_string, |w| w.len().to_string()));
        assert!(result.is_err(), "{name}");
        assert!(took < danqing_testing::mutate::SLOW, "{name}: {took:?}");
    }
}
