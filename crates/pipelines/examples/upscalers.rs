//! A page about every network file of a folder: `cargo xtask upscalers [FOLDER] > docs/upscalers.md`.
//!
//! What each is loaded as, how far its result is from what other software made with the same weights, and how long a picture of 128×128 takes;
//! of those that are not loaded, why. The values are those of `fixtures/reference/upscalers` and of `golden/` in the test assets.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use danqing_kernels::isa::isa;
use danqing_kernels::threads::set_threads;
use danqing_models::upscalers::{Purpose, Upscaler};
use danqing_nn::LoadOptions;
use danqing_pipelines::tasks::enlarge::open_network;
use danqing_tensor::{DType, Rng, Tensor, no_grad};
use danqing_testing::{Fixture, fixture_path};

type Failure = Box<dyn std::error::Error>;

/// Largest difference that is no failure, of values in 0..1.
const ALLOWED: f32 = 1e-3;
const SIDE: usize = 128;
const ROUNDS: u32 = 8;

/// Answers of other software in one file, under the names of the networks' files.
struct Answers {
    file: PathBuf,
    /// Who made them.
    by: &'static str,
    input: &'static str,
    /// The answers are parts of the results that begin at this row and column.
    skipped: usize,
    /// Heights and widths come after the channels.
    planes: bool,
    name: fn(&Path) -> Option<String>,
}

fn answers(assets: Option<&Path>) -> Vec<Answers> {
    let fixture = |name: &str| fixture_path(format!("reference/upscalers/{name}.safetensors"));
    let mut all = vec![
        Answers {
            file: fixture("published"),
            by: "its own code, PyTorch",
            input: "in",
            skipped: 16,
            planes: false,
            name: stem,
        },
        Answers { file: fixture("ncnn"), by: "ncnn", input: "in", skipped: 8, planes: false, name: dotted },
        Answers { file: fixture("tensorflow"), by: "NumPy", input: "in", skipped: 0, planes: false, name: dotted },
    ];
    if let Some(assets) = assets {
        let file = assets.join("golden/sr_kodak23_64to256.safetensors");
        all.insert(0, Answers { file, by: "`golden/`, NumPy", input: "input", skipped: 0, planes: true, name: golden });
    }
    all
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_string_lossy().into_owned())
}

/// `folder/file.pb` as `folder.file`.
fn dotted(path: &Path) -> Option<String> {
    Some(path.with_extension("").to_string_lossy().replace(['/', '\\'], "."))
}

fn golden(path: &Path) -> Option<String> {
    let name = match stem(path)?.as_str() {
        "2022_team04_rlfn" => "rlfn_x4",
        "realesr-general-x4v3" => "realesr_general_x4v3",
        _ => return None,
    };
    Some(name.to_owned())
}

fn main() -> ExitCode {
    match page() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn page() -> Result<(), Failure> {
    let assets = std::env::var_os("DANQING_TEST_ASSETS").filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => assets.as_deref().ok_or("name a folder of networks, or set DANQING_TEST_ASSETS")?.join("weights/sr"),
    };
    // One thread's processor time tells the same beside other work.
    set_threads(1);
    let answers = answers(assets.as_deref());
    let mut files = Vec::new();
    walk(&folder, &mut files)?;
    files.sort();
    let (mut rows, mut refused, mut far) = (String::new(), String::new(), Vec::new());
    for path in &files {
        let name = path.strip_prefix(&folder).unwrap_or(path);
        eprintln!("{}", name.display());
        match open_network(path, &LoadOptions::inference(DType::F32)) {
            Ok(network) => {
                let differences = differences(network.as_ref(), name, &answers)?;
                if differences.is_empty() || differences.iter().any(|(difference, _)| *difference > ALLOWED) {
                    far.push(name.display().to_string());
                }
                writeln!(rows, "| {} | {} |", name.display(), cells(network.as_ref(), &differences)?.join(" | "))?;
            }
            // Paths of this machine say nothing to a reader.
            Err(error) => {
                let why = error.to_string().replace(&format!("{}/", folder.display()), "");
                writeln!(refused, "| {} | {why} |", name.display())?;
            }
        }
    }
    print!("{}", HEAD.trim_start());
    println!("Measured on {} with {}, f32.\n", processor(), isa().name());
    println!("| file | loaded as | scale | weights | tiles: overlap | largest difference | against | 128×128 ms |");
    println!("|---|---|---|---|---|---|---|---|\n{rows}");
    if !refused.is_empty() {
        println!("Refused:\n\n| file | why |\n|---|---|\n{refused}");
    }
    match far.is_empty() {
        true => Ok(()),
        false => {
            Err(format!("farther than {ALLOWED} from other software, or without its values: {}", far.join(", ")).into())
        }
    }
}

