"""Fits the polynomials of crates/kernels/src/simd/math.rs: least squares on Chebyshev nodes with the weights raised
where the error is largest (Lawson's iteration), which tends to the minimax polynomial. Needs numpy only.

Prints Rust arrays, lowest power first, and the largest error of each fit evaluated in double precision."""

from math import erf, erfc, log, pi
import numpy as np


def lawson(function, low, high, degree, relative=True, steps=400, points=1500):
    k = np.arange(points)
    x = (low + high) / 2 + (high - low) / 2 * np.cos(pi * (k + 0.5) / points)
    y = np.array([function(v) for v in x])
    scale = 1 / np.abs(y) if relative else np.ones_like(y)
    # Chebyshev basis on the interval keeps the problem well conditioned; converted to powers at the end.
    t = (2 * x - low - high) / (high - low)
    basis = np.polynomial.chebyshev.chebvander(t, degree)
    weight = np.ones_like(x) / points
    best = (np.inf, None)
    for _ in range(steps):
        root = np.sqrt(weight) * scale
        c, *_ = np.linalg.lstsq(basis * root[:, None], y * root, rcond=None)
        error = np.abs(basis @ c - y) * scale
        if error.max() < best[0]:
            best = (error.max(), c)
        weight = weight * (error + 1e-30)
        weight /= weight.sum()
    error, c = best
    cheb = np.polynomial.Chebyshev(c, domain=[low, high])
    return error, cheb.convert(kind=np.polynomial.Polynomial).coef


def show(name, fit, what):
    error, coefficients = fit
    print(f"/// {what}: largest error {error:.2e}.")
    print(f"const {name}: [f32; {len(coefficients)}] = [{', '.join(f'{np.float32(c):.9e}' for c in coefficients)}];")


half = log(2) / 2 * 1.0005
show("EXP", lawson(lambda r: (np.expm1(r) - r) / r**2 if abs(r) > 1e-3 else 0.5 + r / 6 + r * r / 24, -half, half, 4), "(e^r - 1 - r) / r^2 on |r| <= ln 2 / 2")
show("EXP2_FRACTION", lawson(lambda f: 2.0**f, 0, 1, 5), "2^f on 0 <= f <= 1")
show("EXP2_FRACTION_SHORT", lawson(lambda f: 2.0**f, 0, 1, 3), "2^f on 0 <= f <= 1")
tanh = lambda u: (np.tanh(np.sqrt(u)) / np.sqrt(u) - 1) / u if u > 1e-4 else -1 / 3 + 2 * u / 15 - 17 * u * u / 315
show("TANH", lawson(tanh, 0, 0.63**2, 4), "(tanh(x) / x - 1) / x^2 in x^2 on |x| <= 0.63")
series = lambda u: 2 / np.sqrt(pi) * sum((-u) ** n / (np.prod(np.arange(1, n + 1.0)) * (2 * n + 1)) for n in range(30))
show("ERF_SMALL", lawson(series, 0, 1, 6), "erf(x) / x in x^2 on |x| <= 1")
show("ERFC_LOG", lawson(lambda x: log(erfc(x)), 0.95, 4.1, 8, relative=False), "ln erfc(x) on 0.95 <= x <= 4.1, absolute")
log1p = lambda f: (np.log1p(f) - f + f * f / 2) / f**3 if abs(f) > 1e-2 else sum((-1.0) ** (n - 1) * f ** (n - 3) / n for n in range(3, 14))
show("LN", lawson(log1p, -0.25, 0.5, 8, relative=False), "(ln(1 + f) - f + f^2 / 2) / f^3 on -0.25 <= f <= 0.5")
assert abs(erf(0.5) - 0.5 * series(0.25)) < 1e-12
