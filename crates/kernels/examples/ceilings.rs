//! Prints this machine's multiply-add ceilings, and what products and convolutions reach of them, on one core.
//!
//! `cargo run --release -p danqing-kernels --example ceilings [-- filter]`; a filter keeps the rows that contain it.
//! `DANQING_ISA` chooses another instruction set.

use danqing_kernels::conv::{Conv2dShape, PackedConv, conv2d, conv2d_grad_input, conv2d_grad_weight};
use danqing_kernels::gemm::{Activation, Epilogue, PackedB, Precision, gemm, gemm_at_b, matmul};
use danqing_kernels::isa::{Isa, isa};
use danqing_kernels::{Element, ceilings, threads};
use half::bf16;
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    threads::set_threads(1);
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!("ceilings of one core, GFLOP/s");
    for isa in [Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx] {
        if let Some(rate) = ceilings::measure(isa) {
            println!("  {:12} {:7.0}", isa.name(), rate / 1e9);
        }
    }
    println!("{:44} {:>17} {:>17}   ({})", "", "f32", "bf16", isa().name());
    let bench = Bench { filter, peaks: [peak(Precision::F32), peak(Precision::Bf16)] };
    bench.products();
    bench.convolutions();
    bench.gradients();
}

/// The ceiling for a precision under the chosen instruction set.
fn peak(precision: Precision) -> f64 {
    let loop_of = match (isa(), precision) {
        (Isa::Amx | Isa::Avx512Bf16, Precision::F32) => Isa::Avx512,
        (isa, _) => isa,
    };
    ceilings::measure(loop_of).unwrap_or(f64::NAN)
}

struct Bench {
    filter: String,
    peaks: [f64; 2],
}

impl Bench {
    /// Prints a row: the best of a few runs in each precision.
    fn row(&self, name: &str, flops: u64, runs: [&mut dyn FnMut(); 2]) {
        if !name.contains(&self.filter) {
            return;
        }
        print!("{name:44}");
        for (run, peak) in runs.into_iter().zip(self.peaks) {
            run();
            let (mut best, start) = (f64::INFINITY, Instant::now());
            while start.elapsed() < Duration::from_millis(60) {
                let start = Instant::now();
                run();
                best = best.min(start.elapsed().as_secs_f64());
            }
            print!(" {:8.0} = {:3.0} %", flops as f64 / best / 1e9, flops as f64 / best / peak * 100.0);
            print!(" {:7.3} ms", best * 1e3);
        }
        println!();
    }

    fn products(&self) {
        for (m, k, n) in [
            (2048, 2048, 2048),
            (4096, 320, 320),
            (4096, 320, 1280),
            (4096, 1280, 320),
            (1024, 640, 640),
            (256, 1280, 1280),
            (8192, 192, 768),
            (2048, 768, 192),
            (77, 768, 768),
            (77, 768, 3072),
            (16, 1280, 1280),
            (1, 320, 1280),
        ] {
            let flops = 2 * (m * k * n) as u64;
            self.row(
                &format!("gemm {m}x{k}x{n}"),
                flops,
                [&mut gemm_run::<f32>(m, k, n), &mut gemm_run::<bf16>(m, k, n)],
            );
        }
        let mut runs = (matmul_run::<f32>(8, 256, 64), matmul_run::<bf16>(8, 256, 64));
        self.row("matmul 8x 256x64x256 (b transposed)", 2 * 8 * 256 * 64 * 256, [&mut runs.0, &mut runs.1]);
    }

    fn convolutions(&self) {
        for (shape, name) in shapes() {
            let runs = [&mut conv_run::<f32>(shape) as &mut dyn FnMut(), &mut conv_run::<bf16>(shape)];
            self.row(&format!("conv {name}"), shape.flops(), runs);
        }
    }

    fn gradients(&self) {
        for (m, k, n) in [(8192, 192, 768), (8192, 768, 192), (4096, 320, 1280)] {
            let runs = [&mut at_b_run::<f32>(m, k, n) as &mut dyn FnMut(), &mut at_b_run::<bf16>(m, k, n)];
            self.row(&format!("dw linear {m}x{k}x{n}"), 2 * (m * k * n) as u64, runs);
        }
        for (shape, name) in shapes().into_iter().filter(|(shape, _)| shape.width <= 64) {
            let runs = [&mut dw_run::<f32>(shape) as &mut dyn FnMut(), &mut dw_run::<bf16>(shape)];
            self.row(&format!("dw   {name}"), shape.flops(), runs);
        }
        for (shape, name) in shapes().into_iter().filter(|(shape, _)| shape.width <= 64) {
            let runs = [&mut dx_run::<f32>(shape) as &mut dyn FnMut(), &mut dx_run::<bf16>(shape)];
            self.row(&format!("dx (with packing) {name}"), shape.flops(), runs);
        }
    }
}

