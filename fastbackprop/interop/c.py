"""C: one C99 file with the weights in it, which needs nothing but ``fma`` of the mathematics library.

It gives the bits of ``forward``: each sum is the engine's chain of fused multiply-adds, and exp, tanh and the like are
those of ``engine/elementary.py``, operation for operation.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastbackprop import persistence
from fastbackprop.activations import GELU_CUBIC, GELU_SCALE, LEAK, SELU_ALPHA, SELU_SCALE
from fastbackprop.engine import elementary
from fastbackprop.interop.exported import Exported, exported
from fastbackprop.network import Network
from fastbackprop.plan import unit_shards_of
from fastbackprop.tables import Category, Date, Number
from fastbackprop.tabular.dates import YEAR
from fastbackprop.text import printable
from fastbackprop.version import __version__

ROWS = 10  # of the self-test
WIDTH = 118  # of a line


def chains_of(net: Network, l: int) -> list[int]:
    """Where the chains of fused multiply-adds end whose sum is Z[l]: one, or in layer 2 of some networks 2, 4 or 8."""
    return list(unit_shards_of(net.sizes)[1:]) if l == 2 else [net.sizes[l - 1]]


# ---------------------------------------------------------------------- functions

HEAD = """\
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) || FLT_EVAL_METHOD != 0
#error "the results would have other bits: no -ffast-math, and no arithmetic in more than the type's precision"
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize ("fp-contract=off")
#else
#pragma STDC FP_CONTRACT OFF
#endif
"""

SINGLE = """\
typedef float real;
typedef uint32_t bits;
typedef int32_t whole;
#define FMA fmaf
#define RINT rintf
#define FABS fabsf
#define COPYSIGN copysignf
"""
DOUBLE = """\
typedef double real;
typedef uint64_t bits;
typedef int64_t whole;
#define FMA fma
#define RINT rint
#define FABS fabs
#define COPYSIGN copysign
"""

LAYER = """\
/* z = W' x + b, each element a chain of fused multiply-adds, or the sum of 2, 4 or 8 that end at `ends`: of neighbours,
   then of the sums of neighbours. All outputs go on together, so that compilers make vectors of them. `z` has room for
   as many vectors as there are chains. */
static void layer(const real *restrict W, const real *restrict b, int outputs, const int *ends, int chains,
                  const real *restrict x, real *restrict z)
{
    int k = 0;
    for (int c = 0; c < chains; c++) {
        real *sum = z + (size_t)c * outputs;
        for (int o = 0; o < outputs; o++)
            sum[o] = c == 0 ? b[o] : 0;
        for (; k < ends[c]; k++)
            for (int o = 0; o < outputs; o++)
                sum[o] = FMA(W[(size_t)k * outputs + o], x[k], sum[o]);
    }
    for (int n = chains / 2; n > 0; n /= 2)
        for (int c = 0; c < n; c++)
            for (int o = 0; o < outputs; o++)
                z[c * outputs + o] = z[2 * c * outputs + o] + z[(2 * c + 1) * outputs + o];
}
"""

DATES = """\
/* the part of a day, a week (from Monday on) and a year that has passed; days since 1970 */
static double part_of_day(double days)
{
    return days - floor(days);
}

static double part_of_week(double days)
{
    double day = floor(days) + 3; /* 1970 began on a Thursday */
    return (day - 7 * floor(day / 7)) / 7;
}

static double part_of_year(double days)
{
    /* in eras of 400 years that begin on 1 March, so that a leap year's day is its last */
    double day = floor(days) + 719468;
    day = day - 146097 * floor(day / 146097);
    double year = floor((day - floor(day / 1460) + floor(day / 36524) - floor(day / 146096)) / 365);
    day = day - (365 * year + floor(year / 4) - floor(year / 100));
    int leap = fmod(year, 4) == 0 && (fmod(year, 100) != 0 || year == 0);
    return (day < 306 ? day + 59 + leap : day - 306) / {YEAR};
}
"""
DATES = DATES.replace("{YEAR}", repr(YEAR))

# By name: what a function needs, and its text, with constants as {NAME}.
FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "power_of_two": ((), """\
static real power_of_two(real n) /* for whole n in the range of normal numbers */
{{
    bits k = (bits)((whole)n + {BIAS}) << {FRACTION};
    real power;
    memcpy(&power, &k, sizeof power);
    return power;
}}
"""),
    "exp_reduced": (("power_of_two",), """\
