//! DICOM files: their stored values are enlarged, in full depth, into a derived file.

use danqing_imaging::dicom::{DeriveOptions, Dicom, StoredFrame, is_dicom};
use danqing_imaging::{DecodeLimits, Warning, write_atomic};
use danqing_pipelines::control::Control;
use danqing_pipelines::tasks::enlarge::Enlargement;

use super::networks::{Chain, Look};
use super::{Done, Job, Session};
use crate::commands::batch::Frame;
use crate::failure::Failure;

impl Session<'_> {
    pub(super) fn medical(&self, bytes: &[u8], job: &Job, look: &Look, control: &dyn Control) -> Result<Done, Failure> {
        if !is_dicom(bytes) {
            return Err(Failure::Failed(self.invocation.messages().no_dicom(&job.to.display().to_string())));
        }
        let limits = DecodeLimits::default();
        let dicom = Dicom::open(bytes, &limits).map_err(|e| Failure::of(&e))?;
        self.warn(job, &[Warning::NotForDiagnosis]);
        let from = (dicom.width(), dicom.height());
        if self.networks.restores_faces() {
            return Err(Failure::Failed(self.invocation.messages().not_both("--face", "DICOM")));
        }
        let chain = self.chain(job, from, None, look)?;
        let to = chain.to;
        limits.check_size(to.0, to.1).map_err(|e| Failure::of(&e))?;
        let count = dicom.frames() as usize;
        let mut frames = Vec::with_capacity(count);
        for index in 0..count {
            let frame = dicom.frame(index as u32).map_err(|e| Failure::of(&e))?;
            frames.push(self.stored(&frame, to, &chain, &Frame { control, index, frames: count })?);
        }
        let scale = f64::from(to.0) / f64::from(from.0);
        let description = format!("Enlarged {scale:.4} times by danqing ({})", chain.name());
        let options = DeriveOptions { description, series: None };
        let derived = dicom.derive(&frames, scale, &options).map_err(|e| Failure::of(&e))?;
        write_atomic(&job.to, &derived).map_err(|e| Failure::of(&e))?;
        Ok(self.done(&chain, from))
    }

    /// A frame's values between its least and its greatest, enlarged.
    fn stored(
        &self,
        frame: &StoredFrame,
        to: (u32, u32),
        chain: &Chain<'_>,
        control: &dyn Control,
    ) -> Result<StoredFrame, Failure> {
        let (range, channels) = (frame.range(), frame.channels);
        let mut values = frame.to_unit_f32(range);
        if channels == 1 {
            values = values.into_iter().flat_map(|v| [v; 3]).collect();
        }
        let links = chain.parts().concat();
        let mut enlargement =
            Enlargement::new(&links, (frame.width, frame.height), to, 3, &self.options).map_err(|e| self.failed(&e))?;
        let mut out = Vec::with_capacity(to.0 as usize * to.1 as usize * channels);
        for row in values.chunks_exact(frame.width as usize * 3) {
            enlargement
                .push(row, control, &mut |line| {
                    match channels {
                        1 => out.extend(line.chunks_exact(3).map(|p| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2])),
                        _ => out.extend_from_slice(line),
                    }
                    Ok(())
                })
                .map_err(|e| self.failed(&e))?;
        }
        StoredFrame::from_unit_f32(to.0, to.1, channels, &out, range).map_err(|e| Failure::of(&e))
    }
}
