//! Tests of the whole crate through its public functions.

mod analysing;
mod avif;
mod deep;
mod dicom;
mod generation_info;
mod hostile;
mod moving;
mod reading_rows;
mod real_files;
mod resampling;
mod round_trip;
mod rows;