static real exp_reduced(real x, real *n) /* e^r - 1, with x = n ln 2 + r and |r| <= ln(2) / 2 */
{{
    *n = RINT(x * {LOG2_E});
    real r = FMA(-*n, {LN2_HIGH}, x);
    r = FMA(-*n, {LN2_LOW}, r);
    return FMA(r * r, {EXP_TAIL}, r);
}}
"""),
    "exp_below": (("exp_reduced",), """\
static real exp_below(real x) /* e^x for x below the point from which it is infinite */
{{
    real n, q = exp_reduced(x < {EXP_BOTTOM} ? {EXP_BOTTOM} : x, &n), half = RINT(n * {HALF});
    return (q + {ONE}) * power_of_two(half) * power_of_two(n - half);
}}
"""),
    "exp": (("exp_below",), """\
static real exponential(real x)
{{
    return exp_below({EXP_TOP} < x ? {EXP_TOP} : x);
}}
"""),
    "exp_minus_1": (("exp_reduced",), """\
static real exp_minus_1(real x)
{{
    real n, q = exp_reduced(x < {FIFTY} ? {FIFTY} : x, &n), s = power_of_two(n);
    return FMA(s, q, s - {ONE});
}}
"""),
    "elu": (("exp_minus_1",), """\
static real elu(real z)
{{
    return z < 0 ? exp_minus_1(z) : z;
}}
"""),
    "selu": (("exp_minus_1",), """\
static real selu(real z)
{{
    return z < 0 ? {SELU_BELOW} * exp_minus_1(z) : {SELU_SCALE} * z;
}}
"""),
    "sigmoid": (("exp_below",), """\
static real sigmoid(real x)
{{
    real e = exp_below(-FABS(x)), top = x < 0 ? e : {ONE}, total = e + {ONE}, a = top / total;
    real rest = FMA(-a, e - (total - {ONE}), FMA(-a, total, top));
    return FMA(rest, x < 0 ? {ONE} - a : a, a);
}}
"""),
    "softplus": (("exp_below",), """\
static real softplus(real x)
{{
    real u = exp_below(-FABS(x)), s = u / (u + {TWO}), z = s * s; /* log(1 + u) = 2 atanh(s) */
    return (0 < x ? x : 0) + (u - s * (u - z * {ATANH_TAIL} * {TWO}));
}}
"""),
    "tanh": ((), """\
static real hyperbolic_tangent(real x)
{{
    real a = FABS(x);
    a = {TANH_TOP} < a ? {TANH_TOP} : a;
    real total = FMA(a, {TWO_LOG2_E}, {ROUNDING}), n = total - {ROUNDING}, scale;
    bits k;
    memcpy(&k, &total, sizeof k);
    k <<= {FRACTION};
    memcpy(&scale, &k, sizeof scale); /* 2^(n - 1) */
    real r = FMA(-n, {HALF_LN2}, a), z = r * r, w = z * {COTH_TAIL};
    real minus = scale - {HALF}, plus = scale + {HALF}, h = minus + FMA(plus, r, minus * w);
    return COPYSIGN(h / (h + ((w - r) + {ONE})), x);
}}
"""),
    "relu": ((), """\
static real relu(real z)
{{
    return z < 0 ? -(real)0 : z + 0;
}}
"""),
    "relu0": ((), """\
static real relu0(real z)
{{
    return 0 < z ? z : -(real)0;
}}
"""),
    "leaky_relu": ((), """\
static real leaky_relu(real z)
{{
    return z < 0 ? {LEAK} * z : z;
}}
"""),
    "gelu": (("sigmoid",), """\
