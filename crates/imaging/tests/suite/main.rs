//! Tests of the whole crate through its public functions.

mod generation_info;
mod hostile;
mod real_files;
mod resampling;
mod round_trip;
