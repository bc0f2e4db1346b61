//! Memory of a training step, by the pool's counters. One test, for the counters are the whole process's.

use danqing_kernels::pool;
use danqing_tensor::{DType, Param, Tensor, checkpoint};

const LAYERS: usize = 24;
const ROWS: usize = 4096;
const WIDTH: usize = 64;
/// Bytes of one activation.
const ACTIVATION: usize = ROWS * WIDTH * 4;

fn step(layers: &[Param], checkpointed: bool) -> (usize, usize) {
    pool::reset_peak();
    let base = pool::current_bytes();
    let mut x = Tensor::ones(&[ROWS, WIDTH], DType::F32).unwrap();
    for pair in layers.chunks(4) {
        let run = {
            let pair = pair.to_vec();
            move |x: &[Tensor]| pair.iter().try_fold(x[0].clone(), |x, w| x.linear(w, None)?.silu())
        };
        x = if checkpointed { checkpoint(&[&x], run).unwrap() } else { run(&[x]).unwrap() };
    }
    let loss = x.square().unwrap().mean_all().unwrap();
    drop(x);
    let held = pool::current_bytes() - base;
    let gradients = loss.backward().unwrap();
    assert!(layers.iter().all(|w| gradients.slice(w).is_some()));
    let peak = pool::peak_bytes() - base;
    drop(gradients);
    let left = pool::current_bytes() - base;
    assert!(left < 2 * ACTIVATION + LAYERS * 10 * WIDTH * WIDTH * 4, "the walked graph still holds {left} bytes");
    (held, peak)
}

#[test]
fn the_walk_frees_what_it_has_walked() {
    let weights = || Tensor::full(&[WIDTH, WIDTH], 0.02, DType::F32).unwrap();
    let layers: Vec<Param> = (0..LAYERS).map(|i| Param::new(format!("w{i}"), weights())).collect();
    layers.iter().for_each(|w| w.trainable(true));
    let (held, peak) = step(&layers, false);
    // Each layer saves two activations; the walk needs a few more at a time, not one more per layer.
    assert!(held >= 2 * LAYERS * ACTIVATION, "{held}");
    assert!(peak <= held + 6 * ACTIVATION, "held {held}, peak {peak}");
    // A step like the one before finds all its memory in the pool.
    let known = pool::kept_bytes() + pool::current_bytes();
    step(&layers, false);
    assert_eq!(pool::kept_bytes() + pool::current_bytes(), known, "a steady state asks the system for nothing");
    let (held, peak) = step(&layers, true);
    // Six blocks of four layers: the inputs of the blocks, and one block's activations at a time.
    assert!(held <= (LAYERS / 4 + 4) * ACTIVATION, "{held}");
    assert!(peak <= held + 14 * ACTIVATION, "held {held}, peak {peak}");
}