static real gelu(real z)
{{
    z = z < -{HUNDRED} ? -{HUNDRED} : z;
    real u = {GELU_SCALE} * z * FMA(z * z, {GELU_CUBIC}, {ONE});
    return z * sigmoid(u + u);
}}
"""),
    "silu": (("sigmoid",), """\
static real silu(real z)
{{
    z = z < -{THOUSAND} ? -{THOUSAND} : z;
    return z * sigmoid(z);
}}
"""),
    "mish": (("exp",), """\
static real mish(real z)
{{
    z = z < -{THOUSAND} ? -{THOUSAND} : z;
    real e = exponential({FORTY} < z ? {FORTY} : z), w = e * (e + {TWO});
    return z * (w * ({ONE} / (w + {TWO})));
}}
"""),
    "hard_tanh": ((), """\
static real hard_tanh(real z)
{{
    return z < -{ONE} ? -{ONE} : {ONE} < z ? {ONE} : z;
}}
"""),
    "gelu_exact": (("exp_below",), """\
static real gelu_exact(real z)
{{
    real a = FABS(z);
    a = {TAIL_END} < a ? {TAIL_END} : a;
    real half = -{HALF} * a, h = half * a, e = exp_below(h), inverse = {ONE} / (a + {MILLS_K});
    e = FMA(e, FMA(half, a, -h), e);
    real t = (a - {MILLS_K}) * inverse;
    t = FMA(FMA(-t, a, a - {MILLS_K} * (t + {ONE})), inverse, t);
    real p = {MILLS}, m = p * inverse;
    m = FMA(FMA(-m, a, FMA(-m, {MILLS_K}, p)), inverse, m);
    real tail = e * m;
    return (z < -{HUNDRED} ? -{HUNDRED} : z) * (z < 0 ? tail : {ONE} - tail);
}}
"""),
    "softmax": (("exp_below",), """\
