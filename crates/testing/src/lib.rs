//! Closeness reports, fixtures and the seeded mutator of the test suites.
