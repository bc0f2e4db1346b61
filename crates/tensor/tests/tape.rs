//! What the tape promises: what is recorded, summed, refused and recomputed.

use danqing_tensor::{
    Activation, Conv2dOptions, DType, Gradients, Param, Result, Rng, Tensor, TensorError, checkpoint, no_grad,
};

fn leaf(values: &[f32]) -> Tensor {
    Tensor::from_slice(values, &[values.len()]).unwrap().with_grad()
}

fn param(name: &str, shape: &[usize], rng: &mut Rng) -> Param {
    let param = Param::new(name, Tensor::rand(shape, -0.5, 0.5, rng).unwrap());
    param.trainable(true);
    param
}

#[test]
fn only_what_needs_a_gradient_is_recorded() {
    let x = Tensor::from_vec(vec![1.0, 2.0], &[2]).unwrap();
    assert!(!x.square().unwrap().requires_grad());
    assert!(x.with_grad().square().unwrap().requires_grad());
    assert!(!no_grad(|| x.with_grad().square().unwrap()).requires_grad());
    assert!(!x.with_grad().square().unwrap().detach().requires_grad());
    let w = Param::new("w", x.clone());
    assert!(!w.tensor().requires_grad(), "a new parameter is frozen");
    w.trainable(true);
    assert!(w.tensor().requires_grad());
}

#[test]
fn a_graph_is_walked_once() {
    let x = leaf(&[3.0]);
    let y = x.square().unwrap();
    let loss = y.sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec(), [6.0]);
    let error = loss.backward().err().unwrap().to_string();
    assert_eq!(error, "backward: the graph was walked before and freed (at `sum`); compute the loss anew");
    // A part of a freed graph is freed too.
    assert!(matches!(y.sum_all().unwrap().backward(), Err(TensorError::Graph { .. })));
    // The leaf itself lives on.
    assert_eq!(x.sum_all().unwrap().backward().unwrap().get(&x).unwrap().to_vec(), [1.0]);
}

#[test]
fn impossible_walks_are_refused() {
    let x = leaf(&[3.0, 4.0]);
    assert!(x.square().unwrap().backward().err().unwrap().to_string().contains("a loss of one element"));
    assert!(x.detach().sum_all().unwrap().backward().err().unwrap().to_string().contains("does not depend"));
    let wrong = Tensor::zeros(&[3], DType::F32).unwrap();
    assert!(x.square().unwrap().backward_from(&wrong, &mut Gradients::new()).is_err());
}

#[test]
fn gradients_of_several_losses_add_up() {
    let mut rng = Rng::new(1);
    let (w, b) = (param("w", &[3, 4], &mut rng), param("b", &[3], &mut rng));
    let batches: Vec<Tensor> = (0..2).map(|_| Tensor::randn(&[5, 4], &mut rng).unwrap()).collect();
    let loss = |x: &Tensor| x.linear(&w, Some(&b)).unwrap().square().unwrap().mean_all().unwrap();
    let mut summed = Gradients::new();
    batches.iter().for_each(|x| loss(x).backward_into(&mut summed).unwrap());
    let one = loss(&batches[0]).add(&loss(&batches[1])).unwrap().backward().unwrap();
    for p in [&w, &b] {
        danqing_testing::assert_close(p.name(), summed.slice(p).unwrap(), one.slice(p).unwrap(), 1e-6);
    }
}

#[test]
fn an_unused_parameter_has_no_gradient_and_a_changed_one_new_values() {
    let mut rng = Rng::new(2);
    let (w, other) = (param("w", &[2, 2], &mut rng), param("other", &[2], &mut rng));
    let x = Tensor::from_vec(vec![1.0, 2.0], &[1, 2]).unwrap();
    let first = x.linear(&w, None).unwrap();
    assert!(first.sum_all().unwrap().backward().unwrap().slice(&other).is_none());
    w.update(|values| values.iter_mut().for_each(|v| *v *= 2.0)).unwrap();
    let second = x.linear(&w, None).unwrap().to_vec();
    let doubled: Vec<f32> = first.to_vec().iter().map(|v| v * 2.0).collect();
    danqing_testing::assert_close("updated", &second, &doubled, 1e-6);
    assert!(w.set(Tensor::zeros(&[3], DType::F32).unwrap()).is_err());
}

/// A residual block that also sees a tensor from outside.
fn block(x: &Tensor, outside: &Tensor, w: &Param, gamma: &Param, beta: &Param) -> Result<Tensor> {
    let h = x.group_norm(2, gamma, beta, 1e-5, Activation::Silu)?;
    h.conv2d(w, None, Conv2dOptions::padded(1))?.add(&outside.exp()?)?.add(x)
}

