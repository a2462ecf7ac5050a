"""The command line: ``fastbackprop train``, ``predict`` and ``info``. Needs the extra ``cli``."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import io
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

try:
    import click
except ImportError:
    raise SystemExit("fastbackprop: the command line needs click: pip install 'fastbackprop[cli]'") from None

from fastbackprop.verify import Sizes, verify

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from fastbackprop.datasets import Dataset
    from fastbackprop.history import History
    from fastbackprop.network import Network
    from fastbackprop.tables import Table

INTERRUPTED = 130  # the shell's code for Ctrl-C
HIDDEN_NAMES = ("identity", "relu", "relu0", "leaky_relu", "elu", "tanh", "sigmoid", "softplus", "gelu", "silu")
EXTRAS = {"sklearn": "sklearn", "pandas": "cli", "matplotlib": "plot", "safetensors": "io", "tqdm": "cli"}
OPTIMIZERS = ("adagrad", "adam", "adamw", "lbfgs", "rmsprop", "sgd")
SET_ASIDE = 0.1  # of the training samples, for early stopping
COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst", ".tar")
PATIENCE = 1.0  # seconds of silence while the engine is loaded
MOST_LINES = 50  # about epochs
MOST_CLASSES = 100  # more, or more than half as many as samples, are perhaps numbers
MOST_NAMES = 30  # of columns or classes, in one list


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda *given: _version(*given),
    help="Show the version.",
)
def cli() -> None:
    """Fully connected neural networks for CPUs, trained by fused, JIT-compiled steps."""


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_THREADS = click.option(
    "--threads", type=click.IntRange(1), help="[default: all processors]; the result has the same bits for any number."
)


_READING = (  # how a file is read, where the guess is wrong
    click.option("--separator", metavar="CHARACTER", help="Between values; tab for a tabulator. [default: guessed]"),
    click.option("--decimal", type=click.Choice([".", ","]), help="Mark before decimals.  [default: guessed]"),
    click.option(
        "--thousands", metavar="MARK", help="Mark between thousands: . , ' or a blank; '' for none.  [default: guessed]"
    ),
    click.option("--encoding", help="Such as utf-8, utf-16, latin-1.  [default: guessed]"),
)


def _reading(command: Any) -> Any:
    """A command with the options for reading its file, as one argument, ``reading``."""

    @functools.wraps(command)
    def gathered(**options: Any) -> Any:
        names = ("separator", "decimal", "thousands", "encoding")
        reading = {name: value for name in names if (value := options.pop(name)) is not None}
        if reading.get("separator") in ("tab", "\\t"):
            reading["separator"] = "\t"
        return command(reading=reading, **options)

    for option in reversed(_READING):
        gathered = option(gathered)
    return gathered


@cli.command(context_settings={"show_default": True}, short_help="Train a network and report how good it is.")
@click.argument("data")
@click.option(
    "--target", "targets", multiple=True, metavar="COLUMN",
    help="What to predict, for a file. May be given several times, for numbers only.",
)  # fmt: skip
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    help="[default: classification for texts and few whole numbers]",
)
@click.option("--categorical", multiple=True, metavar="COLUMN", help="Read its numbers as categories. Repeatable.")
@click.option("--numeric", multiple=True, metavar="COLUMN", help="Read it as numbers, never leave it out. Repeatable.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave it out. Repeatable.")
@click.option(
    "--missing", multiple=True, metavar="TEXT", default=None,
    help="It means a missing value in every column, and no other text does; '' for none. Repeatable.  "
    "[default: NA, null, ., - and the like, in columns of numbers and dates]",
)  # fmt: skip
@click.option("--date-format", metavar="FORMAT", help="Of dates, such as %d/%m/%Y.  [default: guessed]")
@_reading
@click.option(
    "--hidden",
    type=Sizes(1, "must be positive whole numbers with commas between them, such as 128,64"),
    help="Sizes of the hidden layers, with commas between them.  [default: 100, for digits 256]",
)
@click.option("--activation", type=click.Choice(HIDDEN_NAMES), default="relu", help="Of the hidden layers.")
@click.option(
    "--epochs", type=click.IntRange(1), help="Passes over the training samples.  [default: 100, for digits 40]"
)
@click.option("--batch-size", type=click.IntRange(1), default=32, help="Samples of a step.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adam")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="[default: 0.001 for adam and adamw, 0.01 for adagrad and rmsprop, 0.1 for sgd]",
)
@click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="Of sgd and rmsprop.")
@click.option("--l2", type=click.FloatRange(0), default=0.0, help="Adds L2 / 2 * sum of squared weights to the cost.")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="Share of hidden units.")
@click.option("--balanced", is_flag=True, help="Weigh the classes so that rare ones count as much.")
@click.option(
    "--early-stopping", type=click.IntRange(1), metavar="EPOCHS",
    help="Stop when the cost of a tenth of the training samples, set aside for this, has not fallen for so long, and "
    "take the best epoch's parameters.",
)  # fmt: skip
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the training to this file after every epoch.",
)
@click.option("--resume", type=_FILE, help="Go on from this checkpoint, of the same data and options.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32")
@click.option(
    "--test-size", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.2, help="Share held out."
)
@click.option(
    "--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, help="Of the split, the weights and the shuffling."
)
@_THREADS
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Directory for the model and the picture; earlier ones of the same name are overwritten.",
)
@click.option("--progress/--no-progress", default=True, help="Show a progress bar where standard error is a terminal.")
def train(data: str, **options: Any) -> None:
    """Train a network on DATA and report how good it is on samples it has not seen.

    DATA is a file or a pipe (- for standard input), CSV with a header line or Parquet, of which a column is to be
    predicted:

    \b
        fastbackprop train flowers.csv --target species

    or one of the data sets that come with scikit-learn, nothing is downloaded: breast_cancer, diabetes, digits, iris,
    linnerud, wine.

    Numbers are standardised, missing ones filled with the median; texts become categories, one input each. Columns
    without information are left out: empty or constant ones, row numbers, texts that differ in nearly every row.

    Two files are written, named after DATA: the model with all that (.safetensors; for `predict` and `info`), and a
    picture of the training (.png).
    """  # noqa: D301  # \b is what click knows
    _train(data, **options)


@cli.command(short_help="Predict the rows of a file with a trained model.")
@click.argument("model", type=_FILE)
@click.argument("data", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write, .csv or .parquet.  [default: DATA's name with -predictions.csv, here]",
)
@_reading
@_THREADS
def predict(model: Path, data: Path, out: Path | None, threads: int | None, reading: dict[str, str]) -> None:
    """Predict the rows of DATA with MODEL, a file that `train` wrote.

    DATA must have the columns that the model learned from, in any order; others are ignored. The predictions are in
    the order of the rows: for classes the most probable one and the probability of each, for numbers the values. Where
    DATA has the column to predict too, the predictions are compared with it.
    """
    _predict(model, data, out, threads, reading)


@cli.command(short_help="Show what a model is and how it was trained.")
@click.argument("model", type=_FILE)
def info(model: Path) -> None:
    """Show what MODEL, a file that `train` or `Network.save` wrote, is: the network, its columns, its training."""
    _info(model)


cli.add_command(verify)


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from fastbackprop import __version__

        click.echo(f"fastbackprop {__version__}")
        context.exit()


# ---------------------------------------------------------------------- train


class _Data(NamedTuple):
    """What there is to learn from."""

    name: str  # of the files that are written
    source: str
    frame: Any  # a pandas.DataFrame
    targets: list[str]
    images: Dataset | None = None  # where the samples are images


def _data(
    data: str, targets: tuple[str, ...], drop: tuple[str, ...], missing: tuple[str, ...] | None, reading: dict[str, str]
) -> _Data:
    """The table that DATA means."""
    from fastbackprop import datasets, tables

    if data in datasets.NAMES:
        if targets:
            raise click.UsageError(f"--target goes with a file; {data!r} is a data set that comes with scikit-learn")
        bundled = datasets.load(data)
        found = _Data(data, data, *datasets.load_frame(data), bundled if bundled.image_shape else None)
    else:
        path = Path(data)
        if not (data == "-" or path.suffix or path.name != data or path.exists()):
            names = ", ".join(datasets.NAMES)
            hint = tables.suggestion(data, datasets.NAMES)
            raise click.UsageError(f"DATA must be a file or one of {names}; got {data!r}{hint}")
        if data != "-":
            _FILE.convert(data, next(p for p in train.params if p.name == "data"), None)
        frame = _read(path, reading)
        if not targets:
            names = _few([repr(name) for name in frame.columns])
            raise click.UsageError(f"--target COLUMN must say what to predict; the columns of {data} are {names}")
        with _about(data):
            known = frame[tables.has_targets(frame, targets, missing)]
        if known.empty:
            raise click.UsageError(f"{data}: no row has a value of {_few(targets)}, which is to be predicted")
        if len(known) < len(frame):
            click.echo(f"{len(frame) - len(known)} of {len(frame)} rows without a target are left out")
        found = _Data(_stem(path), _source(path), known, list(dict.fromkeys(targets)))
    if both := set(drop) & set(found.targets):
        raise click.UsageError(f"--drop {both.pop()}: this is what is to be predicted")
    with _about(data):
        tables.require_columns(found.frame, drop)
    return found._replace(frame=found.frame.drop(columns=list(drop)))


def _read(path: Path, reading: dict[str, str]) -> Any:
    """The table in a file, or from standard input; what was guessed about the whole of it is said."""
    from fastbackprop import tables

    frame = tables.read(sys.stdin.buffer if str(path) == "-" else path, **reading)
    for line in frame.attrs["guesses"]:
        click.echo(f"warning   {line}")
    return frame


def _source(path: Path) -> str:
    return "standard input" if str(path) == "-" else path.name


def _stem(path: Path) -> str:
    if str(path) == "-":
        return "stdin"
    return Path(path.stem).stem if path.suffix in COMPRESSED else path.stem


def _split(
    data: _Data, task: str, share: float, seed: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows to learn from and of those held out, of ``rows`` or of all."""
    import numpy as np

    from fastbackprop import datasets

    rows = np.arange(len(data.frame)) if rows is None else rows
    labels = data.frame[data.targets[0]].iloc[rows].astype(str)
    for stratify in (True, False) if task == "classification" else (False,):
        # Not stratified where a class has too few samples for a share in both parts.
        with contextlib.suppress(ValueError):
            learned, held_out, *_ = datasets.split(rows, labels, test_size=share, seed=seed, stratify=stratify)
            return learned, held_out
    raise click.UsageError(f"to hold out {share:g} of {len(rows)} samples leaves none to learn from")


