//! Strided tensor, dtypes, tape, random generators over danqing-kernels.