fn shapes() -> Vec<(Conv2dShape, &'static str)> {
    let same = Conv2dShape::same;
    vec![
        (same(1, 64, 64, 320, 320, 3), "320->320 @64"),
        (same(1, 32, 32, 640, 640, 3), "640->640 @32"),
        (same(1, 16, 16, 1280, 1280, 3), "1280->1280 @16"),
        (same(1, 8, 8, 1280, 1280, 3), "1280->1280 @8"),
        (same(1, 64, 64, 512, 512, 3), "512->512 @64"),
        (same(1, 256, 256, 256, 256, 3), "256->256 @256"),
        (same(1, 512, 512, 128, 128, 3), "128->128 @512"),
        (same(1, 64, 64, 320, 320, 1), "1x1 320->320 @64"),
        (same(1, 64, 64, 4, 320, 3), "4->320 @64"),
        (same(1, 64, 64, 320, 4, 3), "320->4 @64"),
        (Conv2dShape { stride: [2, 2], ..same(1, 64, 64, 320, 320, 3) }, "320->320 @64 stride 2"),
        (same(32, 32, 32, 64, 64, 3), "64->64 @32 batch 32"),
        (same(32, 16, 16, 128, 128, 3), "128->128 @16 batch 32"),
        (same(32, 8, 8, 192, 192, 3), "192->192 @8 batch 32"),
        (same(8, 64, 64, 64, 64, 3), "64->64 @64 batch 8"),
    ]
}

/// Small numbers that differ.
fn values<E: Element>(len: usize) -> Vec<E> {
    (0..len).map(|i| E::from_f32((i * 7919 % 2003) as f32 / 2003.0 - 0.5)).collect()
}

fn gemm_run<E: Element>(m: usize, k: usize, n: usize) -> impl FnMut() {
    let (a, w, bias) = (values::<E>(m * k), values::<E>(k * n), values::<f32>(n));
    let b = PackedB::pack(&w, 1, k, n, [0, n, 1], Precision::of::<E>());
    let mut out = vec![E::ZERO; m * n];
    move || {
        gemm(&a, k, m, &b, &mut out, n, &Epilogue { bias: Some(&bias), ..Epilogue::default() });
        black_box(&out);
    }
}

fn matmul_run<E: Element>(batch: usize, m: usize, k: usize) -> impl FnMut() {
    let (a, b) = (values::<E>(batch * m * k), values::<E>(batch * m * k));
    let mut out = vec![E::ZERO; batch * m * m];
    move || {
        matmul(&a, false, &b, true, batch, m, k, m, &mut out);
        black_box(&out);
    }
}

fn conv_run<E: Element>(shape: Conv2dShape) -> impl FnMut() {
    let (x, w, bias) = (values::<E>(shape.input_len()), values::<E>(shape.weight_len()), values::<f32>(shape.c_out));
    let w = PackedConv::pack(&w, &shape, Precision::of::<E>());
    let mut out = vec![E::ZERO; shape.output_len()];
    move || {
        let epilogue = Epilogue { bias: Some(&bias), activation: Activation::None, ..Epilogue::default() };
        conv2d(&x, &shape, &w, &mut out, &epilogue);
        black_box(&out);
    }
}

fn dx_run<E: Element>(shape: Conv2dShape) -> impl FnMut() {
    let (dy, w) = (values::<E>(shape.output_len()), values::<f32>(shape.weight_len()));
    let mut dx = vec![E::ZERO; shape.input_len()];
    move || {
        let w = PackedConv::pack_grad_input(&w, &shape, Precision::of::<E>());
        conv2d_grad_input(&dy, &shape, &w, &mut dx);
        black_box(&dx);
    }
}

fn dw_run<E: Element>(shape: Conv2dShape) -> impl FnMut() {
    let (x, dy) = (values::<E>(shape.input_len()), values::<E>(shape.output_len()));
    let mut dw = vec![0f32; shape.weight_len()];
    move || {
        conv2d_grad_weight(&x, &dy, &shape, &mut dw, true);
        black_box(&dw);
    }
}

fn at_b_run<E: Element>(m: usize, k: usize, n: usize) -> impl FnMut() {
    let (a, dy) = (values::<E>(m * k), values::<E>(m * n));
    let mut dw = vec![0f32; k * n];
    move || {
        gemm_at_b(&a, &dy, m, k, n, &mut dw, true);
        black_box(&dw);
    }
}
