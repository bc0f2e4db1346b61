//! Speed of attention per shape, forward and gradient, in f32 and bf16: GFLOP/s counted as 4 · q · kv · d per head
//! forward and 10 · q · kv · d backward. Takes the best of some runs; a word on the command line picks rows by name.

use danqing_kernels::Element;
use danqing_kernels::attention::{AttentionGrad, AttentionInput, AttentionShape, attention, attention_grad};
use danqing_kernels::isa::isa;
use danqing_kernels::threads::{set_threads, threads};
use half::bf16;
use std::time::Instant;

/// Name, batch, heads, queries, keys, head width, whether training uses it.
const SHAPES: [(&str, usize, usize, usize, usize, usize, bool); 12] = [
    ("sd self 64x64", 1, 8, 4096, 4096, 40, false),
    ("sd self 32x32", 1, 8, 1024, 1024, 80, false),
    ("sd self 16x16", 1, 8, 256, 256, 160, false),
    ("sd cross 64x64", 1, 8, 4096, 77, 40, false),
    ("sdxl self 64x64", 1, 10, 4096, 4096, 64, false),
    ("sdxl self 32x32", 1, 20, 1024, 1024, 64, false),
    ("clip causal", 1, 12, 77, 77, 64, false),
    ("vae", 1, 1, 4096, 4096, 512, false),
    ("train d16", 32, 4, 256, 256, 16, false),
    ("train d32", 32, 4, 256, 256, 32, true),
    ("train d48", 64, 4, 256, 256, 48, true),
    ("train cross d32", 64, 4, 256, 32, 32, true),
];

fn numbers<E: Element>(len: usize, seed: u32) -> Vec<E> {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        E::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..len).map(|_| draw()).collect()
}

/// Seconds that this thread has had a core, where the system tells (a busy machine then matters less), else `None`.
fn busy() -> Option<f64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1e-9)
}

/// Seconds per run, of about a third of a second's runs: their best, or their mean time on a core if that is less.
fn seconds(mut run: impl FnMut()) -> f64 {
    run();
    let (start, before) = (Instant::now(), busy().filter(|_| threads() == 1));
    let (mut best, mut runs) = (f64::INFINITY, 0.0);
    while start.elapsed().as_secs_f64() < 0.3 {
        let one = Instant::now();
        run();
        best = best.min(one.elapsed().as_secs_f64());
        runs += 1.0;
    }
    let mean = before.and_then(|before| Some((busy()? - before) / runs));
    mean.unwrap_or(best).min(best)
}

fn measure<E: Element>(kind: &str, wanted: Option<&str>) {
    for (name, b, h, q_len, kv_len, d, training) in SHAPES {
        if wanted.is_some_and(|wanted| !format!("{name} {kind}").contains(wanted)) {
            continue;
        }
        let shape = AttentionShape { causal: name.contains("causal"), ..AttentionShape::new(b, h, q_len, kv_len, d) };
        let (rows, keys) = (b * q_len * h * d, b * kv_len * h * d);
        let (q, k, v, dout) =
            (numbers::<E>(rows, 1), numbers::<E>(keys, 2), numbers::<E>(keys, 3), numbers::<E>(rows, 4));
        let input = AttentionInput { q: &q, k: &k, v: &v, key_bias: None };
        let (mut out, mut lse) = (vec![E::ZERO; rows], vec![0.0; b * h * q_len]);
        let flop = (b * h * q_len * kv_len * d) as f64 * 4e-9;
        let time = seconds(|| attention(&input, &shape, &mut out, Some(&mut lse)));
        print!("{name:16} {kind} forward {:9.3} ms {:7.1} GFLOP/s", time * 1e3, flop / time);
        if training {
            let (mut dq, mut dk, mut dv) = (out.clone(), k.clone(), v.clone());
            let time = seconds(|| {
                let grad = AttentionGrad { dq: &mut dq, dk: &mut dk, dv: &mut dv };
                attention_grad(&input, &shape, &out, &dout, &lse, grad);
            });
            print!("   gradient {:9.3} ms {:7.1} GFLOP/s", time * 1e3, 2.5 * flop / time);
        }
        println!();
    }
}

fn main() {
    let wanted = std::env::args().nth(1);
    if std::env::var_os("DANQING_THREADS").is_none() {
        set_threads(1);
    }
    println!("{:?}, {} thread(s)", isa(), threads());
    measure::<f32>("f32", wanted.as_deref());
    measure::<bf16>("bf16", wanted.as_deref());
}
