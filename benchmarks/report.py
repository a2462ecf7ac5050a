"""What the benchmarks print and save: numbers, tables, files, and the options that they share."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def digits(value: float | None, form: str = "{}") -> str:
    """Three significant digits, no exponent; "-" for None."""
    if value is None:
        return "-"
    return form.format(f"{value:.0f}" if value >= 100 else f"{value:.3g}")


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned to be read as it is."""
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    rule = ["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]
    rows = [head, rule, *lines]
    return "\n".join(
        "| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |"
        for row in rows
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def where_and_when() -> dict[str, str]:
    """What every report begins with."""
    return {"date": time.strftime("%Y-%m-%d"), "processor": processor()}


def save(
    report: dict[str, Any], out: Path, name: str, text: str, plot: Callable[[dict[str, Any], Path], bool] | None = None
) -> list[Path]:
    """Write name.json, name.md and, if there is a plot and matplotlib, name.png; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{name}.json", out / f"{name}.md"]
    files[0].write_text(json.dumps(report, indent=1) + "\n")
    files[1].write_text(text)
    if plot and plot(report, out / f"{name}.png"):
        files.append(out / f"{name}.png")
    return files


# ---------------------------------------------------------------------- options


def whole(least: int, most: int | None = None, what: str = "") -> Callable[[str], int]:
    """For argparse: a whole number in a range."""
    accepted = f"{least} or more" if most is None else f"{least} to {most}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"got {text}, accepted is {accepted}{what}")
        return value

    return read


def threads(cpus: int) -> Callable[[str], int]:
    return whole(1, cpus, ", the CPUs available here")


def add_rounds(parser: argparse.ArgumentParser, default: int = 5) -> None:
    parser.add_argument("--rounds", type=whole(1), default=default, help=f"turns of each (default: {default})")


def add_out(parser: argparse.ArgumentParser, files: str) -> None:
    folder = Path("benchmarks/results")
    parser.add_argument("--out", type=Path, default=folder, metavar="DIR", help=f"for {files} (default: {folder})")
