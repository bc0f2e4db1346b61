//! Closeness reports, fixtures and the seeded mutator of the test suites.
//!
//! Depends on nothing of ours, so that even `kernels` can use it. Everything here is for tests: failures panic with a
//! report.

#![forbid(unsafe_code)]

mod closeness;
mod fixture;
pub mod mutate;
mod paths;

pub use closeness::{Blocks, Closeness, Tolerance, assert_close, assert_relative_l2};
pub use fixture::Fixture;
pub use paths::{assets, fixture_path, repository};
