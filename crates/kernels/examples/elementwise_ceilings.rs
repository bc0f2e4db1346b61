//! Speed of norms, activations, GEGLU and softmax in GB/s of values read once and written once, f32 and bf16, against a
//! plain copy of as many bytes.

use danqing_kernels::Element;
use danqing_kernels::elementwise::{AdamW, Unary, adamw, column_sums, geglu, geglu_grad, softmax, unary};
use danqing_kernels::gemm::Activation;
use danqing_kernels::isa::isa;
use danqing_kernels::norm::{GroupNorm, group_norm, group_norm_grad, layer_norm};
use danqing_kernels::threads::{set_threads, threads};
use half::bf16;
use std::time::Instant;

const PIXELS: usize = 4096;
const CHANNELS: usize = 320;

/// The best time of a quarter of a second's runs.
fn best(mut run: impl FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < 0.25 {
        let one = Instant::now();
        run();
        best = best.min(one.elapsed().as_secs_f64());
    }
    best
}

fn measure<E: Element>(kind: &str) {
    let len = PIXELS * CHANNELS;
    let x: Vec<E> = (0..2 * len).map(|i| E::from_f32((i * 7919 % 4001) as f32 / 1000.0 - 2.0)).collect();
    let (wide, x) = (&x[..], &x[..len]);
    let mut out = vec![E::ZERO; len];
    let (gamma, beta) = (vec![1.0; CHANNELS], vec![0.0; CHANNELS]);
    let norm = |activation| GroupNorm {
        batch: 1,
        pixels: PIXELS,
        channels: CHANNELS,
        groups: 32,
        gamma: &gamma,
        beta: &beta,
        epsilon: 1e-5,
        activation,
    };
    let report = |name: &str, bytes: usize, time: f64| {
        println!("{name:18} {kind:4} {:8.3} ms {:7.1} GB/s", time * 1e3, bytes as f64 * 1e-9 / time);
    };
    let both = 2 * size_of_val(x);
    report("copy", both, best(|| out.copy_from_slice(x)));
    report("group norm", both, best(|| group_norm(x, &norm(Activation::None), &mut out, None)));
    report("group norm + silu", both, best(|| group_norm(x, &norm(Activation::Silu), &mut out, None)));
    report("layer norm", both, best(|| layer_norm(x, &gamma, &beta, 1e-5, &mut out, None)));
    report("silu", both, best(|| unary(Unary::Silu, x, &mut out)));
    report("gelu", both, best(|| unary(Unary::Gelu, x, &mut out)));
    report("exp", both, best(|| unary(Unary::Exp, x, &mut out)));
    report("geglu", both / 2 * 3, best(|| geglu(wide, CHANNELS, &mut out)));
    report("softmax", both, best(|| softmax(x, CHANNELS, &mut out)));
    let mut dx = vec![E::ZERO; 2 * len];
    report("geglu gradient", both / 2 * 5, best(|| geglu_grad(wide, x, CHANNELS, &mut dx)));
    let silu = norm(Activation::Silu);
    let (mut stats, mut dgamma, mut dbeta) = (vec![0.0; 64], vec![0.0; CHANNELS], vec![0.0; CHANNELS]);
    group_norm(x, &silu, &mut out, Some(&mut stats));
    let run = || group_norm_grad(x, x, &silu, &stats, &mut out, &mut dgamma, &mut dbeta);
    report("norm+silu gradient", both / 2 * 3, best(run));
    report("column sums", both / 2, best(|| column_sums(x, &mut dbeta, false)));
}

fn main() {
    if std::env::var_os("DANQING_THREADS").is_none() {
        set_threads(1);
    }
    println!("{:?}, {} thread(s); {PIXELS} x {CHANNELS} values", isa(), threads());
    measure::<f32>("f32");
    let n = PIXELS * CHANNELS;
    let (gradient, mut weights, mut mean, mut square) =
        (vec![0.1f32; n], vec![1.0f32; n], vec![0.0f32; n], vec![0.0f32; n]);
    let step = AdamW {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        step: 10,
        gradient_scale: 1.0,
    };
    let time = best(|| adamw(&step, &gradient, &mut weights, &mut mean, &mut square));
    println!("adamw              f32  {:8.3} ms {:7.1} GB/s", time * 1e3, n as f64 * 28e-9 / time);
    measure::<bf16>("bf16");
}