const HEAD: &str = "
# Published upscalers

What `cargo xtask upscalers > docs/upscalers.md` finds in the networks of the test assets (`DANQING_TEST_ASSETS`), or in a folder named behind it.

- Differences are the largest ones, of values in 0..1, from what the named software makes of the same weights and a small picture
  (of the NTIRE and ncnn networks of a part of the result). More than 1e-3 fails.
- Times are the mean processor time of eight runs on one thread, of a development build, whose kernels are optimised. The machine did other work
  beside, so they compare the networks with each other, no more.
- Tiles overlap by so many pixels of the input. \"About\": the network sees farther, and tiles are faded into each other.

";

/// Every file that may be a network; `.bin` files belong to the `.param` beside them.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let network = match ending.as_str() {
            "bin" => !path.with_extension("param").exists(),
            "pth" | "pt" | "ckpt" | "safetensors" | "param" | "onnx" | "pb" => true,
            _ => false,
        };
        if network {
            files.push(path);
        }
    }
    Ok(())
}

/// How far the network is from each software that ran it.
fn differences(network: &dyn Upscaler, name: &Path, answers: &[Answers]) -> Result<Vec<(f32, &'static str)>, Failure> {
    let mut found = Vec::new();
    for answer in answers {
        let Some(key) = (answer.name)(name) else { continue };
        let values = Fixture::read(&answer.file);
        if !values.contains(&key) {
            continue;
        }
        let (x, want) = (picture(&values, answer.input, answer.planes)?, picture(&values, &key, answer.planes)?);
        let y = no_grad(|| network.forward(&x))?;
        let (height, width) = (want.dim(1), want.dim(2));
        let part = y.narrow(1, answer.skipped, height)?.narrow(2, answer.skipped, width)?.contiguous()?;
        let difference = part.to_vec().iter().zip(want.to_vec()).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        found.push((difference, answer.by));
    }
    Ok(found)
}

/// A stored picture as `[1, h, w, c]`.
fn picture(values: &Fixture, name: &str, planes: bool) -> Result<Tensor, Failure> {
    let shape = values.shape(name);
    let [a, b, c] = shape[shape.len() - 3..] else { return Err(format!("{name} is no picture").into()) };
    let picture = Tensor::from_vec(values.f32(name), &[1, a, b, c])?;
    Ok(if planes { picture.permute(&[0, 2, 3, 1])?.contiguous()? } else { picture })
}

fn cells(network: &dyn Upscaler, differences: &[(f32, &'static str)]) -> Result<[String; 7], Failure> {
    let info = network.info();
    let join = |words: Vec<String>| if words.is_empty() { "–".to_owned() } else { words.join(", ") };
    let purpose = match info.purpose {
        Purpose::Enlarge => "",
        Purpose::Restore => ", restores",
        Purpose::Denoise => ", takes noise away",
        Purpose::Deblur => ", takes blur away",
        Purpose::Dejpeg => ", takes JPEG's traces away",
        Purpose::Face => ", draws faces",
    };
    let luma = if info.channels == 1 { ", luma" } else { "" };
    let x = Tensor::rand(&[1, SIDE, SIDE, info.channels], 0.0, 1.0, &mut Rng::new(1))?;
    no_grad(|| network.forward(&x))?;
    let (start, clock) = (processor_seconds(), Instant::now());
    for _ in 0..ROUNDS {
        no_grad(|| network.forward(&x))?;
    }
    let seconds = match (start, processor_seconds()) {
        (Some(start), Some(end)) => end - start,
        _ => clock.elapsed().as_secs_f64(),
    };
    Ok([
        format!("{}{purpose}{luma}", info.architecture),
        format!("×{}", info.scale),
        info.parameters.to_string(),
        format!("{}{}", if info.exact { "" } else { "about " }, info.overlap),
        join(differences.iter().map(|(difference, _)| format!("{difference:.1e}")).collect()),
        join(differences.iter().map(|(_, by)| (*by).to_owned()).collect()),
        format!("{:.1}", seconds * 1e3 / f64::from(ROUNDS)),
    ])
}

/// Time that this thread has had a processor, as Linux tells it.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? * 1e-9)
}

/// The processor's name, as Linux tells it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "an unknown processor".to_owned(), |(_, name)| name.to_owned())
}
