//! Tests of the whole crate through its public functions.

mod generation_info;
mod round_trip;
