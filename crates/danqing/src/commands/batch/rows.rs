//! A picture's rows through a chain into a file.

use danqing_imaging::{RowFile, RowReader};
use danqing_pipelines::TaskError;
use danqing_pipelines::control::Control;
use danqing_pipelines::tasks::enlarge::SampleEnlargement;

/// Rows that are read at once.
const READ_ROWS: u32 = 16;

/// Reads, changes and writes all rows; the file is there when this returns.
///
/// # Errors
/// A picture that cannot be read to its end, a chain that fails, a file that cannot be written, or that the user stopped it.
pub(in crate::commands) fn rewrite(
    mut rows: RowReader,
    mut chain: SampleEnlargement<'_>,
    mut file: RowFile,
    control: &dyn Control,
) -> Result<(), TaskError> {
    while let Some(read) = rows.read_rows(READ_ROWS)? {
        // Without a network no tile asks.
        if control.stopped() {
            return Err(TaskError::Stopped);
        }
        chain.push(read.samples(), control, &mut |row| Ok(file.write_rows(row)?))?;
    }
    Ok(file.finish()?)
}
