//! Animations: enlarged frame by frame, with their timing.

use danqing_imaging::animation::{Animation, AnimationHeader, AnimationWriter, Frame as Shown};
use danqing_imaging::{AtomicFile, DecodeLimits, Format};
use danqing_pipelines::control::Control;
use danqing_pipelines::tasks::enlarge::enlarge;

use super::{Job, Session, Sizes};
use crate::commands::batch::Frame;
use crate::failure::Failure;

impl Session<'_> {
    pub(super) fn moving(
        &self,
        animation: Animation<'_>,
        format: Format,
        job: &Job,
        control: &dyn Control,
    ) -> Result<Sizes, Failure> {
        self.warn(job, animation.warnings());
        let from = animation.size();
        let to = self.target(from);
        DecodeLimits::default().check_size(to.0, to.1).map_err(|e| Failure::of(&e))?;
        let frames = animation.frames();
        let mut metadata = animation.metadata().clone();
        self.label(&mut metadata);
        let plays = animation.plays();
        let header = AnimationHeader { width: to.0, height: to.1, frames, alpha: true, plays, metadata };
        let mut file = AtomicFile::create(&job.to).map_err(|e| Failure::of(&e))?;
        let mut writer = AnimationWriter::begin(format, header, &mut file).map_err(|e| Failure::of(&e))?;
        for (index, frame) in animation.enumerate() {
            let Shown { picture, delay } = frame.map_err(|e| Failure::of(&e))?;
            let control = Frame { control, index, frames: frames as usize };
            let picture = enlarge(&picture, &self.links, &self.options, &control).map_err(|e| self.failed(&e))?;
            writer.write_frame(&Shown { picture, delay }).map_err(|e| Failure::of(&e))?;
        }
        writer.finish().map_err(|e| Failure::of(&e))?;
        file.commit().map_err(|e| Failure::of(&e))?;
        Ok((from, to))
    }
}
