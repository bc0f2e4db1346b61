//! A network trained from PyTorch's initial weights on PyTorch's batches follows PyTorch's losses
//! (`reference/gen_training_parity.py`).

use danqing_checkpoints::Weights;
use danqing_nn::{
    AdamW, AdamWConfig, Conv2d, GroupNorm, LayerNorm, Linear, LoadError, LoadOptions, Loader, LrDecay, LrSchedule,
    clip_grad_norm,
};
use danqing_tensor::{Activation, AttentionOptions, Conv2dOptions, ConvFusion, DType, LinearFusion, Result, Tensor};
use danqing_testing::Fixture;

/// `Stack` of the script, layer by layer.
struct Stack {
    conv_in: Conv2d,
    norm1: GroupNorm,
    conv1: Conv2d,
    down: Conv2d,
    norm2: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm3: LayerNorm,
    gate: Linear,
    out: Linear,
    conv2: Conv2d,
    norm4: GroupNorm,
    conv_out: Conv2d,
}

impl Stack {
    fn load(loader: &Loader) -> std::result::Result<Stack, LoadError> {
        let same = Conv2dOptions::padded(1);
        let conv = |name: &str, c_in, c_out, options| Conv2d::load(&loader.at(name), c_in, c_out, 3, options);
        Ok(Stack {
            conv_in: conv("conv_in", 4, 16, same)?,
            norm1: GroupNorm::load(&loader.at("norm1"), 4, 16, 1e-5)?,
            conv1: conv("conv1", 16, 16, same)?,
            down: conv("down", 16, 32, same.stride(2))?,
            norm2: LayerNorm::load(&loader.at("norm2"), 32, 1e-5)?,
            qkv: Linear::load(&loader.at("qkv"), 32, 96, false)?,
            proj: Linear::load(&loader.at("proj"), 32, 32, true)?,
            norm3: LayerNorm::load(&loader.at("norm3"), 32, 1e-5)?,
            gate: Linear::load(&loader.at("gate"), 32, 128, true)?,
            out: Linear::load(&loader.at("out"), 64, 32, true)?,
            conv2: conv("conv2", 48, 16, same)?,
            norm4: GroupNorm::load(&loader.at("norm4"), 4, 16, 1e-5)?,
            conv_out: conv("conv_out", 16, 4, same)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let skip = self.conv_in.forward(x)?;
        let h = self.norm1.forward_with(&skip, Activation::Silu)?;
        let skip = self.conv1.forward_with(&h, ConvFusion { residual: Some(&skip), ..ConvFusion::default() })?;
        let h = self.down.forward(&skip)?;
        let map = h.shape().to_vec();
        let h = h.reshape(&[map[0], map[1] * map[2], map[3]])?; // [b, h, w, c] -> [b, n, c]
        let qkv = self.qkv.forward(&self.norm2.forward(&h)?)?.chunk(3, 2)?;
        let seen = Tensor::attention(&qkv[0], &qkv[1], &qkv[2], 2, AttentionOptions::default())?;
        let h = self.proj.forward_with(&seen, LinearFusion { residual: Some(&h), ..LinearFusion::default() })?;
        let gated = self.gate.forward(&self.norm3.forward(&h)?)?.geglu()?;
        let h = self.out.forward_with(&gated, LinearFusion { residual: Some(&h), ..LinearFusion::default() })?;
        let h = Tensor::concat(&[&h.reshape(&map)?.upsample_nearest(2)?, &skip], 3)?;
        self.conv_out.forward(&self.norm4.forward_with(&self.conv2.forward(&h)?, Activation::Silu)?)
    }
}

/// Losses of the 200 steps with activations of `dtype`.
fn train(dtype: DType) -> Vec<f32> {
    let fixture = Fixture::open("reference/nn/training_parity.safetensors");
    let init = fixture.names().filter_map(|n| n.strip_prefix("init/").map(|short| (n, short)));
    let parts = init.map(|(name, short)| (short.to_owned(), fixture.shape(name), fixture.f32(name))).collect();
    let loader = Loader::new(Weights::from_parts("init", parts).unwrap(), LoadOptions::training());
    let stack = Stack::load(&loader).unwrap();
    let params = loader.finish().unwrap();
    let pool = |name: &str| Tensor::from_vec(fixture.f32(name), &[32, 8, 8, 4]).unwrap();
    let (images, targets) = (pool("images"), pool("targets"));
    let mut optimizer = AdamW::new(&params, AdamWConfig::default());
    let schedule = LrSchedule { peak: 2e-3, warmup: 10, total: 200, decay: LrDecay::Constant };
    let step = |step: u32| -> Result<f32> {
        let index: Vec<u32> = (0..8).map(|j| (7 * step + 5 * j) % 32).collect();
        let y = stack.forward(&images.index_select(0, &index)?.cast(dtype)?)?;
        let error = y.cast(DType::F32)?.sub(&targets.index_select(0, &index)?)?;
        let loss = error.square()?.mean_all()?;
        let mut gradients = loss.backward()?;
        clip_grad_norm(&params, &mut gradients, 1.0);
        optimizer.step(&gradients, schedule.at(u64::from(step)))?;
        loss.item()
    };
    (0..200).map(step).collect::<Result<_>>().unwrap()
}

/// Largest relative difference to PyTorch's losses from step 50 on.
fn gap(losses: &[f32]) -> f32 {
    let want = Fixture::open("reference/nn/training_parity.safetensors").f32("losses");
    let gaps = losses.iter().zip(&want).skip(50).map(|(got, want)| ((got - want) / want).abs());
    gaps.fold(0.0, f32::max)
}

#[test]
fn f32_losses_are_pytorchs_within_one_percent() {
    let gap = gap(&train(DType::F32));
    println!("largest gap from step 50 on: {:.4} %", gap * 100.0);
    assert!(gap < 0.01, "{gap}");
}

#[test]
fn bf16_activations_learn_as_well() {
    let losses = train(DType::Bf16);
    let tail = |losses: &[f32]| losses[180..].iter().sum::<f32>() / 20.0;
    let want = tail(&Fixture::open("reference/nn/training_parity.safetensors").f32("losses"));
    assert!(tail(&losses) < 1.1 * want, "{} where f32 reaches {want}", tail(&losses));
}
