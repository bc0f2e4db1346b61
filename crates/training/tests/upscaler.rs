//! A run of an upscaler: it is trained, stopped, goes on, is written out and refined.

use std::cell::Cell;
use std::path::Path;

use danqing_checkpoints::Weights;
use danqing_training::run::RunEnd;
use danqing_training::upscalers::{UPSCALER_RECIPES, UpscalerOptions, export_upscaler, train_upscaler};

fn options(folder: &Path, steps: u64) -> UpscalerOptions {
    let recipe = *UPSCALER_RECIPES.iter().find(|recipe| recipe.name == "live-x2").unwrap();
    UpscalerOptions {
        recipe,
        folder: folder.to_owned(),
        pictures: None,
        icons: None,
        validation: Vec::new(),
        from: None,
        steps,
        batch: 1,
        refine: false,
    }
}

#[test]
fn a_stopped_run_goes_on_is_exported_and_refined() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = |options: &UpscalerOptions, steps: usize| {
        let asked = Cell::new(0);
        let stopped = || asked.replace(asked.get() + 1) >= steps;
        let mut log = Vec::new();
        let end = train_upscaler(options, &mut |line| log.push(line.to_owned()), &stopped).unwrap();
        (end, log.join("\n"))
    };
    let first = options(&folder.join("first"), 3);
    assert_eq!(run(&first, 2).0, RunEnd::Stopped);
    let (end, log) = run(&first, usize::MAX);
    assert_eq!(end, RunEnd::Finished);
    assert!(log.contains("going on from step 2"), "{log}");
    let file = folder.join("live-x2.safetensors");
    export_upscaler(&first.recipe, &first.folder, &file).unwrap();

    let refined = UpscalerOptions { from: Some(file.clone()), refine: true, ..options(&folder.join("second"), 1) };
    let (end, log) = run(&refined, usize::MAX);
    assert_eq!(end, RunEnd::Finished);
    let tensors = Weights::open(&file).unwrap().names().count() - 1;
    assert!(log.contains(&format!("{tensors} tensors of")), "{log}");
}
