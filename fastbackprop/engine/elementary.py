"""exp, expm1, log, log1p, tanh, sigmoid, softplus, sqrt and normal in explicit fma: vectors and scalars, same bits.

The library's own, since those of C libraries and of compilers' vector libraries differ from machine to machine; sqrt
since the processor's takes too long.
Each is within 2 units in the last place of the true value (tanh: 2.17 in float32, of which all were compared, and 2.52
in float64, both just below 1/4, where the unit is about to double; normal says its own), also at the ends of the range,
and NaN passes through. The coefficients, but those of tanh and normal, are those of the series, 1/k! and 1/(2k+1), cut
where the next term is below the precision.
"""

from __future__ import annotations

import math

from fastbackprop.engine import simd
from fastbackprop.engine.jit import inline
from fastbackprop.engine.simd import (
    by_precision,
    const,
    copy_sign,
    exponent,
    fma,
    guess_inverse_sqrt,
    if_equal,
    if_less,
    itemsize,
    magnitude,
    polynomial,
    power_of_two,
    rint,
    round_half_power,
    significand,
    times_power_of_two,
)

LOG2_E = 1.0 / math.log(2.0)
# ln 2 in two parts (Cody and Waite): the first has so few bits that n * LN2_HIGH is exact for every exponent n.
LN2_HIGH = by_precision(0.693359375, 6.93147180369123816490e-01)
LN2_LOW = by_precision(-2.12194440054690583e-4, 1.90821492927058770002e-10)
EXP_TOP = by_precision(89.0, 710.0)  # exp is infinite from here on
EXP_BOTTOM = by_precision(-105.0, -746.0)  # exp is zero from here down
TAIL_END = by_precision(15.0, 39.0)  # the normal distribution's tail and density are 0 beyond
SMALLEST_NORMAL = by_precision(2.0**-126, 2.0**-1022)
LARGEST = by_precision((2.0 - 2.0**-23) * 2.0**127, (2.0 - 2.0**-52) * 2.0**1023)


def _inverse_factorials(first: int, last: int) -> list[float]:
    return [1.0 / math.factorial(k) for k in range(first, last + 1)]


def _inverse_odds(count: int) -> list[float]:
    return [1.0 / (2 * k + 1) for k in range(1, count + 1)]


exp_tail = polynomial(_inverse_factorials(2, 7), _inverse_factorials(2, 13))  # (e^r - 1 - r) / r^2, |r| <= ln(2) / 2
# (r coth r - 1) / r^2 by powers of r^2, |r| <= ln(2) / 4: not the series, whose sum would take a term more, but of so
# many terms those that are nearest to it (Remez), within 2^-28.7 and 2^-60 of r coth r.
coth_tail = polynomial(
    [0.33333251500819144, -0.022134036473049887],
    [
        0.33333333333333204, -0.022222222221612423, 0.0021164020228743303, -0.00021163394920418056,
        2.1187277134475184e-05,
    ],
)  # fmt: skip
# Mills' ratio, M(a) = (1 - Phi(a)) / phi(a) of the normal distribution and its density: (a + k) M(a) / sqrt(2 pi) by
# powers of t = (a - k) / (a + k), for a from 0 to TAIL_END. The polynomials that meet it at Chebyshev's points of that
# range, within 2^-29.6 and 2^-60.7 of it.
MILLS_K = by_precision(3.0, 5.0)
mills = polynomial(
    [
        0.7290837168693542, -0.509332001209259, 0.23001767694950104, -0.0472627617418766, -0.010462288744747639,
        0.006969920359551907, 0.0010241572745144367, -0.0010344765614718199, -0.0002447093138471246,
        0.00013332394883036613, 5.549187335418537e-05,
    ],
    [
        0.769193049750063, -0.6653825028900568, 0.4953056159699761, -0.31353315667128745, 0.16502036617040713,
        -0.06911863870687814, 0.020795066799260343, -0.002993376761868743, -0.0007978693892958589,
        0.0005448989927584027, -5.9375807358891235e-05, -4.976245616870157e-05, 1.6681639595174005e-05,
        3.97980489932909e-06, -2.7707204135122383e-06, -3.345738518771817e-07, 4.362925568222539e-07,
        4.0177962891473734e-08, -7.014220631960926e-08, -8.555696628254633e-09, 1.0797345335746256e-08,
        2.220848621773149e-09, -1.160886448380309e-09, -3.81618035300424e-10,
    ],
)  # fmt: skip
atanh_tail_log = polynomial(_inverse_odds(5), _inverse_odds(11))  # (atanh(s) - s) / s^3, |s| <= 0.172
atanh_tail_log1p = polynomial(_inverse_odds(7), _inverse_odds(16))  # the same, |s| <= 1/3


