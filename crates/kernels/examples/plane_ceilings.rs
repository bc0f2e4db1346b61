//! What convolutions between bordered maps reach of the multiply-add loop, as upscalers use them: `[1, side, side, c]` to as many
//! channels, 3×3, with SiLU. `cargo run --release -p danqing-kernels --example plane_ceilings [THREADS]`.

use std::time::Instant;

use danqing_kernels::conv::{Conv2dShape, PackedConv, Plane, PlaneEnds, conv2d_plane};
use danqing_kernels::gemm::{Activation, Precision};
use danqing_kernels::isa::{Isa, isa};
use danqing_kernels::{Element, ceilings, threads};
use half::bf16;

fn main() {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    threads::set_threads(count);
    for (side, channels) in
        [(16, 32), (32, 32), (16, 64), (16, 48), (128, 28), (128, 32), (128, 48), (128, 64), (512, 48), (512, 64)]
    {
        for activation in [Activation::None, Activation::Silu] {
            let f32s = rate::<f32>(side, channels, activation) / ceiling(Isa::Avx512, count);
            let bf16s = rate::<bf16>(side, channels, activation) / ceiling(isa(), count);
            println!(
                "{side}x{side} {channels} channels {activation:?}: f32 {f32s:.0} %, bf16 {bf16s:.0} % of the loop"
            );
        }
    }
}

fn ceiling(isa: Isa, threads: usize) -> f64 {
    ceilings::measure(isa).unwrap_or(f64::NAN) * threads as f64 / 100.0
}

/// Operations per second.
fn rate<E: Element>(side: usize, channels: usize, activation: Activation) -> f64 {
    let mut maps = [(); 2].map(|()| Plane::<E>::zeroed(1, side, side, channels));
    maps[0].fill_rows(0..side, &|_, y, row| {
        row.iter_mut().enumerate().for_each(|(i, v)| *v = E::from_f32(((i * 7 + y * 3) % 17) as f32 / 17.0));
    });
    let shape = Conv2dShape::same(1, side, side, channels, channels, 3);
    let weights: Vec<f32> = (0..shape.weight_len()).map(|i| (i % 13) as f32 / 13.0 - 0.5).collect();
    let (pack, bias) = (PackedConv::pack(&weights, &shape, Precision::of::<E>()), vec![0.1; channels]);
    let ends = PlaneEnds { bias: Some(&bias), activation, ..PlaneEnds::default() };
    let (from, to) = maps.split_at_mut(1);
    let mut best = f64::INFINITY;
    for _ in 0..40 {
        let start = Instant::now();
        conv2d_plane(&[&from[0]], &pack, &mut to[0], 0, 0..side, &ends);
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (side * side * 9 * channels * channels) as f64 / best
}
