"""The command ``fastbackprop predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastbackprop.cli.inputs import STDIN, is_file, read_table, source_name, stem
from fastbackprop.cli.models import check_extras, read_model
from fastbackprop.cli.options import DATA, MODEL, THREADS, reading
from fastbackprop.cli.outputs import STDOUT, table_writer, to_stdout, writable
from fastbackprop.cli.terminal import INTERRUPTED, Stop, about, few, say, some, warn, warn_of
from fastbackprop.text import shown

if TYPE_CHECKING:
    import numpy as np

    from fastbackprop.tables import Table


@click.command("predict", short_help="Predict the rows of a file with a trained model.")
@click.argument("model", type=MODEL)
@click.argument("data", type=DATA)
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="The file to write: .csv, .csv.gz (.bz2, .xz, .zip, .zst) or .parquet; - is standard output.  "
    "[default: DATA's name with -predictions.csv, here; - where DATA is -]",
)
@click.option(
    "--keep", multiple=True, metavar="COLUMN",
    help="Copy this column of DATA, for instance one of ids, to stand before the predictions. Repeatable. Where it "
    "is the one to predict, the prediction is called predicted_COLUMN.",
)  # fmt: skip
@click.option(
    "--escape-formulas", is_flag=True,
    help="Put ' before texts that a spreadsheet would compute: those that begin with = + - @ and are no numbers.",
)  # fmt: skip
@reading
@THREADS
def command(
    model: Path,
    data: str,
    out: Path | None,
    keep: tuple[str, ...],
    escape_formulas: bool,
    threads: int | None,
    reading: dict[str, Any],
) -> None:
    """Predict the rows of DATA with MODEL, a file that `train` wrote, which may be a checkpoint.

    DATA must have the columns that the model learned from, in any order; others are ignored. It is a file, or - for
    standard input. The predictions are in the order of the rows: for classes the most probable one and the probability
    of each, for numbers the values. Where DATA has the column to predict too, the predictions are compared with it.
    """
    check_extras("pandas", "sklearn")
    out = out or (STDOUT if data == STDIN else Path(f"{stem(data)}-predictions.csv"))
    if out == STDOUT:
        _predict(model, data, out, keep, escape_formulas, threads, reading)
        return
    with writable(out, keep=[model, Path(data)] if is_file(data) else [model]):
        _predict(model, data, out, keep, escape_formulas, threads, reading)


def _predict(
    model: Path,
    data: str,
    out: Path,
    keep: tuple[str, ...],
    escape_formulas: bool,
    threads: int | None,
    reading: dict[str, Any],
) -> None:
    import numpy as np
    import pandas as pd

    from fastbackprop import persistence, tables
    from fastbackprop.cli.compiling import announced

    content_of = table_writer(out, escape_formulas)
    net, table, training = read_model(model)
    if table is None:
        raise click.UsageError(f"{model}: a network without the names of its columns; `train` writes one with them")
    written = table.decode(np.zeros((0, table.outputs))).columns
    renamed = {name: f"predicted_{name}" for name in keep if name in written}
    if taken := [name for name in renamed.values() if name in written or name in keep]:
        raise click.UsageError(f"--keep: a prediction would be called {taken[0]!r}, and another column is")
    net.threads = threads
    if "stands" in training:
        warn(f"{model}: the network {training['stands']}")
    frame, source = read_table(data, reading), source_name(data)
    with about(source):
        tables.require_columns(frame, keep)
        X = table.transform(frame).astype(net.dtype)
        warn_of(table.readings(frame))
    with announced():
        outputs = net.forward(X)
    kept = frame[list(dict.fromkeys(keep))].reset_index(drop=True)
    predictions = table.decode(outputs).rename(columns=renamed)
    content = content_of(pd.concat([kept, predictions], axis="columns"))
    to_file = out != STDOUT
    if to_file:
        persistence.write_atomically(out, content)
    else:
        to_stdout(content)
    try:
        for line in _report(table, frame, outputs, source):
            say(line, err=not to_file)
    except KeyboardInterrupt:
        raise Stop(f"interrupted; the predictions are in {out}", INTERRUPTED) from None
    if to_file:
        say(f"predictions  {out}")


def _report(table: Table, frame: Any, outputs: np.ndarray, source: str) -> list[str]:
    """What could not be read as it is, what was predicted, and how good that is where it is known."""
    from fastbackprop.cli.scores import measure

    odd = [f"column    {shown(column)}: {words}" for column, words in table.irregular(frame).items()]
    lines = some(odd, "columns with missing values or unknown texts")
    lines += [f"{len(frame)} row{'s' * (len(frame) != 1)}: {table.task} of {few(table.targets)}"]
    if set(table.targets) <= set(frame.columns):
        known = table.has_targets(frame)
        try:
            if known.any():
                scores = measure(table, frame[known], outputs[known])
                lines += [f"compared with {source}: {scores.first}"]
                lines += [f"          {name}: {line}" for name, line in scores.more.items()]
        except ValueError as error:
            lines += [f"not compared with {source}: {error}"]
    return lines
