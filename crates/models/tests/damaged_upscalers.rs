//! Files of upscalers from which something is missing or in which something has another shape.

use danqing_checkpoints::Weights;
use danqing_models::upscalers::open_upscaler;
use danqing_nn::LoadOptions;
use danqing_tensor::DType;
use danqing_testing::fixture_path;

/// The networks of `reference/gen_restorers.py`.
const RESTORERS: &[&str] = &[
    "nafnet",
    "fbcnn_colour",
    "fbcnn_grey",
    "scunet_colour",
    "scunet_grey",
    "swinir_classic",
    "swinir_light",
    "swinir_real",
    "swinir_noise",
    "swinir_jpeg",
    "cugan_x2",
    "cugan_x2_pro",
    "cugan_x3",
    "cugan_x4",
    "waifu2x_cunet_x1",
    "waifu2x_cunet_x2",
    "waifu2x_upconv",
    "waifu2x_vgg",
    "hat_x2",
    "hat_x4",
    "gfpgan",
    "dat_x2",
    "dat_light",
];

fn tiny(name: &str) -> Weights {
    Weights::open(fixture_path(format!("reference/upscalers/{name}.safetensors"))).unwrap().under("w.")
}

/// What a file may lack: what follows from shapes, or only training needs.
fn may_lack(tensor: &str) -> bool {
    const PARTS: [&str; 7] =
        ["relative_position_index", "attn_mask", "rpe_biases", "num_batches_tracked", "style_mlp", "toRGB", "noises"];
    PARTS.iter().any(|part| tensor.contains(part)) || tensor == "pro"
}

#[test]
fn networks_with_a_missing_part_are_refused() {
    let options = LoadOptions { values: false, ..LoadOptions::inference(DType::F32) };
    for name in RESTORERS {
        let weights = tiny(name);
        let (mut told, mut all) = (0, 0);
        for lost in weights.names().filter(|lost| !may_lack(lost)) {
            let cut = weights.renamed(|name| (name != lost).then(|| name.to_owned())).unwrap();
            // Where blocks are counted by a tensor, its siblings are left over instead.
            let why =
                open_upscaler(&cut, &options).err().unwrap_or_else(|| panic!("{name} without {lost}")).to_string();
            told += usize::from(why.contains(lost));
            all += 1;
        }
        println!("{name}: {told} of {all} missing tensors are named");
        assert!(told * 4 >= all * 3, "{name}: {told} of {all} missing tensors are named");
    }
}

/// Shapes near the right one: a part cut off, a part too many, one of everything, more than there could be.
fn wrong_shapes(shape: &[usize]) -> Vec<Vec<usize>> {
    let changed = |change: &dyn Fn(usize) -> usize| {
        let mut shape = shape.to_vec();
        shape.iter_mut().take(1).for_each(|d| *d = change(*d));
        shape
    };
    let ones = vec![1; shape.len()];
    let all = [changed(&|d| d - 1), changed(&|d| d + 1), ones, shape[..shape.len().saturating_sub(1)].to_vec()];
    all.into_iter().filter(|wrong| wrong != shape).collect()
}

#[test]
fn networks_with_a_misshapen_part_are_refused() {
    let options = LoadOptions { values: false, ..LoadOptions::inference(DType::F32) };
    for name in RESTORERS {
        let weights = tiny(name);
        let parts: Vec<(String, Vec<usize>, Vec<f32>)> = weights
            .names()
            .map(|n| (n.to_owned(), weights.info(n).unwrap().shape.clone(), weights.read_f32(n).unwrap()))
            .collect();
        let (mut told, mut all) = (0, 0);
        // Every third tensor: there are thousands, which would take long.
        for (i, (tensor, shape, _)) in parts.iter().enumerate().step_by(3).filter(|(_, (name, ..))| !may_lack(name)) {
            for wrong in wrong_shapes(shape) {
                let mut parts = parts.clone();
                parts[i].2 = vec![0.5; wrong.iter().product()];
                parts[i].1 = wrong.clone();
                let file = Weights::from_parts("misshapen.pth", parts).unwrap();
                let why = open_upscaler(&file, &options).err();
                let why = why.unwrap_or_else(|| panic!("{name} with {tensor} {wrong:?}")).to_string();
                told += usize::from(why.contains(tensor.as_str()));
                all += 1;
            }
        }
        println!("{name}: {told} of {all} misshapen tensors are named");
        assert!(told * 2 >= all, "{name}: {told} of {all} misshapen tensors are named");
    }
}
