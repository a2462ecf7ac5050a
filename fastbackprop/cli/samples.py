"""What `train` learns from: the table that DATA means, its rows to learn from and those held out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fastbackprop.cli.inputs import STDIN, read_table, source_name, stem
from fastbackprop.cli.options import DATA, given, refuse
from fastbackprop.cli.terminal import about, few, say, warn, warn_of, warn_some
from fastbackprop.text import shown

if TYPE_CHECKING:
    import numpy as np

    from fastbackprop.datasets import Dataset
    from fastbackprop.tables import Table

MOST_CLASSES = 100  # more, or more than half as many as samples, are perhaps numbers


class Source(NamedTuple):
    """A table with what is to be predicted."""

    name: str  # of the files that are written
    title: str  # in lines for the user
    frame: Any  # a pandas.DataFrame
    targets: list[str]
    images: Dataset | None = None  # where the samples are images


def is_bundled(data: str) -> bool:
    """Whether DATA is a data set of scikit-learn's; an error where it is neither that nor a file."""
    from fastbackprop import datasets, tables

    if data in datasets.NAMES:
        return True
    path = Path(data)
    if data != STDIN and not (path.suffix or path.name != data or os.path.exists(data)):
        names = ", ".join(datasets.NAMES)
        hint = tables.suggestion(data, datasets.NAMES)
        raise click.UsageError(f"DATA must be a file or one of {names}; got {data!r}{hint}")
    DATA.convert(data, next(p for p in click.get_current_context().command.params if p.name == "data"), None)
    return False


def bundled(name: str) -> Source:
    """One of scikit-learn's data sets."""
    from fastbackprop import datasets

    found = datasets.load(name)
    if found.image_shape:
        refuse(("drop", "categorical", "numeric"), f"is for tables, and {name} are images: each pixel is an input")
    return Source(name, name, *datasets.load_frame(name), found if found.image_shape else None)


def from_table(data: str, targets: Sequence[str], missing: Sequence[str] | None, reading: Mapping[str, str]) -> Source:
    """The table of a file or a pipe, without the rows that have no target."""
    from fastbackprop import tables

    frame, title = read_table(data, reading), source_name(data)
    if not targets:
        names = few([repr(name) for name in frame.columns])
        raise click.UsageError(f"--target COLUMN must say what to predict; the columns of {title} are {names}")
    with about(title):
        known = frame[tables.has_targets(frame, targets, missing)]
    if known.empty:
        raise click.UsageError(f"{title}: no row has a value of {few(targets)}, which is to be predicted")
    if len(known) < len(frame):
        say(f"{len(frame) - len(known)} of {len(frame)} rows without a target are left out")
        if words := tables.words_for_missing(frame, targets, missing):
            said = f"{few([repr(word) for word in words])} read as missing, since all else are numbers"
            warn(f"{few(targets)}: {said}; --missing overrules this")
    return Source(stem(data), title, known, list(dict.fromkeys(targets)))


def without(source: Source, drop: Sequence[str]) -> Source:
    """The table less some columns."""
    from fastbackprop import tables

    for option in ("drop", "categorical", "numeric"):
        named = click.get_current_context().params[option]
        if both := set(named) & set(source.targets):
            hint = "" if option == "drop" else "; --task says how to read it"
            raise click.UsageError(f"--{option} {both.pop()}: this is what is to be predicted{hint}")
    with about(source.title):
        tables.require_columns(source.frame, drop)
    return source._replace(frame=source.frame.drop(columns=list(dict.fromkeys(drop))))


def split(
    source: Source, task: str, share: float, seed: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows to learn from and of those held out, of ``rows`` or of all."""
    import numpy as np

    from fastbackprop import datasets

    rows = np.arange(len(source.frame)) if rows is None else rows
    labels = source.frame[source.targets[0]].iloc[rows].astype(str)
    for stratify in (True, False) if task == "classification" else (False,):
        # Not stratified where a class has too few samples for a share in both parts.
        with contextlib.suppress(ValueError):
            learned, held_out, *_ = datasets.split(rows, labels, test_size=share, seed=seed, stratify=stratify)
            return learned, held_out
    raise click.UsageError(f"to hold out {share:g} of {len(rows)} samples leaves none to learn from")


def fit_table(source: Source, task: str, rows: np.ndarray, **options: Any) -> Table:
    """The preprocessing of the table, from the rows to learn from."""
    from fastbackprop.tables import Number, Table

    table = Table.fit(source.frame, source.targets, task=task, rows=rows, **options)
    if source.images is None:
        return table
    # Pixels have one scale, and one that is always the same is a pixel too.
    pixels = (name for name in source.frame.columns if name not in source.targets)
    columns = tuple(Number(name, 0.0, 0.0, source.images.divisor) for name in pixels)
    return dataclasses.replace(table, columns=columns, left_out={})


def warn_of_doubts(source: Source, table: Table, y: np.ndarray, learned: np.ndarray, held_out: np.ndarray) -> None:
    """Say what was guessed or perhaps not meant: numbers read as texts or classes, and classes that one part lacks."""
    import numpy as np

    from fastbackprop.tables import Category, nearly_numbers

    warn_of(table.guesses)
    inferred = not given("task")
    read = (column.name for column in table.columns if not isinstance(column, Category))
    meant = {*click.get_current_context().params["categorical"], *read, *(() if inferred else source.targets)}
    unsaid = [name for name in source.frame.columns if name not in meant]
    read_as_texts = nearly_numbers(source.frame, unsaid).items()
    warn_some([f"{shown(name)}: read as texts, but {why}" for name, why in read_as_texts], "columns")
    classes, samples = len(table.classes), len(source.frame)
    if inferred and classes > min(MOST_CLASSES, samples / 2):
        warn(f"{classes} classes in {samples} samples; numbers are learned with --task regression")
    if table.classes:
        for rows, what in ((learned, "to learn from"), (held_out, "held out, so no score is about it")):
            lacking = [table.classes[k] for k in np.flatnonzero(np.bincount(y[rows], minlength=classes) == 0)]
            if lacking:
                warn(f"no sample {what}: class{'es' * (len(lacking) > 1)} {few(lacking)}")
