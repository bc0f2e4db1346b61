//! Pictures that stand still: decoded apart, enlarged and written row by row.

use danqing_imaging::sheet::{SheetOptions, contact_sheet};
use danqing_imaging::{
    DecodeLimits, DeepPicture, Depth, Filter, Format, Picture, ResizeOptions, RowFile, RowHeader, open, resize, save,
};
use danqing_pipelines::TaskError;
use danqing_pipelines::control::Control;
use danqing_pipelines::tasks::enlarge::SampleEnlargement;

use super::{Job, Session, Sizes};
use crate::decoder::decode_apart;
use crate::failure::Failure;

/// Sides of a sheet's pictures; of larger ones the middle is shown.
const SHEET_SIDE: u32 = 1536;

impl Session<'_> {
    pub(super) fn still(
        &self,
        bytes: &[u8],
        format: Format,
        job: &Job,
        control: &dyn Control,
    ) -> Result<Sizes, Failure> {
        let picture = decode_apart(bytes).map_err(|e| Failure::of(&e))?;
        self.warn(job, &picture.warnings);
        let from = (picture.width(), picture.height());
        let to = self.target(from);
        self.write(&picture, to, format, job, control)?;
        if let Some(path) = self.invocation.path("compare") {
            let enlarged = open(&job.to, &DecodeLimits::default()).map_err(|e| Failure::of(&e))?;
            let sheet = self.sheet(picture, &enlarged)?;
            save(path, &sheet, &self.encoding()).map_err(|e| Failure::of(&e))?;
        }
        Ok((from, to))
    }

    fn write(
        &self,
        picture: &DeepPicture,
        to: (u32, u32),
        format: Format,
        job: &Job,
        control: &dyn Control,
    ) -> Result<(), Failure> {
        let depth = if matches!(format, Format::Png | Format::Tiff) { picture.depth() } else { Depth::Eight };
        let mut metadata = picture.metadata.clone();
        self.label(&mut metadata);
        let (width, height) = to;
        DecodeLimits::default().check_size(width, height).map_err(|e| Failure::of(&e))?;
        let header = RowHeader { width, height, channels: picture.channels(), depth, metadata };
        let from = (picture.width(), picture.height());
        let mut enlargement =
            SampleEnlargement::new(&self.links, from, to, picture.channels(), depth, self.options.tile)
                .map_err(|e| self.failed(&e))?;
        let mut file = RowFile::create(&job.to, header, &self.encoding()).map_err(|e| Failure::of(&e))?;
        for y in 0..picture.height() {
            let Some(row) = picture.rows(y, 1) else { break };
            enlargement
                .push(row, control, &mut |row| file.write_rows(row).map_err(TaskError::from))
                .map_err(|e| self.failed(&e))?;
        }
        file.finish().map_err(|e| Failure::of(&e))
    }

    /// What the cubic filter makes of the picture, beside the result.
    fn sheet(&self, picture: DeepPicture, enlarged: &Picture) -> Result<Picture, Failure> {
        let failed = |e| Failure::of(&e);
        let cubic = ResizeOptions { filter: Filter::Bicubic, ..Default::default() };
        let (width, height) = (enlarged.width(), enlarged.height());
        let (w, h) = (width.min(SHEET_SIDE), height.min(SHEET_SIDE));
        let picture = picture.into_picture().map_err(failed)?;
        let plain = resize(&picture, width, height, &cubic).map_err(failed)?;
        let middle = |picture: &Picture| picture.crop((width - w) / 2, (height - h) / 2, w, h).map_err(failed);
        let options = SheetOptions { columns: 2, ..Default::default() };
        contact_sheet(&[&middle(&plain)?, &middle(enlarged)?], &["bicubic", &self.chain()], &options).map_err(failed)
    }
}
