//! Jobs, gallery, model library, users, and where all of it is stored.

pub mod actor;
pub mod jobs;
pub mod storage;
