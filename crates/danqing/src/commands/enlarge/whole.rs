//! Pictures that are worked on in memory: frames, and whatever has its faces restored.

use danqing_imaging::{Format, Picture, save};
use danqing_pipelines::control::Control;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, enlarge_to};
use danqing_pipelines::tasks::faces::{FaceOptions, FoundFace, restore_faces};

use super::networks::{Chain, Look};
use super::{Done, Job, Session};
use crate::commands::batch::Frame;
use crate::decoder;
use crate::failure::Failure;

impl Session<'_> {
    /// A picture that stands still, with its faces restored.
    pub(super) fn still_whole(
        &self,
        bytes: &[u8],
        job: &Job,
        look: &Look,
        control: &dyn Control,
    ) -> Result<Done, Failure> {
        let failed = |e| Failure::of(&e);
        let deep = decoder::decode_apart(bytes).map_err(failed)?;
        self.warn(job, &deep.warnings);
        let picture = deep.into_picture().map_err(failed)?;
        let from = (picture.width(), picture.height());
        let chain = self.chain(job, from, picture.metadata.original_size(), look)?;
        let to = chain.to;
        Format::for_labelled(&job.to).map_err(failed)?;
        let (mut picture, found) = self.whole(picture, &chain, to, control)?;
        self.label(&mut picture.metadata, &chain);
        save(&job.to, &picture, &self.invocation.encoding()).map_err(failed)?;
        self.tell_of_faces(job, &found);
        self.compare(job, &chain)?;
        Ok(self.done(&chain, from))
    }

    /// The chain over a picture: its parts one after the other, and what restores faces between them. The size that is asked for
    /// is reached before faces are restored where that comes last: they are then drawn as finely as they will be seen.
    pub(super) fn whole(
        &self,
        mut picture: Picture,
        chain: &Chain<'_>,
        to: (u32, u32),
        control: &dyn Control,
    ) -> Result<(Picture, Vec<FoundFace>), Failure> {
        let failed = |e| self.failed(&e);
        let parts = chain.parts();
        let sizing = parts.iter().rposition(|links| !links.is_empty()).unwrap_or(0);
        let (last, stages) = (parts.len() - 1, 2 * parts.len() - 1);
        let mut faces = chain.faces();
        let mut found = Vec::new();
        for (i, links) in parts.iter().enumerate() {
            let size = (picture.width(), picture.height());
            let wanted = if i == sizing { to } else { super::times(size, links) };
            let options = EnlargeOptions { sharpen: self.options.sharpen.filter(|_| i == last), ..self.options };
            if !links.is_empty() || wanted != size || options.sharpen.is_some() {
                let control = Frame { control, index: 2 * i, frames: stages };
                picture = enlarge_to(&picture, links, wanted, &options, &control).map_err(failed)?;
            }
            let (Some(step), Some(detector)) = (faces.next(), self.networks.detector()) else { continue };
            let control = Frame { control, index: 2 * i + 1, frames: stages };
            let options = FaceOptions { strength: step.strength, ..FaceOptions::default() };
            let network = step.named.network.as_ref();
            let restored = restore_faces(&picture, detector, network, &options, &control).map_err(failed)?;
            picture = restored.0;
            found.extend(restored.1);
        }
        Ok((picture, found))
    }

    /// Says how many faces were restored, and how many of them without knowing how they are turned.
    pub(super) fn tell_of_faces(&self, job: &Job, found: &[FoundFace]) {
        let upright = found.iter().filter(|face| !face.aligned).count();
        let sentence = self.invocation.messages().faces(&job.from.display().to_string(), found.len(), upright);
        self.watch.say(&sentence);
    }
}
