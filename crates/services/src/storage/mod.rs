//! Where things are kept: rows in a database, bytes in blobs.
//!
//! The order that keeps both true after a crash: the blob is durable, then the row is committed, then the answer is given.

pub mod blobs;
pub mod database;
