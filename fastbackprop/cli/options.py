"""What the options of several commands have in common, and the names that they accept.

Those of outputs and optimizers stand here once more, so that `--help` needs not import what they name; a test compares
them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fastbackprop import activations

ACTIVATIONS = tuple(activations.ACTIVATIONS)
OUTPUTS = ("identity", "sigmoid", "softmax", "exp")
OPTIMIZERS = ("adagrad", "adam", "adamw", "lbfgs", "rmsprop", "sgd")


class Sizes(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions only
    """At least ``least`` sizes of layers, such as 128,64; ``accepted`` says so where a text is something else."""

    name = "sizes"

    def __init__(self, least: int, accepted: str) -> None:
        self.least, self.accepted = least, accepted

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """The sizes from the text of the option, or from its default."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            sizes = ()
        if len(sizes) < self.least or min(sizes) < 1:
            self.fail(f"{self.accepted}; got {value!r}")
        return sizes


class Number(click.FloatRange):
    """A finite number in a range: click takes nan for one in every range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The number, or an error."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} must be a finite number")
        return number


class _Model(click.Path):  # type: ignore[type-arg,unused-ignore]
    """A regular file: a pipe or a device could keep us waiting, and a model is read more than once."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        path = Path(super().convert(value, param, ctx))  # type: ignore[arg-type,unused-ignore]
        if not path.is_file():
            self.fail(f"{str(value)!r} must be a regular file, and is a pipe or a device")
        return path


MODEL = _Model(exists=True, dir_okay=False, path_type=Path)
DATA = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=str)
THREADS = click.option(
    "--threads", type=click.IntRange(1), help="[default: all processors]; the result has the same bits for any number."
)


_READING = (  # how a file is read, where the guess is wrong
    click.option("--separator", metavar="CHARACTER", help="Between values; tab for a tabulator. [default: guessed]"),
    click.option("--decimal", type=click.Choice([".", ","]), help="Mark before decimals.  [default: guessed]"),
    click.option(
        "--thousands", metavar="MARK", help="Mark between thousands: . , ' or a blank; '' for none.  [default: guessed]"
    ),
    click.option("--encoding", help="Such as utf-8, utf-16, latin-1.  [default: guessed]"),
    click.option("--no-header", is_flag=True, help="The first line is a row; columns are column_1, column_2, ..."),
)
READING = ("separator", "decimal", "thousands", "encoding", "no_header")


def reading(command: Any) -> Any:
    """A command with the options for reading its file, as one argument, ``reading``."""

    @functools.wraps(command)
    def gathered(**options: Any) -> Any:
        chosen = {name: value for name in READING if (value := options.pop(name)) is not None}
        chosen["header"] = not chosen.pop("no_header")
        if chosen.get("separator") in ("tab", "\\t"):
            chosen["separator"] = "\t"
        return command(reading=chosen, **options)

    for option in reversed(_READING):
        gathered = option(gathered)
    return gathered


def given(*names: str) -> list[str]:
    """Those of the options that the user wrote, also with the value that is their default; as they are written."""
    context = click.get_current_context()
    default = (click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP)
    written = {p.name: p.opts[-1] for p in context.command.params}
    return [written[name] for name in names if context.get_parameter_source(name) not in default]


def refuse(names: Sequence[str], why: str) -> None:
    """An error where one of the options was given that would be ignored, or fail later."""
    for option in given(*names):
        raise click.UsageError(f"{option} {why}")
