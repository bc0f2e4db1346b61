//! The `danqing` program.
fn main() {}
