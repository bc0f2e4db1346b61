//! `danqing draw "" --model FILE` with a network of pixels, which knows no words.

use danqing_models::families::stable_diffusion::{PredictionSource, Predicts};
use danqing_pipelines::TaskError;
use danqing_pipelines::request::DrawRequest;
use danqing_pipelines::settings::Settings;
use danqing_pipelines::tasks::pixels::{PixelModel, draw_pixels};
use danqing_sampling::PredictionType;

use super::output::Output;
use crate::commands::{Invocation, print};
use crate::failure::Failure;
use crate::progress::Watch;

/// What the network is called.
const KIND: &str = "DDPM";

/// Draws `count` pictures, in batches; a size enlarges them.
pub(super) fn run(
    invocation: &Invocation,
    watch: &Watch,
    mut output: Output,
    model: &PixelModel,
    request: DrawRequest,
    count: usize,
) -> Result<(), Failure> {
    let messages = invocation.messages();
    let failed = |error: TaskError| {
        watch.finish();
        match error {
            TaskError::Stopped => Failure::Stopped(messages.task_error(&error)),
            _ => Failure::Failed(messages.task_error(&error)),
        }
    };
    let settings = Settings::without_words(model.network.side, &request).map_err(failed)?;
    let predicts = Predicts { prediction: PredictionType::Epsilon, source: PredictionSource::Family, zero_snr: false };
    watch.say(&messages.model(&model.name, Some(KIND), &predicts));
    let (sampler, schedule) = (settings.sampler.spec().name, settings.schedule.spec().name);
    watch.say(&messages.plan(settings.steps, sampler, schedule, 1.0, (settings.width, settings.height)));
    watch.say(&messages.seed(request.seed));
    if let Some(size) = invocation.size("size") {
        output.enlarge_to(size);
    }
    let mut done = 0;
    while done < count {
        let mut batch = request.clone();
        batch.batch_size = request.batch_size.min(count - done);
        batch.seed = batch.seed.wrapping_add(done as u64);
        if count > 1 {
            watch.picture(format!("{}/{count} ", done + batch.batch_size));
        }
        let drawn = draw_pixels(model, &batch, watch).map_err(failed)?;
        watch.finish();
        for mut one in drawn {
            let (picture, enlarged) = output.sized(one.picture)?;
            let size = (picture.width(), picture.height());
            if let Some(upscaler) = &enlarged {
                one.infotext.set("Postprocess upscale to", format!("{}x{}", size.0, size.1));
                one.infotext.set("Postprocess upscaler", upscaler);
            }
            let path = output.write(picture, &one.infotext, one.seed)?;
            if !invocation.is("quiet") {
                let sentence = messages.wrote(&path.display().to_string(), size, Some(one.seed), enlarged.as_deref());
                print(&format!("{sentence}\n"))?;
            }
        }
        done += batch.batch_size;
    }
    Ok(())
}
