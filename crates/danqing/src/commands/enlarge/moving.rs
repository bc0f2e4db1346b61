//! Animations: enlarged frame by frame, with their timing.

use danqing_imaging::animation::{Animation, AnimationHeader, AnimationWriter, Frame as Shown};
use danqing_imaging::{AtomicFile, DecodeLimits, Format};
use danqing_pipelines::control::Control;

use super::networks::Look;
use super::{Done, Job, Session};
use crate::commands::batch::Frame;
use crate::failure::Failure;

impl Session<'_> {
    pub(super) fn moving(
        &self,
        animation: Animation<'_>,
        format: Format,
        job: &Job,
        look: &Look,
        control: &dyn Control,
    ) -> Result<Done, Failure> {
        self.warn(job, animation.warnings());
        let from = animation.size();
        let chain = self.chain(job, from, None, look)?;
        let to = chain.to;
        DecodeLimits::default().check_size(to.0, to.1).map_err(|e| Failure::of(&e))?;
        let frames = animation.frames();
        let mut metadata = animation.metadata().clone();
        self.label(&mut metadata, &chain);
        let plays = animation.plays();
        let header = AnimationHeader { width: to.0, height: to.1, frames, alpha: true, plays, metadata };
        let mut file = AtomicFile::create(&job.to).map_err(|e| Failure::of(&e))?;
        let mut writer = AnimationWriter::begin(format, header, &mut file).map_err(|e| Failure::of(&e))?;
        let mut faces = Vec::new();
        for (index, frame) in animation.enumerate() {
            let Shown { picture, delay } = frame.map_err(|e| Failure::of(&e))?;
            let control = Frame { control, index, frames: frames as usize };
            let (picture, found) = self.whole(picture, &chain, to, &control)?;
            faces.extend(found);
            writer.write_frame(&Shown { picture, delay }).map_err(|e| Failure::of(&e))?;
        }
        writer.finish().map_err(|e| Failure::of(&e))?;
        file.commit().map_err(|e| Failure::of(&e))?;
        if self.networks.restores_faces() {
            self.tell_of_faces(job, &faces);
        }
        Ok(self.done(&chain, from))
    }
}