static void softmax(real *z, int outputs)
{{
    real top = z[0], total = 0;
    for (int j = 1; j < outputs; j++)
        top = top < z[j] ? z[j] : top;
    top = {LARGEST} < top ? {LARGEST} : top;
    for (int j = 0; j < outputs; j++) {{
        real v = z[j] - top;
        z[j] = exp_below(0 < v ? 0 : v);
        total = total + z[j];
    }}
    real inverse = {ONE} / total;
    for (int j = 0; j < outputs; j++)
        z[j] = z[j] * inverse;
}}
"""),
}  # fmt: skip
CALLED = {"exp": "exponential", "tanh": "hyperbolic_tangent"}  # in C: their own names are the library's


def _horner(variable: str, coefficients: list[float], dtype: Any) -> str:
    """c[0] + c[1] x + ... in fma."""
    text = _number(coefficients[-1], dtype)
    for c in coefficients[-2::-1]:
        text = f"FMA({text}, {variable}, {_number(c, dtype)})"
    return text


def _constants(dtype: np.dtype[Any]) -> dict[str, str]:
    """The constants of the functions, those of ``engine/elementary.py``."""
    which = 0 if dtype == np.float32 else 1
    fraction, bias = ((23, 127), (52, 1023))[which]
    numbers = {
        "ONE": 1.0, "TWO": 2.0, "HALF": 0.5, "FIFTY": -50.0, "FORTY": 40.0, "HUNDRED": 100.0,
        "THOUSAND": 1000.0, "LOG2_E": elementary.LOG2_E,
        "LN2_HIGH": elementary.LN2_HIGH.values[which],
        "LN2_LOW": elementary.LN2_LOW.values[which],
        "EXP_TOP": elementary.EXP_TOP.values[which], "EXP_BOTTOM": elementary.EXP_BOTTOM.values[which],
        "LARGEST": elementary.LARGEST.values[which], "TANH_TOP": 22.0, "TWO_LOG2_E": 2.0 * elementary.LOG2_E,
        "HALF_LN2": 0.5 * float(np.log(2.0)), "ROUNDING": 1.5 * 2.0**fraction + (bias - 1), "LEAK": LEAK,
        "GELU_SCALE": GELU_SCALE, "GELU_CUBIC": GELU_CUBIC, "SELU_SCALE": SELU_SCALE,
        "SELU_BELOW": SELU_SCALE * SELU_ALPHA, "TAIL_END": elementary.TAIL_END.values[which],
        "MILLS_K": elementary.MILLS_K.values[which],
    }  # fmt: skip
    return {name: _number(value, dtype) for name, value in numbers.items()} | {
        "BIAS": str(bias), "FRACTION": str(fraction),
        "EXP_TAIL": _horner("r", elementary.exp_tail.values[which], dtype),
        "ATANH_TAIL": _horner("z", elementary.atanh_tail_log1p.values[which], dtype),
        "COTH_TAIL": _horner("z", elementary.coth_tail.values[which], dtype),
        "MILLS": _horner("t", elementary.mills.values[which], dtype),
    }  # fmt: skip


def _functions(names: Iterable[str], dtype: np.dtype[Any]) -> str:
    """The text of some functions, after what they need, each once."""
    found: dict[str, str] = {}
    constants = _constants(dtype)

    def add(name: str) -> None:
        needed, text = FUNCTIONS[name]
        for other in needed:
            add(other)
        found.setdefault(name, text.format(**constants))

    for name in names:
        add(name)
    return "\n".join(found.values())


# ---------------------------------------------------------------------- the file


def _number(value: Any, dtype: Any) -> str:
    """A number as C reads it back, bit for bit."""
    dtype = np.dtype(dtype)
    digits, _, exponent = float(dtype.type(value)).hex().partition("p")
    head, _, tail = digits.partition(".")
    tail = tail.rstrip("0")
    return f"{head}{'.' if tail else ''}{tail}p{exponent}{'f' if dtype == np.float32 else ''}"


def _array(kind: str, name: str, values: Any, dtype: Any) -> str:
    numbers = [_number(value, dtype) if np.isfinite(value) else "NAN" for value in np.asarray(values).ravel()]
    return _listed(f"static const {kind} {name}[{len(numbers)}]", numbers)


def _listed(start: str, items: list[str]) -> str:
    lines = textwrap.wrap(", ".join(items), WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return f"{start} = {{\n" + "".join(f"    {line}\n" for line in lines) + "};\n"


def _said(text: str) -> str:
    """A text in a comment: it neither ends it nor begins another, and is ASCII."""
    return printable(text).encode("ascii", "backslashreplace").decode().replace("*", "\\x2a").replace("?", "\\x3f")


def _describe(found: Exported, scalar: str) -> str:
    """The comment at the head of the file."""
    net, table = found.net, found.table
    layers, hidden = "-".join(map(str, net.sizes)), ", ".join(dict.fromkeys(net.hidden)) or "none"
    lines = [
        f"A network {layers}, hidden: {hidden}; output: {net.output}; written by fastbackprop {__version__}.", "",
        f"void predict(const {scalar} *x, {scalar} *y): {_inputs(found)} numbers to {net.sizes[-1]}, of one sample.",
        "int self_test(void): 0, or the number of the first of ten rows whose bits differ.", "",
        "To try it: cc -O2 -DSELF_TEST this.c -lm && ./a.out", "",
    ]  # fmt: skip
    if table is not None:
        for k, column in enumerate(table.columns):
            what = f"{'days since 1970' if isinstance(column, Date) else 'number'}, NAN where it is missing"
            if isinstance(column, Category):
                codes = ", ".join(f"{code}: {value}" for code, value in enumerate(column.values))
                what = f"number of a category, NAN where it is missing, -1 for another: {codes}"
            lines.append(f"x[{k}] {_said(f'{column.name}: {what}')}")
        lines += [f"y[{k}] {_said(name)}" for k, name in enumerate(table.classes or table.targets)]
    elif found.classes is not None:
        lines.append(f"classes: {_said(', '.join(map(str, found.classes)))}")
    return "/*\n" + "".join(f" * {line}".rstrip() + "\n" for line in lines) + " */\n"


def _has_cycles(found: Exported) -> bool:
    """Whether sines and cosines of dates are among the inputs."""
    return found.table is not None and any(isinstance(c, Date) and c.cycles for c in found.table.columns)


def _inputs(found: Exported) -> int:
    return found.net.sizes[0] if found.table is None else len(found.table.columns)


def to_c(model: Any, path: str | os.PathLike[str] | None = None) -> str:
    """A model as one C99 file, without dependencies or allocation, whose outputs have the bits of ``forward``.

    It has ``void predict(const float *x, float *y)``, of one sample, with double in the place of float for a network of
    float64; and ``int self_test(void)``, which is 0 where ten rows have the right bits. With ``SELF_TEST`` defined it
    has a ``main`` that says so. The file needs the mathematics library for ``fma``; a processor without such an
    instruction takes long.

    A file that ``fastbackprop train`` wrote keeps its preprocessing: x, of double, has a number for each column, NaN
    where a value is missing, for a category its place among the values, which the file's first lines tell, for a date
    the days since 1970, whose sine and cosine are the C library's; y, of
    double, is what ``fastbackprop predict`` writes: probabilities, or targets in their units.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
        The inputs must be finite. A network's memory, three vectors of its widest layer, is taken from the stack.
    path : path, optional
        A file to write, which appears whole or not at all.

    Returns
    -------
    str
        The text of the file.

    Raises
    ------
    TypeError, ValueError, OSError
        Where the model is no such thing, has parameters that are not finite, or the file cannot be written.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> text = fb.interop.to_c(fb.Network((4, 8, 3), seed=0))
    >>> "void predict(const float *x, float *y)" in text
    True
    """
    found = exported(model)
    if path is not None:
        persistence.check_target(path, "path")
    net, dtype = found.net, found.net.dtype
    scalar = {"float32": "float", "float64": "double"}["float64" if found.table is not None else dtype.name]
    used = [*net.hidden, net.output]
    parts = [
        _describe(found, scalar), HEAD, SINGLE if dtype == np.float32 else DOUBLE,
        _functions(dict.fromkeys(name for name in used if name in FUNCTIONS), dtype), LAYER,
        DATES if _has_cycles(found) else "",
    ]  # fmt: skip
    for l, (W, b) in enumerate(zip(net.weights, net.biases), 1):
        parts += [_array("real", f"W{l}", W.T, dtype), _array("real", f"b{l}", b, dtype)]
        parts.append(_listed(f"static const int ends{l}[]", [str(end) for end in chains_of(net, l)]))
    parts += [_predict(found, scalar), _self_test(found, scalar)]
    text = "\n".join(part for part in parts if part)
    if path is not None:
        persistence.write_atomically(path, text.encode())
    return text


def _predict(found: Exported, scalar: str) -> str:
    net = found.net
    sizes = [n * len(chains_of(net, l)) for l, n in enumerate(net.sizes[1:], 1)]
    room = max(net.sizes[0], *sizes)
    lines = [
        f"void predict(const {scalar} *x, {scalar} *y)",
        "{",
        f"    real a[{room}], z[{room}];",
    ]
    lines += _encoding(found)
    source, target = "a", "z"
    for l in range(1, len(net.sizes)):
        chains = len(chains_of(net, l))
        lines.append(f"    layer(W{l}, b{l}, {net.sizes[l]}, ends{l}, {chains}, {source}, {target});")
        name = net.hidden[l - 1] if l <= len(net.hidden) else net.output
        if name == "softmax":
            lines.append(f"    softmax({target}, {net.sizes[l]});")
        elif name != "identity":
            lines.append(f"    for (int j = 0; j < {net.sizes[l]}; j++)")
            lines.append(f"        {target}[j] = {CALLED.get(name, name)}({target}[j]);")
        source, target = target, source
    lines.append(f"    for (int j = 0; j < {net.sizes[-1]}; j++)")
    result, constants = f"{source}[j]", ""
    if found.table is not None and found.table.task == "regression":
        result = f"(double){source}[j] * target_scale[j] + target_mean[j]"
        constants = _array("double", "target_scale", found.table.scale, np.float64)
        constants += _array("double", "target_mean", found.table.mean, np.float64) + "\n"
    lines += [f"        y[j] = {result};", "}"]
    return constants + "\n".join(lines) + "\n"


def _encoding(found: Exported) -> list[str]:
    """From x to the network's inputs."""
    if found.table is None:
        return [f"    memcpy(a, x, {found.net.sizes[0]} * sizeof *a);"]
    lines, start = [], 0
    for k, column in enumerate(found.table.columns):
        if isinstance(column, Category):
            missing = len(column.values) if column.missing else -1
            lines.append(f"    for (int j = 0; j < {column.width}; j++)")
            lines.append(f"        a[{start} + j] = (isnan(x[{k}]) ? {missing} : x[{k}]) == j;")
        else:
            fill, mean, scale = (_number(v, np.float64) for v in (column.fill, column.mean, column.scale))
            lines.append(f"    a[{start}] = (real)(((isfinite(x[{k}]) ? x[{k}] : {fill}) - {mean}) / {scale});")
        for j, cycle in enumerate(column.cycles if isinstance(column, Date) else ()):
            angle = f"{_number(2 * np.pi, np.float64)} * part_of_{cycle}(x[{k}])"
            for place, function in enumerate(("sin", "cos"), start + 1 + 2 * j):
                lines.append(f"    a[{place}] = (real)(isnan(x[{k}]) ? 0 : {function}({angle}));")
        start += column.width
    return lines