#[test]
fn checkpointed_gradients_are_equal() {
    let mut rng = Rng::new(3);
    let w: Vec<Param> = (0..3).map(|i| param(&format!("w{i}"), &[4, 4, 3, 3], &mut rng)).collect();
    let (gamma, beta) = (param("gamma", &[4], &mut rng), param("beta", &[4], &mut rng));
    let input = Tensor::randn(&[2, 5, 3, 4], &mut rng).unwrap();
    let time = Tensor::randn(&[2, 1, 1, 4], &mut rng).unwrap();
    let run = |mode: usize| {
        let (x, t) = (input.with_grad(), time.with_grad());
        let outside = t.square().unwrap();
        let mut h = x.clone();
        for w in &w {
            let (w, gamma, beta, outside) = (w.clone(), gamma.clone(), beta.clone(), outside.clone());
            h = match mode {
                0 => block(&h, &outside, &w, &gamma, &beta).unwrap(),
                1 => checkpoint(&[&h], move |h| block(&h[0], &outside, &w, &gamma, &beta)).unwrap(),
                _ => {
                    let f = move |h: &[Tensor]| {
                        let (w, gamma, beta, outside) = (w.clone(), gamma.clone(), beta.clone(), outside.clone());
                        checkpoint(&[&h[0]], move |h| block(&h[0], &outside, &w, &gamma, &beta))?.mul_scalar(1.0)
                    };
                    checkpoint(&[&h], f).unwrap()
                }
            };
        }
        let loss = h.square().unwrap().mean_all().unwrap();
        let gradients = loss.backward().unwrap();
        let mut all = vec![loss.to_vec(), gradients.get(&x).unwrap().to_vec(), gradients.get(&t).unwrap().to_vec()];
        all.extend(w.iter().chain([&gamma, &beta]).map(|p| gradients.slice(p).unwrap().to_vec()));
        all
    };
    let plain = run(0);
    assert_eq!(plain, run(1));
    assert_eq!(plain, run(2), "one inside another");
    let frozen = checkpoint(&[&input], |x| x[0].square()).unwrap();
    assert!(!frozen.requires_grad(), "nothing inside needs a gradient");
}

#[test]
fn very_long_chains_are_dropped_and_walked() {
    let x = leaf(&[1.0]);
    let chain = || (0..100_000).fold(x.clone(), |y, _| y.add_scalar(1e-5).unwrap());
    drop(chain());
    let y = chain();
    assert_eq!(y.backward().unwrap().get(&x).unwrap().to_vec(), [1.0]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        danqing_kernels::threads::set_threads(threads);
        let mut rng = Rng::new(4);
        let w = param("w", &[24, 16, 3, 3], &mut rng);
        let (gamma, beta) = (param("gamma", &[16], &mut rng), param("beta", &[16], &mut rng));
        let x = Tensor::randn(&[3, 17, 19, 16], &mut rng).unwrap().with_grad();
        let y = x.group_norm(4, &gamma, &beta, 1e-5, Activation::Silu).unwrap();
        let y = y.conv2d(&w, None, Conv2dOptions::padded(1)).unwrap();
        let gradients = y.square().unwrap().mean_all().unwrap().backward().unwrap();
        let mut all = vec![y.to_vec(), gradients.get(&x).unwrap().to_vec()];
        all.extend([&w, &gamma, &beta].map(|p| gradients.slice(p).unwrap().to_vec()));
        all
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn frozen_weights_are_held_once() {
    let mut rng = Rng::new(5);
    let value = Tensor::randn(&[40, 50], &mut rng).unwrap().cast(DType::Bf16).unwrap();
    let w = Param::new("w", value.clone());
    let x = Tensor::randn(&[2, 50], &mut rng).unwrap().cast(DType::Bf16).unwrap();
    let before = x.linear(&w, None).unwrap().to_vec();
    // k is padded to a multiple of 32, n to one of 16: 64 · 48 elements.
    assert!(w.bytes() <= 64 * 48 * 2 + 256, "{} bytes", w.bytes());
    assert_eq!(w.value().to_vec(), value.to_vec());
    assert_eq!(x.linear(&w, None).unwrap().to_vec(), before);
    // A trainable one keeps its plain values, and a bf16 pack of f32 values does not replace them.
    let wide = Param::new("wide", Tensor::randn(&[40, 50], &mut rng).unwrap());
    let values = wide.value().to_vec();
    x.linear(&wide, None).unwrap();
    assert_eq!(wide.value().to_vec(), values);
}