def _train(
    data: str, *, targets: tuple[str, ...], task: str | None, categorical: tuple[str, ...], numeric: tuple[str, ...],
    drop: tuple[str, ...], missing: tuple[str, ...] | None, date_format: str | None, reading: dict[str, str],
    hidden: tuple[int, ...] | None, activation: str, epochs: int | None, batch_size: int,
    optimizer: str, learning_rate: float | None, momentum: float, l2: float, dropout: float, balanced: bool,
    early_stopping: int | None, checkpoint: Path | None, resume: Path | None, dtype: str, test_size: float, seed: int,
    threads: int | None, out: Path, progress: bool,
) -> None:  # fmt: skip
    if both := set(categorical) & set(numeric):
        raise click.UsageError(f"--categorical and --numeric both name {both.pop()}")
    given = {"learning_rate": learning_rate, "momentum": momentum or None}
    given = {name: value for name, value in given.items() if value is not None}
    if "momentum" in given and optimizer not in ("sgd", "rmsprop"):
        raise click.UsageError("--momentum goes with --optimizer sgd and rmsprop only")
    if "learning_rate" in given and optimizer == "lbfgs":
        raise click.UsageError("--learning-rate does not go with --optimizer lbfgs")
    _check_extras("sklearn", "pandas", "matplotlib", "safetensors", "tqdm")

    from fastbackprop import EarlyStopping, Network, __version__, datasets, optimizers, persistence, tables

    rule = optimizers.NAMES[optimizer](**given)
    missing = missing or None
    source = _data(data, targets, drop, missing, reading)
    model, picture = out / f"{source.name}.safetensors", out / f"{source.name}.png"
    read = [] if data in (*datasets.NAMES, "-") else [Path(data)]
    if out.suffix == ".safetensors":
        raise click.UsageError(f"--out is the directory for the model and the picture, got the file {str(out)!r}")
    _check_writable(out, model, picture, keep=read if resume is None else [*read, resume])
    if checkpoint is not None:
        _check_writable(checkpoint.parent, checkpoint, keep=read, option="--checkpoint")
        if checkpoint.resolve() in (model.resolve(), picture.resolve()):
            raise click.UsageError(f"--checkpoint {str(checkpoint)!r} is where the result will be written")
    with _about(data):
        inferred, task = task is None, task or tables.infer_task(source.frame, source.targets, missing)
        learned, held_out = _split(source, task, test_size, seed)
        watched = held_out
        if early_stopping is not None:  # what decides must not be what is reported
            learned, watched = _split(source, task, SET_ASIDE, seed, learned)
        table = _fit_table(source, task, categorical, numeric, learned, missing, date_format)
        X, y = table.transform(source.frame).astype(dtype), table.encode_targets(source.frame)
    classification = task == "classification"
    y = y if classification else y.astype(dtype)
    epochs = epochs or (100 if source.images is None else 40)
    hidden = hidden or ((100,) if source.images is None else (256,))
    net = Network(
        (table.inputs, *hidden, table.outputs), activation, "softmax" if classification else "identity",
        dtype=dtype, seed=seed, threads=threads,
    )  # fmt: skip
    aside = "" if watched is held_out else f", {len(watched)} set aside for early stopping"
    samples = f"{source.source}: {len(learned)} samples to learn from{aside}, {len(held_out)} held out"
    click.echo(samples)
    _describe(table)
    _warn(source, table, categorical, inferred)
    click.echo(f"{net!r}, {_few_fields(rule)}")
    _prepare(net)

    width, bar = len(str(epochs)), progress and sys.stderr.isatty()
    every, finished, ran = -(-epochs // MOST_LINES), 0, 0
    watched_name = "held out" if watched is held_out else "set aside"

    def report(record: dict[str, Any]) -> None:
        nonlocal finished, ran
        ran, finished = ran + 1, record["epoch"]
        if finished % every and finished not in (1, epochs):
            return
        score = record["validation_score"]
        score = f"accuracy {score:.2%}" if classification else f"R² {score:.4f}"
        line = (
            f"epoch {finished:{width}}/{epochs}  cost {record['cost']:.4f}  "
            f"{watched_name}: cost {record['validation_cost']:.4f}, {score}"
        )
        if bar:
            from tqdm.auto import tqdm

            tqdm.write(line)
        else:
            click.echo(line)

    def metadata(held_out_text: str) -> dict[str, str]:
        training = {
            "data": samples,
            "training": f"{finished} epochs, batches of {batch_size}, {_few_fields(rule)}, l2 {l2:g}, "
            f"dropout {dropout:g}{', balanced classes' * balanced}, seed {seed}",
            "version": f"fastbackprop {__version__}",
            "held out": held_out_text,
        }
        return {"table": table.to_json(), "training": json.dumps(training)}

    start = time.perf_counter()
    try:
        history = net.fit(
            X[learned], y[learned], epochs=epochs, batch_size=None if optimizer == "lbfgs" else batch_size,
            optimizer=rule, seed=seed,
            l2=l2, dropout=dropout, class_weight="balanced" if balanced else None,
            validation_data=(X[watched], y[watched]), callbacks=[report], progress=bar,
            early_stopping=None if early_stopping is None else EarlyStopping(early_stopping),
            checkpoint=checkpoint, resume=resume,
        )  # fmt: skip
    except KeyboardInterrupt:
        unfinished = out / f"{source.name}-interrupted.safetensors"  # a finished model of that name stays
        persistence.save(net, unfinished, metadata("not measured: the training was interrupted"))
        raise _Stop(f"interrupted; the network after its last finished step is in {unfinished}", INTERRUPTED) from None
    except FloatingPointError as error:
        raise _Stop(str(error), 1) from None

    seconds = time.perf_counter() - start
    finished = len(history.cost)  # a resumed training may have had no epoch left
    test = source.frame.iloc[held_out]
    predictions = table.decode(net.forward(X[held_out]))
    text = _compare(table, test, predictions)
    persistence.save(net, model, metadata(text))
    try:
        _draw(picture, source, table, history, test, predictions, f"{source.source}: held out, {text}", watched_name)
    except KeyboardInterrupt:
        raise _Stop(f"interrupted; the model is in {model}, the picture is not drawn", INTERRUPTED) from None
    if history.stopped:
        click.echo(f"stopped after epoch {len(history.cost)}: {history.stopped}")
    if history.best_epoch is not None:
        click.echo(f"the parameters are those of epoch {history.best_epoch}")
    click.echo(f"test {text}")
    if ran:
        steps = history.steps * ran // finished  # the history counts those before --resume too
        click.echo(f"{steps} steps in {seconds:.2f} s, {steps / seconds:,.0f} steps per second")
    else:
        click.echo(f"nothing was left to train: {resume} has {finished} epochs")
    click.echo(f"model    {model}")
    click.echo(f"picture  {picture}")


def _fit_table(
    source: _Data, task: str, categorical: tuple[str, ...], numeric: tuple[str, ...], rows: np.ndarray,
    missing: tuple[str, ...] | None, date_format: str | None,
) -> Table:  # fmt: skip
    from fastbackprop.tables import Number, Table

    table = Table.fit(
        source.frame, source.targets, task=task, categorical=categorical, numeric=numeric, rows=rows, missing=missing,
        date_format=date_format,
    )  # fmt: skip
    if source.images is None:
        return table
    # Pixels have one scale, and one that is always the same is a pixel too.
    pixels = (name for name in source.frame.columns if name not in source.targets)
    columns = tuple(Number(name, 0.0, 0.0, source.images.divisor) for name in pixels)
    return dataclasses.replace(table, columns=columns, left_out={})


def _describe(table: Table, columns: bool = False) -> None:
    """Say what is predicted from what; with ``columns``, each of them."""
    from fastbackprop.tables import Category, Date, shown

    count = len(table.columns)
    categories, dates = (sum(isinstance(column, kind) for column in table.columns) for kind in (Category, Date))
    classes = f": {_few(table.classes)}" if table.classes else ""
    click.echo(f"task      {table.task} of {_few(table.targets)}{classes}")
    kinds = f"{count - categories - dates} of numbers, {categories} of categories{f', {dates} of dates' * (dates > 0)}"
    click.echo(f"columns   {count}: {kinds}; {table.inputs} inputs")
    if columns:
        for column in table.columns[:MOST_NAMES]:
            click.echo(f"          {column}")
        if count > MOST_NAMES:
            click.echo(f"          and {count - MOST_NAMES} more columns")
    for name, why in list(table.left_out.items())[:MOST_NAMES]:
        click.echo(f"left out  {shown(name)}: {why}")
    if len(table.left_out) > MOST_NAMES:
        click.echo(f"          and {len(table.left_out) - MOST_NAMES} more columns")


def _warn(source: _Data, table: Table, categorical: Sequence[str], inferred: bool) -> None:
    """Say what was guessed, and what was perhaps not meant: numbers read as texts or as classes."""
    from fastbackprop.tables import Category, nearly_numbers, shown

    by_words: dict[str, list[str]] = {}
    for name, words in table.guesses.items():
        by_words.setdefault(words, []).append(name)
    for words, names in list(by_words.items())[:MOST_NAMES]:
        click.echo(f"warning   {_few(names)}: {words}")
    read = (column.name for column in table.columns if not isinstance(column, Category))
    meant = {*categorical, *read, *(() if inferred else source.targets)}
    unsaid = [name for name in source.frame.columns if name not in meant]
    for name, why in list(nearly_numbers(source.frame, unsaid).items())[:MOST_NAMES]:
        click.echo(f"warning   {shown(name)}: read as texts, but {why}")
    classes, samples = len(table.classes), len(source.frame)
    if inferred and classes > min(MOST_CLASSES, samples / 2):
        click.echo(f"warning   {classes} classes in {samples} samples; numbers are learned with --task regression")


def _compare(table: Table, frame: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """Accuracy or R^2 of predictions, in words."""
    import numpy as np
    from sklearn.metrics import r2_score, root_mean_squared_error

    y = table.encode_targets(frame)
    if table.task == "classification":
        right = int((np.array(table.classes)[y] == predictions[table.targets[0]].to_numpy(str)).sum())
        return f"accuracy {right / len(y):.2%} ({right} of {len(y)})"
    true, said = y * table.scale + table.mean, predictions.to_numpy()
    errors = root_mean_squared_error(true, said, multioutput="raw_values")
    names = [f" of {name}" if len(errors) > 1 else "" for name in table.targets]
    rmse = ", ".join(f"RMSE{name} {error:.4g}" for name, error in zip(names, errors))
    score = float(r2_score(true, said)) if len(y) > 1 else float("nan")
    return f"R² {score:.4f}, {rmse} ({len(y)} samples)"


def _draw(
    path: Path, source: _Data, table: Table, history: History, test: pd.DataFrame, predictions: pd.DataFrame,
    title: str, watched_name: str,
) -> None:  # fmt: skip
    import numpy as np

    from fastbackprop import persistence, plotting

    y = table.encode_targets(test)
    if source.images is not None and source.images.image_shape is not None:
        images = test.drop(columns=source.targets).to_numpy(np.float64).reshape(-1, *source.images.image_shape)
        guesses = table.encode_targets(predictions)
        figure = plotting.training_summary(
            history, images, guesses, y, class_names=table.classes, title=title, held_out=watched_name
        )
    elif table.task == "classification":
        figure = plotting.table_summary(
            history, np.array(table.classes)[y], predictions[table.targets[0]].to_numpy(str),
            labels=table.classes, title=title, held_out=watched_name,
        )  # fmt: skip
    else:
        figure = plotting.table_summary(
            history, y * table.scale + table.mean, predictions.to_numpy(), names=table.targets, title=title,
            held_out=watched_name,
        )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    persistence.write_atomically(path, buffer.getvalue())


# ---------------------------------------------------------------------- predict and info


def _read_model(path: Path) -> tuple[Network, Table | None, dict[str, Any]]:
    """The network, and, where `train` wrote it, its preprocessing and how it was trained."""
    from fastbackprop import persistence, tables

    net, metadata = persistence.load(path), persistence.read_metadata(path)
    if "table" not in metadata:
        return net, None, {}
    try:
        table, training = tables.Table.from_json(metadata["table"]), json.loads(metadata.get("training", "{}"))
    except ValueError as error:
        raise click.UsageError(f"{path}: {error}") from None
    if (table.inputs, table.outputs) != (net.sizes[0], net.sizes[-1]) or not isinstance(training, dict):
        raise click.UsageError(f"{path}: the preprocessing does not fit the network; the file is damaged")
    return net, table, training


def _predict(model: Path, data: Path, out: Path | None, threads: int | None, reading: dict[str, str]) -> None:
    _check_extras("pandas", "sklearn", "safetensors")
    from fastbackprop import persistence, tables

    out = out or Path(f"{_stem(data)}-predictions.csv")
    _check_writable(out.parent, out, keep=(model, data) if str(data) != "-" else (model,))
    parquet = out.suffix.lower() in tables.PARQUET
    if not parquet and out.suffix.lower() != ".csv":
        raise click.UsageError(f"--out must end in .csv or .parquet, got {str(out)!r}")
    net, table, _ = _read_model(model)
    if table is None:
        raise click.UsageError(f"{model}: a network without the names of its columns; `train` writes one with them")
    net.threads = threads
    with _about(data):
        frame = _read(data, reading)
        X = table.transform(frame).astype(net.dtype)
    _prepare(net)
    predictions = table.decode(net.forward(X))
    if parquet:
        buffer = io.BytesIO()
        try:
            predictions.to_parquet(buffer)
        except ImportError:
            raise ImportError(f"writing {str(out)!r} needs pyarrow: pip install pyarrow") from None
        content = buffer.getvalue()
    else:
        content = predictions.to_csv(index=False, lineterminator="\n").encode()
    persistence.write_atomically(out, content)
    odd = table.irregular(frame)
    for column, words in list(odd.items())[:MOST_NAMES]:
        click.echo(f"column    {tables.shown(column)}: {words}")
    if len(odd) > MOST_NAMES:
        click.echo(f"          and {len(odd) - MOST_NAMES} more columns with missing values or unknown texts")
    click.echo(f"{len(predictions)} row{'s' if len(predictions) > 1 else ''}: {table.task} of {_few(table.targets)}")
    if set(table.targets) <= set(frame.columns):
        known = table.has_targets(frame)
        try:
            if known.any():
                click.echo(f"compared with {data}: {_compare(table, frame[known], predictions[known])}")
        except ValueError as error:
            click.echo(f"not compared with {data}: {error}")
    click.echo(f"predictions  {out}")


def _info(path: Path) -> None:
    _check_extras("safetensors")
    net, table, training = _read_model(path)
    layers = "-".join(str(n) for n in net.sizes)
    hidden = ", ".join(dict.fromkeys(net.hidden)) or "none"
    click.echo(f"network   {layers}, {net.params.size} parameters of {net.dtype}")
    click.echo(f"layers    hidden: {hidden}; output: {net.output}")
    if table is None:
        click.echo("columns   not in the file: the network was saved without preprocessing")
    else:
        _describe(table, columns=True)
        for key, value in training.items():
            click.echo(f"{key:<10}{value}")
    click.echo(f"model     {path}")


def _few_fields(rule: Any) -> str:
    """The optimizer with its learning rate and what is not as usual."""
    fields = (f for f in dataclasses.fields(rule) if f.name == "learning_rate" or getattr(rule, f.name) != f.default)
    return f"{type(rule).__name__}({', '.join(f'{f.name}={getattr(rule, f.name)!r}' for f in fields)})"


def _few(names: Sequence[str]) -> str:
    from fastbackprop.tables import shown

    first = ", ".join(map(shown, names[:MOST_NAMES]))
    return first if len(names) <= MOST_NAMES else f"{first} and {len(names) - MOST_NAMES} more"


# ---------------------------------------------------------------------- before and around the work


@contextlib.contextmanager
def _about(data: object) -> Iterator[None]:
    """Errors of the library name the file they are about."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise click.UsageError(text if str(data) in text else f"{data}: {text}") from None


def _prepare(net: Network) -> None:
    """Compile, or load from the cache, so that the time is not counted as training."""
    import numpy as np

    from fastbackprop import SGD, Network

    words = "preparing the engine (the first time it compiles for this processor, 15 to 35 seconds) ..."
    said = threading.Event()

    def say() -> None:
        click.echo(words, err=True, nl=False)
        said.set()

    timer, start = threading.Timer(PATIENCE, say), time.perf_counter()
    timer.start()
    try:
        Network((1, 2), dtype=net.dtype).fit(np.zeros((2, 1)), [0, 1], epochs=1, optimizer=SGD(0.0))
    finally:
        timer.cancel()
        timer.join()
        if said.is_set():
            click.echo(f" {time.perf_counter() - start:.1f} s", err=True)


def _check_writable(directory: Path, *files: Path, keep: Sequence[Path], option: str = "--out") -> None:
    """Before hours of work: the files can be written, and none is one of those to keep."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise click.UsageError(f"{option} {str(directory)!r}: cannot write there: {error.strerror}") from None
    for file in files:
        if file.exists() and not file.is_file():
            raise click.UsageError(f"{option}: {str(file)!r} is to be written and is something else than a file")
        for given in keep:
            if file.exists() and file.samefile(given):
                raise click.UsageError(f"{option}: {str(file)!r} is {given} itself, which would be lost")


def _check_extras(*modules: str) -> None:
    """Before the work: what will be needed at its end is installed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise click.UsageError(f"{module} is not installed: pip install 'fastbackprop[{EXTRAS[module]}]'") from None


class _Stop(Exception):
    """An end with a line for the user and an exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors are one line on standard error and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no error
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        code = cli.main(arguments, prog_name="fastbackprop", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except ImportError as error:
        _fail(str(error), 2)
    except _Stop as stop:
        _fail(str(stop), stop.code)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; nothing was written", INTERRUPTED)
    except (ValueError, OverflowError) as error:  # what only the library could see is wrong
        _fail(str(error), 2)
    except MemoryError as error:
        _fail(f"not enough memory for this network: {error}", 1)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"fastbackprop: {' '.join(message.split())}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
