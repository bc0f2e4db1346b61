//! Strict, bounded readers and writers of weight files that never execute anything.
