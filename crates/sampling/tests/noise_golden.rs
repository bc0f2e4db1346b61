//! Noise against torch and numpy (`reference/gen_noise.py`).

use danqing_sampling::noise::nv::NvPhilox;
use danqing_sampling::noise::torch_cpu::TorchCpu;
use danqing_sampling::noise::{DrawOrder, DrawType, Generator, NoiseShape, SeededNoise, Variation};
use danqing_sampling::{Draw, NoiseSource};
use danqing_testing::{Blocks, Fixture};

/// Against torch, whose vector paths have a logarithm of their own.
const TORCH: (f32, f32) = (2e-6, 0.0);
const SEEDS: [u64; 4] = [0, 42, (1 << 32) + 7, (1 << 63) + 12345];

fn types() -> [(&'static str, DrawType); 3] {
    [("f32", DrawType::F32), ("f16", DrawType::F16), ("bf16", DrawType::Bf16)]
}

#[test]
fn torch_on_a_cpu() {
    let fixture = Fixture::open("reference/sampling/noise.safetensors");
    let mut blocks = Blocks::new("torch.randn");
    for (name, draw_type) in types() {
        for seed in SEEDS {
            for n in [1, 4, 15, 16, 17, 31, 100, 256] {
                let mut found = vec![0f32; n];
                TorchCpu::new(seed).normal(draw_type, &mut found);
                let key = format!("torch.{name}.{seed}.{n}");
                blocks.check(&key, &found, &fixture.f32(&key), TORCH);
            }
        }
        let mut torch = TorchCpu::new(7);
        let mut found = Vec::new();
        for n in [3, 20, 3, 16, 1, 5] {
            let mut part = vec![0f32; n];
            torch.normal(draw_type, &mut part);
            found.extend(part);
        }
        let key = format!("torch.{name}.sequence");
        blocks.check(&key, &found, &fixture.f32(&key), TORCH);
    }
    blocks.finish();
}

#[test]
fn nvidia_bit_for_bit() {
    let fixture = Fixture::open("reference/sampling/noise.safetensors");
    for seed in SEEDS {
        let mut nv = NvPhilox::new(seed);
        for call in 0..2 {
            let mut found = vec![0f32; 64];
            nv.normal(&mut found);
            assert_eq!(found, fixture.f32(&format!("nv.{seed}.{call}")), "seed {seed}, call {call}");
        }
    }
}

#[test]
fn variations_as_a1111() {
    let fixture = Fixture::open("reference/sampling/noise.safetensors");
    let shape = NoiseShape { batch: 2, channels: 4, height: 6, width: 5 };
    let variation = Variation { seed: 100, strength: 0.3 };
    let source = SeededNoise::new(Generator::Cpu(DrawType::F32), DrawOrder::A1111, shape, 5);
    let mut found = vec![0f32; shape.numel()];
    source.with_variation(variation).unwrap().draw(Draw::Initial, &mut found).unwrap();
    danqing_testing::assert_close("variation", &found, &fixture.f32("variation"), (4e-6, 0.0));
}

/// torchsde goes down the tree in f32, some twenty additions deep, and divides by the root of steps down to 0.03.
#[test]
fn torchsdes_brownian_tree() {
    let fixture = Fixture::open("reference/sampling/noise.safetensors");
    let shape = NoiseShape { batch: 2, channels: 4, height: 3, width: 5 };
    let mut blocks = Blocks::new("BrownianTreeNoiseSampler");
    for (name, order, seed) in [("a1111", DrawOrder::A1111, 42), ("comfyui", DrawOrder::ComfyUi, (1 << 40) + 7)] {
        let mut source = SeededNoise::new(Generator::Cpu(DrawType::F32), order, shape, seed);
        source.begin(&fixture.f64("tree.sigmas"));
        let mut found = Vec::new();
        for step in fixture.f64("tree.steps").chunks(2) {
            let mut draw = vec![0f32; shape.numel()];
            source.draw(Draw::Between { from: step[0], to: step[1] }, &mut draw).unwrap();
            found.extend(draw);
        }
        blocks.check(name, &found, &fixture.f32(&format!("tree.{name}")), (2e-5, 0.0));
    }
    blocks.finish();
}
