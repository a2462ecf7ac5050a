"""How products are cut: tiles for the registers, strips and blocks for the caches, by the width of the vectors."""

from __future__ import annotations

from fastbackprop.engine.layout import LINE_BYTES
from fastbackprop.engine.processor import LANES32, X86

# A tile is some rows by one or two lines. Its accumulators are what the registers hold: 16 or more of the 32 of AVX-512
# and NEON, 12 of the 16 of AVX2, 8 of SSE's. With two lines a broadcast element is used twice: a tile of 12 rows by 2
# lines loads 14 times for 24 FMA, one of 16 rows by 1 line 17 times for 16, which takes longer than the FMA where both
# go two a cycle (Zen 5, Intel's Xeons). Where a line is more than one vector, that is so with one line.
LINES = 2 if LANES32 == 16 else 1
ROWS = {16: 16, 8: 6, 4: 2 if X86 else 6}[LANES32]

WIDTH = 12 if LINES == 2 else 16  # rows of a packed strip of A; with two lines those of the tallest tile
DEPTH = 192  # of a block of the forward and backward products: two such lines, 24 KB, stay in the first-level cache
BLOCK_BYTES = 1024  # a column of a block of A: with DEPTH 192 KB, and as much for the sums of 200 samples
# Of a chunk of A in the gradient, whose two lines of B take 32 KB: 64 KB, or 96 KB where there are more samples: then
# the sums wait, nothing fits the first-level cache, and it pays if more outputs use B.
CHUNK_BYTES, WAITING_CHUNK_BYTES, CHUNK_SAMPLES = 256, 384, 256
MANY_PANELS = 16  # so many pay for packing whole blocks of A by rows; by columns, which takes less, half as many
FAR_BYTES = 1 << 18  # matrices of more bytes are asked for ahead
WIDE_ROW = 1024  # bytes of a row of the weights from which columns are packed for the backward product
PAGE = 4096  # rows of the weights that are a multiple of this apart fall into one set of the first-level cache


def whole_strips(column_bytes: int, itemsize: int) -> int:
    """Rows of whole strips whose columns take at most so many bytes."""
    return column_bytes // itemsize // WIDTH * WIDTH


def scratch_size(widest: int, itemsize: int) -> int:
    """Elements that the products need for packed strips, or for the sums of a chunk, of layers up to `widest`."""
    n = LINE_BYTES // itemsize
    strips = DEPTH * whole_strips(BLOCK_BYTES, itemsize) + n
    return max(strips, WAITING_CHUNK_BYTES // itemsize * (widest + n))


def packs_forward(n_out: int, n_in: int, itemsize: int) -> bool:
    """Whether the forward product may pack the weights."""
    return n_in * itemsize % PAGE == 0 or n_out * n_in * itemsize > FAR_BYTES


def packs_backward(n_out: int, n_in: int, itemsize: int) -> bool:
    """Whether the backward product may."""
    return n_in * itemsize >= WIDE_ROW or n_out * n_in * itemsize > FAR_BYTES
