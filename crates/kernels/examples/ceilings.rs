//! Prints this machine's multiply-add ceilings, and what products and convolutions reach of them, on one core.
//!
//! `cargo run --release -p danqing-kernels --example ceilings [-- filter]`; a filter keeps the rows that contain it.
//! `DANQING_ISA` chooses another instruction set.

use danqing_kernels::alloc::AlignedVec;
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
    /// Prints a row: the best of a few runs in each precision. The runs are set up only if the row is wanted.
    fn row<A: FnMut(), B: FnMut()>(&self, name: &str, flops: u64, set_up: impl FnOnce() -> (A, B)) {
        if !name.contains(&self.filter) {
            return;
        }
        print!("{name:44}");
        let (mut wide, mut narrow) = set_up();
        for (run, peak) in [&mut wide as &mut dyn FnMut(), &mut narrow].into_iter().zip(self.peaks) {
            run();
            let (mut best, start) = (f64::INFINITY, Instant::now());
            while start.elapsed() < Duration::from_millis(60) {
                let start = ceilings::thread_seconds();
                run();
                best = best.min(ceilings::thread_seconds() - start);
            }
            let rate = flops as f64 / best;
            print!(" {:8.0} = {:3.0} % {:8.3} ms", rate / 1e9, rate / peak * 100.0, best * 1e3);
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
            (4096, 320, 2560),
            (1024, 640, 5120),
            (256, 1280, 10240),
            (256, 5120, 1280),
            (64, 1280, 1280),
            (16, 1280, 1280),
            (1, 320, 1280),
        ] {
            let flops = 2 * (m * k * n) as u64;
            self.row(&format!("gemm {m}x{k}x{n}"), flops, || (gemm_run::<f32>(m, k, n), gemm_run::<bf16>(m, k, n)));
        }
        self.row("matmul 8x 256x64x256 (b transposed)", 2 * 8 * 256 * 64 * 256, || {
            (matmul_run::<f32>(8, 256, 64), matmul_run::<bf16>(8, 256, 64))
        });
    }

    fn convolutions(&self) {
        for (shape, name) in shapes() {
            self.row(&format!("conv {name}"), shape.flops(), || (conv_run::<f32>(shape), conv_run::<bf16>(shape)));
        }
    }

    fn gradients(&self) {
        for (m, k, n) in [(8192, 192, 768), (8192, 768, 192), (4096, 320, 1280)] {
            self.row(&format!("dw linear {m}x{k}x{n}"), 2 * (m * k * n) as u64, || {
                (at_b_run::<f32>(m, k, n), at_b_run::<bf16>(m, k, n))
            });
        }
        for (shape, name) in shapes().into_iter().filter(|(shape, _)| shape.width <= 64) {
            self.row(&format!("dw   {name}"), shape.flops(), || (dw_run::<f32>(shape), dw_run::<bf16>(shape)));
        }
        for (shape, name) in shapes().into_iter().filter(|(shape, _)| shape.width <= 64) {
            self.row(&format!("dx   {name}"), shape.flops(), || (dx_run::<f32>(shape), dx_run::<bf16>(shape)));
        }
        for (shape, name) in shapes().into_iter().filter(|(shape, _)| shape.width <= 32) {
            self.row(&format!("pack {name}"), shape.flops(), || (pack_run::<f32>(shape), pack_run::<bf16>(shape)));
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
        (same(1, 16, 16, 2560, 1280, 3), "2560->1280 @16"),
        (same(1, 8, 8, 2560, 1280, 3), "2560->1280 @8"),
        (same(1, 64, 64, 512, 512, 3), "512->512 @64"),
        (same(1, 128, 128, 512, 512, 3), "512->512 @128"),
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
fn values<E: Element>(len: usize) -> AlignedVec<E> {
    let mut values = AlignedVec::zeroed(len);
    for (i, value) in values.iter_mut().enumerate() {
        *value = E::from_f32((i * 7919 % 2003) as f32 / 2003.0 - 0.5);
    }
    values
}

fn gemm_run<E: Element>(m: usize, k: usize, n: usize) -> impl FnMut() {
    let (a, w, bias) = (values::<E>(m * k), values::<E>(k * n), values::<f32>(n));
    let b = PackedB::pack(&w, 1, k, n, [0, n, 1], Precision::of::<E>());
    let mut out = AlignedVec::<E>::zeroed(m * n);
    move || {
        gemm(&a, k, m, &b, &mut out, n, &Epilogue { bias: Some(&bias), ..Epilogue::default() });
        black_box(&out);
    }
}

fn matmul_run<E: Element>(batch: usize, m: usize, k: usize) -> impl FnMut() {
    let (a, b) = (values::<E>(batch * m * k), values::<E>(batch * m * k));
    let mut out = AlignedVec::<E>::zeroed(batch * m * m);
    move || {
        matmul(&a, false, &b, true, batch, m, k, m, &mut out);
        black_box(&out);
    }
}

fn conv_run<E: Element>(shape: Conv2dShape) -> impl FnMut() {
    let (x, w, bias) = (values::<E>(shape.input_len()), values::<E>(shape.weight_len()), values::<f32>(shape.c_out));
    let w = PackedConv::pack(&w, &shape, Precision::of::<E>());
    let mut out = AlignedVec::<E>::zeroed(shape.output_len());
    move || {
        let epilogue = Epilogue { bias: Some(&bias), activation: Activation::None, ..Epilogue::default() };
        conv2d(&x, &shape, &w, &mut out, &epilogue);
        black_box(&out);
    }
}

fn dx_run<E: Element>(shape: Conv2dShape) -> impl FnMut() {
    let (dy, w) = (values::<E>(shape.output_len()), values::<f32>(shape.weight_len()));
    let w = PackedConv::pack_grad_input(&w, &shape, Precision::of::<E>());
    let mut dx = AlignedVec::<E>::zeroed(shape.input_len());
    move || {
        conv2d_grad_input(&dy, &shape, &w, &mut dx);
        black_box(&dx);
    }
}

/// Both packs of a weight, as after each step of training.
fn pack_run<E: Element>(shape: Conv2dShape) -> impl FnMut() {
    let w = values::<f32>(shape.weight_len());
    move || {
        black_box(PackedConv::pack(&w, &shape, Precision::of::<E>()));
        black_box(PackedConv::pack_grad_input(&w, &shape, Precision::of::<E>()));
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