@inline
def _reduce(x):
    """n and r with x = n ln 2 + r, n an integer, |r| <= ln(2) / 2."""
    n = rint(x * const(x, LOG2_E))
    r = fma(-n, LN2_HIGH(x), x)
    return n, fma(-n, LN2_LOW(x), r)


@inline
def exp_below(x):
    """e**x for x below the point from which it is infinite."""
    n, r = _reduce(if_less(x, EXP_BOTTOM(x), EXP_BOTTOM(x), x))
    return times_power_of_two(fma(r * r, exp_tail(r), r) + const(x, 1.0), n)


@inline
def exp(x):
    """e**x."""
    return exp_below(if_less(EXP_TOP(x), x, EXP_TOP(x), x))


@inline
def _expm1(x):
    """e**x - 1 for -50 <= x <= 44, without cancellation near 0."""
    n, r = _reduce(x)
    q = fma(r * r, exp_tail(r), r)  # e**r - 1
    s = power_of_two(n)
    return fma(s, q, s - const(x, 1.0))


@inline
def expm1(x):
    """e**x - 1 for x <= 44, without cancellation near 0."""
    return _expm1(if_less(x, const(x, -50.0), const(x, -50.0), x))


@inline
def _log_scaled(x, scale):
    """The natural logarithm of x / 2**scale, for x normal and positive."""
    one, e, m = const(x, 1.0), exponent(x), significand(x)
    above = const(x, math.sqrt(2.0))
    e = if_less(above, m, e + one, e) - scale
    m = if_less(above, m, m * const(x, 0.5), m)  # [sqrt(1/2), sqrt(2)]
    f = m - one
    s = f / (m + one)  # log m = 2 atanh(s)
    z = s * s
    # 2 s = f - s f: the leading term f is exact, the correction is small (as in FreeBSD's log)
    tail = z * atanh_tail_log(z) * const(x, 2.0)
    return fma(e, LN2_HIGH(x), f - (s * (f - tail) - e * LN2_LOW(x)))


@inline
def log_of_normal(x):
    """The natural logarithm of a normal positive number."""
    return _log_scaled(x, const(x, 0.0))


@inline
def log(x):
    """The natural logarithm."""
    scale = if_less(x, SMALLEST_NORMAL(x), const(x, 54.0), const(x, 0.0))  # subnormal numbers become normal
    value = _log_scaled(x * power_of_two(scale), scale)
    infinity = const(x, math.inf)
    value = if_equal(x, infinity, infinity, value)
    value = if_equal(x, const(x, 0.0), -infinity, value)
    return if_less(x, const(x, 0.0), const(x, math.nan), if_equal(x, x, value, x))


@inline
def log1p(u):
    """log(1 + u) for 0 <= u <= 1."""
    s = u / (u + const(u, 2.0))
    z = s * s
    return u - s * (u - z * atanh_tail_log1p(z) * const(u, 2.0))  # 2 atanh(s), as in log


