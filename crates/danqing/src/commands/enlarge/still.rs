//! Pictures that stand still: decoded apart, enlarged and written row by row.

use danqing_imaging::sheet::{SheetOptions, contact_sheet};
use danqing_imaging::{
    DecodeLimits, Depth, Filter, Format, ImagingError, Picture, ResizeOptions, RowFile, RowHeader, RowReader,
    read_file, resize, save,
};
use danqing_pipelines::control::Control;
use danqing_pipelines::tasks::enlarge::SampleEnlargement;

use super::networks::{Chain, Look};
use super::{Done, Job, Session};
use crate::commands::batch::rewrite;
use crate::decoder;
use crate::failure::Failure;

/// Sides of a sheet's pictures; of larger ones the middle is shown.
const SHEET_SIDE: u32 = 1536;

impl Session<'_> {
    pub(super) fn still(
        &self,
        bytes: Vec<u8>,
        format: Format,
        job: &Job,
        look: &Look,
        control: &dyn Control,
    ) -> Result<Done, Failure> {
        let rows = decoder::rows(bytes).map_err(|e| Failure::of(&e))?;
        self.warn(job, rows.warnings());
        let from = (rows.header().width, rows.header().height);
        let chain = self.chain(job, from, rows.header().metadata.original_size(), look)?;
        let to = chain.to;
        self.write(rows, to, &chain, format, job, control)?;
        self.compare(job, &chain)?;
        Ok(self.done(&chain, from))
    }

    /// Writes the sheet that `--compare` asks for.
    pub(super) fn compare(&self, job: &Job, chain: &Chain<'_>) -> Result<(), Failure> {
        if let Some(path) = self.invocation.path("compare") {
            let whole = |path| -> Result<Picture, ImagingError> {
                decoder::decode_apart(&read_file(path, &DecodeLimits::default())?)?.into_picture()
            };
            let [picture, enlarged] = [&job.from, &job.to].map(|path| whole(path).map_err(|e| Failure::of(&e)));
            let sheet = self.sheet(&picture?, &enlarged?, chain)?;
            save(path, &sheet, &self.invocation.encoding()).map_err(|e| Failure::of(&e))?;
        }
        Ok(())
    }

    fn write(
        &self,
        rows: RowReader,
        to: (u32, u32),
        chain: &Chain<'_>,
        format: Format,
        job: &Job,
        control: &dyn Control,
    ) -> Result<(), Failure> {
        let failed = |e| Failure::of(&e);
        let RowHeader { width, height, channels, depth, metadata } = rows.header().clone();
        let from = (width, height);
        let depth = if matches!(format, Format::Png | Format::Tiff) { depth } else { Depth::Eight };
        let (width, height) = to;
        DecodeLimits::default().check_size(width, height).map_err(failed)?;
        let mut header = RowHeader { width, height, channels, depth, metadata };
        self.label(&mut header.metadata, chain);
        let links = chain.parts().concat();
        let enlargement =
            SampleEnlargement::new(&links, from, to, channels, depth, &self.options).map_err(|e| self.failed(&e))?;
        let file = RowFile::create(&job.to, header, &self.invocation.encoding()).map_err(failed)?;
        rewrite(rows, enlargement, file, control).map_err(|e| self.failed(&e))
    }

    /// What the cubic filter makes of the picture, beside the result.
    fn sheet(&self, picture: &Picture, enlarged: &Picture, chain: &Chain<'_>) -> Result<Picture, Failure> {
        let failed = |e| Failure::of(&e);
        let cubic = ResizeOptions { filter: Filter::Bicubic, ..Default::default() };
        let (width, height) = (enlarged.width(), enlarged.height());
        let (w, h) = (width.min(SHEET_SIDE), height.min(SHEET_SIDE));
        let plain = resize(picture, width, height, &cubic).map_err(failed)?;
        let middle = |picture: &Picture| picture.crop((width - w) / 2, (height - h) / 2, w, h).map_err(failed);
        let options = SheetOptions { columns: 2, ..Default::default() };
        contact_sheet(&[&middle(&plain)?, &middle(enlarged)?], &["bicubic", &chain.name()], &options).map_err(failed)
    }
}