def _self_test(found: Exported, scalar: str) -> str:
    """Ten rows, and what they give."""
    x, y = _rows(found)
    inputs, outputs = x.shape[1], y.shape[1]
    compared = f"        if (memcmp(y, test_y + row * {outputs}, sizeof y) != 0)"
    if _has_cycles(found):  # sine and cosine are another library's
        near = f"fabs(y[j] - test_y[row * {outputs} + j]) > 1e-6 * (1 + fabs(y[j]))"
        compared = f"        for (int j = 0; j < {outputs}; j++)\n            if ({near})"
    return f"""\
{_array(scalar, "test_x", x, x.dtype)}
{_array(scalar, "test_y", y, y.dtype)}
int self_test(void)
{{
    for (int row = 0; row < {ROWS}; row++) {{
        {scalar} y[{outputs}];
        predict(test_x + row * {inputs}, y);
{compared}
                return row + 1;
    }}
    return 0;
}}

#ifdef SELF_TEST
#include <stdio.h>

int main(void)
{{
    int row = self_test();
    if (row != 0)
        printf("row %d has other bits\\n", row);
    else
        puts("all rows have the right bits");
    return row != 0;
}}
#endif
"""


def _rows(found: Exported) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the self-test, and the outputs that the engine gives."""
    rng, net, table = np.random.default_rng(0), found.net, found.table
    if table is None:
        x = rng.standard_normal((ROWS, net.sizes[0])).astype(net.dtype)
        return x, net.forward(x)
    raw, parts = [], []
    for column in table.columns:
        if isinstance(column, Category):
            codes = rng.integers(-1, len(column.values), ROWS).astype(np.float64)
            codes[rng.random(ROWS) < 0.1] = np.nan
            raw.append(codes)
            where = np.where(np.isnan(codes), len(column.values) if column.missing else -1, codes)
            parts.append((where[:, None] == np.arange(column.width)).astype(np.float64))
        else:
            values = column.mean + column.scale * rng.standard_normal(ROWS)
            values[rng.random(ROWS) < 0.1] = np.nan
            raw.append(values)
            parts.append(column.encode(values) if isinstance(column, Number) else column.encode_days(values))
    outputs = net.forward(np.hstack(parts).astype(net.dtype))
    if table.task == "regression":
        return np.stack(raw, axis=1), outputs.astype(np.float64) * table.scale + table.mean
    return np.stack(raw, axis=1), outputs.astype(np.float64)