@inline
def tanh(x):
    """The hyperbolic tangent: with 2|x| = n ln 2 + 2 r and e**(2 r) = (r coth r + r) / (r coth r - r) it is
    (2**n (r coth r + r) - (r coth r - r)) / (2**n (r coth r + r) + (r coth r - r)), with the sign of x.

    r coth r is an even function, so it takes half of the terms that e**(2 r) would. As 2|x| is at most 44, and the
    quotient depends the less on e**(2 r) the larger it is, one constant for ln 2 is enough.
    """
    one, half, top = const(x, 1.0), const(x, 0.5), const(x, 22.0)  # tanh is 1 from 22 on
    a = magnitude(x)
    a = if_less(top, a, top, a)
    n, scale = round_half_power(a, const(x, 2.0 * LOG2_E))  # 2**(n - 1)
    r = fma(-n, const(x, 0.5 * math.log(2.0)), a)
    square = r * r
    w = square * coth_tail(square)
    minus, plus = scale - half, scale + half
    # Half of the numerator, (scale - 1/2) (1 + w) + (scale + 1/2) r, from the smallest term on. The denominator is the
    # numerator and something positive, so the quotient is never above 1.
    h = minus + fma(plus, r, minus * w)
    return copy_sign(h / (h + ((w - r) + one)), x)


@inline
def sigmoid(x):
    """1 / (1 + e**-x), never overflowing: e**-|x| is at most 1."""
    e, one, zero = exp_below(-magnitude(x)), const(x, 1.0), const(x, 0.0)
    top, total = if_less(x, zero, e, one), e + one
    a = top / total
    # What the sum and the division have rounded away, times 1 / (1 + e), which is a or, where x < 0, 1 - a.
    rest = fma(-a, e - (total - one), fma(-a, total, top))
    return fma(rest, if_less(x, zero, one - a, a), a)


@inline
def softplus(x):
    """log(1 + e**x) = max(x, 0) + log(1 + e**-|x|)."""
    zero = const(x, 0.0)
    return if_less(zero, x, x, zero) + log1p(exp_below(-magnitude(x)))  # of which the second is NaN if x is


@inline
def normal(x):
    """The normal distribution Phi(x) = (1 + erf(x / sqrt(2))) / 2 and its density phi(x) = e**(-x^2 / 2) / sqrt(2 pi).

    Both at once, since they have an exponential in common. Below 0, 1 + erf would be a difference of nearly equal
    numbers: there Phi is phi(x) M(|x|), with Mills' ratio M, and above it is 1 minus that. Phi is within 4.6 units in
    the last place in float32, of which all from 1/8 on were compared, and 3.5 in float64; at and above 0 within 2; phi
    within 2.8.
    """
    one, zero, k, end = const(x, 1.0), const(x, 0.0), MILLS_K(x), TAIL_END(x)
    a = magnitude(x)
    a = if_less(end, a, end, a)
    half = const(x, -0.5) * a
    h = half * a  # rounded; the rest of -x^2 / 2 is the exponent of a second factor, 1 + rest
    e = exp_below(h)
    e = fma(e, fma(half, a, -h), e)
    inverse = one / (a + k)
    # Each quotient with what rounding has left of it.
    t = (a - k) * inverse
    t = fma(fma(-t, a, a - k * (t + one)), inverse, t)
    p = mills(t)
    m = p * inverse
    m = fma(fma(-m, a, fma(-m, k, p)), inverse, m)
    tail = e * m
    return if_less(x, zero, tail, one - tail), e * const(x, 1.0 / math.sqrt(2.0 * math.pi))


@inline
def _newton(g, h):
    """A step of Newton's method (Goldschmidt's form) for g = sqrt(x) and h = 1 / (2 sqrt(x)): the error is squared."""
    r = fma(-g, h, const(g, 0.5))
    return fma(g, r, g), fma(h, r, h)


@inline
def sqrt(x):
    """The square root of numbers not below 0, with the processor's bits. With its own, Adam in float64 takes longer."""
    if itemsize(x) == 4:
        return simd.sqrt(x)
    small = const(x, 2.0**-960)  # below it remainders would be rounded, and subnormal numbers have no such guess
    a = if_less(x, small, x * const(x, 2.0**108), x)
    y = guess_inverse_sqrt(a)
    g, h = a * y, y * const(x, 0.5)
    for _ in range(3):
        g, h = _newton(g, h)
    for _ in range(2):  # the remainder is exact: once for the last place, again for how it is rounded
        g = fma(fma(-g, g, a), h, g)
    g = if_less(x, small, g * const(x, 2.0**-54), g)
    return if_equal(x, const(x, math.inf), x, g)
