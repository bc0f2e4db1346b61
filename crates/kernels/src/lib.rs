//! Computation on slices: convolution, GEMM, attention, norms; scalar, AVX2, AVX-512, AMX.
