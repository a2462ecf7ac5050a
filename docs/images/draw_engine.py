"""The drawings of docs/engine.md: `python docs/images/draw_engine.py` writes them anew.

They have a background of their own and follow the reader's colour scheme, so that they are readable on any page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.codes import FUSED_SGD, SOFTMAX_CCE
from fastbackprop.engine.program import Shape, Work, in_unit_shards
from fastbackprop.plan import unit_shards_of

STYLE = """
  .paper { fill: #ffffff; stroke: #d0d0d0 }
  text { fill: #222222; font: 13px system-ui, sans-serif }
  .small { font-size: 11px }
  .title { font-weight: 600 }
  .code { font-family: ui-monospace, monospace; font-size: 12px }
  .middle { text-anchor: middle }
  .end { text-anchor: end }
  .cell { fill: #f4f4f4; stroke: #8a8a8a }
  .first { fill: #cfe3f5; stroke: #8a8a8a }
  .second { fill: #fbe0cc; stroke: #8a8a8a }
  .third { fill: #d3ecd9; stroke: #8a8a8a }
  .none { fill: none; stroke: #b5b5b5; stroke-dasharray: 2 2 }
  .mark { fill: none; stroke: #c22f00; stroke-width: 2.5 }
  .line { fill: none; stroke: #555555; stroke-width: 1.3 }
  .wait { fill: none; stroke: #888888; stroke-dasharray: 4 3 }
  .tip { fill: #555555 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #22252d; stroke: #4a4e58 }
    text { fill: #e6e6e6 }
    .cell { fill: #343842; stroke: #7d828e }
    .first { fill: #27506f; stroke: #7d828e }
    .second { fill: #744a25; stroke: #7d828e }
    .third { fill: #2c5e3b; stroke: #7d828e }
    .none { stroke: #5d626e }
    .mark { stroke: #ff8a5c }
    .line { stroke: #b5b5b5 }
    .wait { stroke: #9a9a9a }
    .tip { fill: #b5b5b5 }
  }
"""
CELL = 26


class Drawing:
    """An SVG that is put together from rectangles, texts and arrows."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' role="img" aria-label="{title}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path class="tip" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
            f'<rect class="paper" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>',
        ]

    def box(self, x: float, y: float, width: float, height: float, kind: str = "cell") -> None:
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>')

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        words = words.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}">{words}</text>')

    def arrow(self, *points: tuple[float, float], kind: str = "line", tip: bool = True) -> None:
        path = " L".join(f"{x} {y}" for x, y in points)
        end = ' marker-end="url(#tip)"' if tip else ""
        self.parts.append(f'<path class="{kind}" d="M{path}"{end}/>')

    def __str__(self) -> str:
        return "\n".join([*self.parts, "</svg>", ""])


def layouts() -> Drawing:
    """One block of 8 samples of a layer of 6 units in the three layouts, with lines of 4 lanes."""
    samples, units, line = 8, 6, 4
    d = Drawing(760, 366, "The same numbers as rows, as panels and as units")

    def cell(x: float, y: float, s: int, u: int, label: bool = True) -> None:
        d.box(x, y, CELL, CELL, "first" if s < line else "second")
        d.text(x + CELL / 2, y + 17, f"{s},{u}", "small middle") if label else None
        if (s, u) == (5, 2):
            marks.append((x, y))

    marks: list[tuple[float, float]] = []
    top = 92
    d.text(24, 28, "rows", "title")
    d.text(24, 46, "the user’s array:", "small")
    d.text(24, 62, "a line a sample", "small")
    for s in range(samples):
        for u in range(units):
            cell(24 + u * CELL, top + s * CELL, s, u)

    left = 250
    d.text(left, 28, "panels", "title")
    d.text(left, 46, "for each 4 samples", "small")
    d.text(left, 62, "a line a unit", "small")
    for panel in range(samples // line):
        x = left + panel * (line * CELL + 16)
        d.text(x, top - 8, f"panel {panel}", "small")
        for u in range(units):
            for lane in range(line):
                cell(x + lane * CELL, top + u * CELL, panel * line + lane, u)

    left = 510
    d.text(left, 28, "units", "title")
    d.text(left, 46, "for each 4 units", "small")
    d.text(left, 62, "a line a sample", "small")
    for block in range(-(-units // line)):
        x = left + block * (line * CELL + 16)
        d.text(x, top - 8, f"block {block}", "small")
        for s in range(samples):
            for lane in range(line):
                u = block * line + lane
                if u < units:
                    cell(x + lane * CELL, top + s * CELL, s, u)
                else:
                    d.box(x + lane * CELL, top + s * CELL, CELL, CELL, "none")
    for x, y in marks:
        d.box(x, y, CELL, CELL, "mark")
    d.text(
        24, 330, "Each cell is “sample,unit”. In memory the lines of a panel or block follow each other, left to right,"
    )
    d.text(
        24,
        350,
        "top to bottom; then the next panel or block. A line here has 4 lanes; really 16 of float32 or 8 of float64.",
    )
    return d


def tile() -> Drawing:
    """The forward product's tile at one k."""
    d = Drawing(760, 470, "One step of the tile: a column of weights times a line of the panel")
    small, rows, depth, lanes = 20, 8, 6, 8
    left, top, k = 40, 190, 3

    x, y = left, top
    d.text(x, y - 30, "W, as it lies in net.params", "title")
    d.text(x, y - 12, "a row for each output, a column for each input k", "small")
    for r in range(rows):
        for c in range(depth):
            d.box(x + c * small, y + r * small, small, small, "second" if c == k else "cell")
    d.box(x + k * small, y, small, rows * small, "mark")

    panel_x = 420
    d.text(panel_x, 26, "one panel of A[l-1]", "title")
    d.text(panel_x + lanes * small + 14, 60, "a line for each input k,", "small")
    d.text(panel_x + lanes * small + 14, 76, "its lanes are samples", "small")
    panel_y = 36
    for r in range(depth):
        for c in range(lanes):
            d.box(panel_x + c * small, panel_y + r * small, small, small, "first" if r == k else "cell")
    d.box(panel_x, panel_y + k * small, lanes * small, small, "mark")

    for r in range(rows):
        for c in range(lanes):
            d.box(panel_x + c * small, y + r * small, small, small, "third")
    d.text(panel_x + lanes * small + 14, y + 28, "the tile, in registers:", "title")
    d.text(panel_x + lanes * small + 14, y + 48, "up to 16 lines of Z", "small")

    mid = y + rows * small / 2
    d.arrow((left + depth * small + 8, mid), (panel_x - 8, mid))
    d.text(236, mid - 24, "each element of the column", "small")
    d.text(236, mid - 10, "is broadcast to all lanes", "small")
    d.arrow((panel_x + lanes * small / 2, panel_y + (k + 1) * small + 3), (panel_x + lanes * small / 2, y - 4))
    d.text(panel_x + lanes * small / 2 + 8, y - 12, "one load", "small")

    d.text(
        left, 382, "for k = 0, 1, 2, ...:   Z[r] = fma(W[o + r, k], A[k], Z[r])   for all rows r of the tile", "code"
    )
    d.text(
        left,
        406,
        "Before: Z[r] = b[o + r], or the sums so far where an earlier part of the inputs has been done.",
        "small",
    )
    d.text(
        left,
        424,
        "After, still in registers: relu, or nothing. In the other two products: times relu’ or g’(Z); or",
        "small",
    )
    d.text(left, 442, "W = W − rate · dW. Then it is stored.", "small")
    return d


def phases() -> Drawing:
    """Two threads do one block of a shared step: its two phases."""
    d = Drawing(760, 400, "Two threads do a block: two phases, claims, leftovers and waits")
    begin, passed, end, height = 90, 380, 720, 34
    rows = {0: 84, 1: 134}
    for start, stop, name, what in (
        (begin, passed, "the samples", "gather, forward, output layer, deltas back"),
        (passed, end, "the weights", "gradient and update"),
    ):
        d.text((start + stop) / 2, 34, name, "title middle")
        d.text((start + stop) / 2, 52, what, "small middle")
    for thread, y in rows.items():
        d.text(24, y + 22, f"thread {thread}")

    def bar(thread: int, start: float, stop: float, name: str, kind: str) -> None:
        y = rows[thread]
        d.box(start, y, stop - start, height, kind)
        d.text((start + stop) / 2, y + 22, name, "small middle")

    bar(0, begin, 330, "slice 0", "first")
    d.box(330, rows[0], passed - 330, height, "wait")
    d.text(355, rows[0] + 22, "waits", "small middle")
    bar(1, begin, passed, "slice 1", "first")
    width = 62
    for i in range(4):
        bar(0, passed + i * width, passed + (i + 1) * width, f"task {i}", "second")
    bar(0, passed + 4 * width, 694, "task 7", "third")
    d.box(694, rows[0], end - 694, height, "wait")
    for i, stop in enumerate((500, 612, end)):
        bar(1, (passed, 500, 612)[i], stop, f"task {i + 4}", "second")
    for x in (passed, end):
        d.arrow((x, 66), (x, 184), tip=False, kind="mark")
    d.text(235, 202, "a phase begins when all of the one before is done", "small middle")
    d.text(passed + 64, 228, "Thread 1 is held up. Task 7 is of its share, 4 to 7:", "small")
    d.text(passed + 64, 244, "thread 0, done with its own, claims it.", "small")

    y, width = 296, 66
    names = ["slice 0", "slice 1", "task 0", "task 1", "...", "task 7"]
    d.text(24, y - 14, "The clock: a word for each of these, each on a cache line of its own", "title")
    for i, name in enumerate(names):
        x = 24 + i * (width + 8)
        if name != "...":
            d.box(x, y, width, 30, "second" if name.startswith("task") else "first")
        d.text(x + width / 2, y + 20, name, "small middle")
    d.text(24, y + 54, "In block n (from 1) a word goes from 2n − 2", "small")
    d.arrow((272, y + 50), (300, y + 50))
    d.text(306, y + 54, "2n − 1", "small")
    d.arrow((354, y + 50), (394, y + 50))
    d.text(400, y + 54, "2n", "small")
    d.text(306, y + 72, "claimed, by compare-and-swap: one thread only", "small")
    d.text(400, y + 90, "done: the next phase starts when all words of this one are here", "small")
    return d


def program() -> Drawing:
    """The program of `digits`, 64-128-10 with relu, softmax and SGD, on two threads: as program.py makes it."""
    sizes, groups = (64, 128, 10), 2
    shape = Shape(sizes, SOFTMAX_CCE, unit_shards_of(sizes), np.dtype(np.float32))
    phases = in_unit_shards(shape, Work(update=FUSED_SGD, targets=at.CLASSES, groups=groups))
    line, top, width, gap, run = 19, 84, 330, 26, shape.unit_shards // groups
    heights = [len(phase.tasks[0]) * line + 44 for phase in phases]
    d = Drawing(760, top + sum(heights) + 30, "The program of a network in unit shards, on two threads")
    d.text(24, 28, f"64-128-10 by 32, relu, softmax, SGD: {shape.unit_shards} unit shards on two threads", "title")
    d.text(24, 47, "Each claims the task of its group; if the other thread does not come, it does both.", "small")
    for group in range(groups):
        first, last = group * run, (group + 1) * run
        units = f"units {shape.shard_starts[first]} to {shape.shard_starts[last] - 1} of layer 1"
        d.text(24 + group * (width + gap), 72, f"shards {first} to {last - 1}: {units}", "title")
    y = top
    names = {at.AT_BEGIN: "once, at the begin", at.IN_BLOCK: "each step", at.AT_END: "once, at the end"}
    for phase, height in zip(phases, heights, strict=True):
        for group, task in enumerate(phase.tasks):
            x = 24 + group * (width + gap)
            d.box(x, y, width, height - 22, ["first", "second"][group])
            if group == 0:
                d.text(x + width - 8, y + 16, names[phase.when], "small end")
            for i, op in enumerate(task):
                words = op.operation.partition(".")[2] + (f"   layer {op.layer}" if op.layer else "")
                words += f"   outputs {op.outputs[0]} to {op.outputs[1] - 1}" if op.outputs[1] else ""
                d.text(x + 8, y + 17 + i * line, words, "code")
        d.arrow((24, y + height - 11), (24 + 2 * width + gap, y + height - 11), tip=False, kind="mark")
        y += height
    d.text(24, y + 14, "Red: the threads meet. Each step they do so once.", "small")
    return d


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "layouts.svg": layouts,
    "tile.svg": tile,
    "phases.svg": phases,
    "program.svg": program,
}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (Path(__file__).parent / name).write_text(str(draw()), encoding="utf-8")
