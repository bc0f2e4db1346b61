//! The products again, naively and with sums in double precision: what the fast kernels are held against.

use crate::element::Element;

/// `sums[n] += row[k] · matrix[k, n]`.
pub(crate) fn row_times_matrix<E: Element>(row: &[E], matrix: &[f32], sums: &mut [f64]) {
    let n = sums.len();
    for (&value, weights) in row.iter().zip(matrix.chunks_exact(n.max(1))) {
        let value = f64::from(value.to_f32());
        for (sum, &weight) in sums.iter_mut().zip(weights) {
            *sum += value * f64::from(weight);
        }
    }
}

/// `out[k, n] (+)= aᵀ·dy`.
pub(crate) fn gemm_at_b<E: Element>(
    a: &[E],
    dy: &[E],
    m: usize,
    k: usize,
    n: usize,
    out: &mut [f32],
    accumulate: bool,
) {
    let mut sums = vec![0f64; k * n];
    for row in 0..m {
        for (i, &value) in a[row * k..(row + 1) * k].iter().enumerate() {
            let value = f64::from(value.to_f32());
            for (sum, &grad) in sums[i * n..(i + 1) * n].iter_mut().zip(&dy[row * n..(row + 1) * n]) {
                *sum += value * f64::from(grad.to_f32());
            }
        }
    }
    for (target, sum) in out.iter_mut().zip(sums) {
        *target = if accumulate { *target + sum as f32 } else { sum as f32 };
    }
}

/// `out = a·b` for each of `batch` pairs, each factor possibly stored transposed.
pub(crate) fn matmul<E: Element>(
    a: &[E],
    a_trans: bool,
    b: &[E],
    b_trans: bool,
    batch: usize,
    m: usize,
    k: usize,
    n: usize,
    out: &mut [E],
) {
    let mut sums = vec![0f64; n];
    for each in 0..batch {
        let (a, b) = (&a[each * m * k..], &b[each * k * n..]);
        for row in 0..m {
            sums.fill(0.0);
            for i in 0..k {
                let value = f64::from(a[if a_trans { i * m + row } else { row * k + i }].to_f32());
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum += value * f64::from(b[if b_trans { column * k + i } else { i * n + column }].to_f32());
                }
            }
            for (target, &sum) in out[(each * m + row) * n..].iter_mut().zip(&sums) {
                *target = E::from_f32(sum as f32);
            }
        }
    }
}
