//! Sigma schedules, samplers, guidance and noise; knows no network.
