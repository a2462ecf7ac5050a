"""The command ``fastbackprop train``."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastbackprop.cli import samples
from fastbackprop.cli.inputs import is_file, stem
from fastbackprop.cli.models import check_extras, describe
from fastbackprop.cli.options import ACTIVATIONS, MODEL, OPTIMIZERS, READING, THREADS, Number, Sizes, reading, refuse
from fastbackprop.cli.outputs import writable
from fastbackprop.cli.terminal import INTERRUPTED, Stop, about, say

if TYPE_CHECKING:
    import numpy as np

    from fastbackprop.history import History
    from fastbackprop.network import Network
    from fastbackprop.tables import Table

SET_ASIDE = 0.1  # of the training samples, for early stopping
MOST_LINES = 50  # about epochs
# Before the training begins, a network of the same shape does STEPS_AHEAD steps, so that all is compiled. A network of
# more than MOST_AHEAD parameters does without.
STEPS_AHEAD, MOST_AHEAD = 10, 1_000_000
CHECKPOINT_EVERY = timedelta(seconds=5)  # each waits for the disk, and an epoch of a small table takes no time


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user asked for."""

    data: str
    targets: tuple[str, ...]
    task: str | None
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    drop: tuple[str, ...]
    missing: tuple[str, ...] | None
    date_formats: tuple[str, ...]
    reading: dict[str, Any]
    hidden: tuple[int, ...] | None
    activation: str
    epochs: int | None
    batch_size: int
    optimizer: str
    learning_rate: float | None
    momentum: float
    l2: float
    dropout: float
    balanced: bool
    early_stopping: int | None
    checkpoint: Path | None
    resume: Path | None
    dtype: str
    test_size: float
    seed: int
    threads: int | None
    out: Path
    progress: bool


@click.command(
    "train", context_settings={"show_default": True}, short_help="Train a network and report how good it is."
)
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
@click.option(
    "--date-format", "date_formats", multiple=True, metavar="FORMAT",
    help="Of dates, such as %d/%m/%Y. Repeatable: a date is read by the first that it fits.  [default: guessed]",
)  # fmt: skip
@reading
@click.option(
    "--hidden",
    type=Sizes(1, "must be positive whole numbers with commas between them, such as 128,64"),
    help="Sizes of the hidden layers, with commas between them.  [default: 100, for digits 256]",
)
@click.option(
    "--activation", type=click.Choice(ACTIVATIONS), default="relu", help="Of the hidden layers; gelu in its tanh form."
)
@click.option(
    "--epochs", type=click.IntRange(1), help="Passes over the training samples.  [default: 100, for digits 40]"
)
@click.option("--batch-size", type=click.IntRange(1), default=32, help="Samples of a step; lbfgs takes all.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adam")
@click.option(
    "--learning-rate",
    type=Number(0, min_open=True),
    help="[default: 0.001 for adam and adamw, 0.01 for adagrad and rmsprop, 0.1 for sgd]",
)
@click.option("--momentum", type=Number(0, 1, max_open=True), default=0.0, help="Of sgd and rmsprop.")
@click.option("--l2", type=Number(0), default=0.0, help="Adds L2 / 2 * sum of squared weights to the cost.")
@click.option("--dropout", type=Number(0, 1, max_open=True), default=0.0, help="Share of hidden units.")
@click.option("--balanced", is_flag=True, help="Weigh classes so that rare ones count as much.")
@click.option(
    "--early-stopping", type=click.IntRange(1), metavar="EPOCHS",
    help="Stop when the cost of a tenth of the training samples, set aside for this, has not fallen for so long, and "
    "take the best epoch's parameters.",
)  # fmt: skip
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the training to this file after the first epoch, every 5 seconds and at the end: for --resume, and a "
    "model for `predict` and `info`.",
)
@click.option("--resume", type=MODEL, help="Go on from this checkpoint, of the same data and options.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32")
@click.option("--test-size", type=Number(0, 1, min_open=True, max_open=True), default=0.2, help="Share held out.")
@click.option(
    "--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, help="Of the split, the weights and the shuffling."
)
@THREADS
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Directory for the model and the picture, made if need be; earlier ones of the same name are overwritten.",
)
@click.option("--progress/--no-progress", default=True, help="Show a progress bar where standard error is a terminal.")
def command(data: str, **options: Any) -> None:
    """Train a network on DATA and report how good it is on samples it has not seen.

    DATA is a file, CSV with a header line (else --no-header) or Parquet, of which a column is to be predicted:

    \b
        fastbackprop train flowers.csv --target species

    or one of the data sets that come with scikit-learn, nothing is downloaded: breast_cancer, diabetes, digits, iris,
    linnerud, wine. With - the table comes from standard input.

    Numbers are standardised, missing ones filled with the median; texts become categories, one input each. Columns
    without information are left out: empty or constant ones, row numbers, texts that differ in nearly every row.

    Two files are written, named after DATA: the model with all that (.safetensors; for `predict` and `info`), and a
    picture of the training (.png).
    """  # noqa: D301  # \b is what click knows
    _train(Options(data, **options | {"missing": options["missing"] or None}))


def _check(options: Options) -> None:
    """Before anything is read: what contradicts itself, or would be ignored."""
    columns = {"--categorical": options.categorical, "--numeric": options.numeric, "--drop": options.drop}
    for first, second in (("--categorical", "--numeric"), ("--drop", "--categorical"), ("--drop", "--numeric")):
        if both := set(columns[first]) & set(columns[second]):
            raise click.UsageError(f"{first} and {second} both name {both.pop()}")
    if options.optimizer not in ("sgd", "rmsprop"):
        refuse(["momentum"], "goes with --optimizer sgd and rmsprop only")
    if options.optimizer == "lbfgs":
        names = ["learning_rate", "batch_size", "dropout", "checkpoint", "resume"]
        refuse(names, "does not go with --optimizer lbfgs")
    if len(set(options.targets)) > 1 and options.task == "classification":
        raise click.UsageError(f"--task classification goes with one --target, got {len(set(options.targets))}")
    if options.task == "regression" or len(set(options.targets)) > 1:
        refuse(["balanced"], "goes with classes, and numbers are to be predicted")
    if options.out.suffix == ".safetensors":
        raise click.UsageError(
            f"--out is the directory for the model and the picture, got the file {str(options.out)!r}"
        )


def _train(options: Options) -> None:
    _check(options)
    is_bundled = samples.is_bundled(options.data)
    if is_bundled:
        refuse(["targets", *READING], f"goes with a file; {options.data!r} is a data set that comes with scikit-learn")
    check_extras("sklearn", "pandas", "matplotlib", "tqdm")
    from fastbackprop import persistence

    name = options.data if is_bundled else stem(options.data)
    model, picture = options.out / f"{name}.safetensors", options.out / f"{name}.png"
    results = [os.path.realpath(file) for file in (model, picture)]
    if options.checkpoint is not None and os.path.realpath(options.checkpoint) in results:
        raise click.UsageError(f"--checkpoint {str(options.checkpoint)!r} is where the result will be written")
    read = [Path(options.data)] if not is_bundled and is_file(options.data) else []
    kept = read if options.resume is None else [*read, options.resume]
    if options.resume is not None:
        persistence.read_training(options.resume)  # is it one?
    with contextlib.ExitStack() as outputs:
        outputs.enter_context(writable(model, picture, keep=kept, directory=options.out))
        if options.checkpoint is not None:
            outputs.enter_context(writable(options.checkpoint, keep=read, option="--checkpoint"))
        source = (
            samples.bundled(name)
            if is_bundled
            else samples.from_table(options.data, options.targets, options.missing, options.reading)
        )
        from fastbackprop.cli.compiling import announced

        with announced():
            _learn(options, samples.without(source, options.drop), model, picture)


def _learn(options: Options, source: samples.Source, model: Path, picture: Path) -> None:
    from fastbackprop import Network, __version__, checkpointing, optimizers, persistence, tables
    from fastbackprop.cli.scores import measure

    with about(source.title):
        task = options.task or tables.infer_task(source.frame, source.targets, options.missing)
        if task == "regression":
            refuse(["balanced"], f"goes with classes, and {source.targets[0]} is one of numbers")
        learned, held_out = samples.split(source, task, options.test_size, options.seed)
        watched = held_out
        if options.early_stopping is not None:  # what decides must not be what is reported
            learned, watched = samples.split(source, task, SET_ASIDE, options.seed, learned)
        table = samples.fit_table(
            source, task, learned, categorical=options.categorical, numeric=options.numeric, missing=options.missing,
            date_format=options.date_formats,
        )  # fmt: skip
        X, y = table.transform(source.frame).astype(options.dtype), table.encode_targets(source.frame)
    y = y if table.classes else y.astype(options.dtype)
    epochs = options.epochs or (100 if source.images is None else 40)
    hidden = options.hidden or ((100,) if source.images is None else (256,))
    rates = {"learning_rate": options.learning_rate, "momentum": options.momentum or None}
    rule = optimizers.NAMES[options.optimizer](**{name: rate for name, rate in rates.items() if rate is not None})
    net = Network(
        (table.inputs, *hidden, table.outputs), options.activation, "softmax" if table.classes else "identity",
        dtype=options.dtype, seed=options.seed, threads=options.threads,
    )  # fmt: skip
    aside = "" if watched is held_out else f", {len(watched)} set aside for early stopping"
    counts = f"{source.title}: {len(learned)} samples to learn from{aside}, {len(held_out)} held out"
    say(counts)
    describe(table)
    samples.warn_of_doubts(source, table, y, learned, held_out)
    say(f"{net!r}, {_few_fields(rule)}")
    _prepare(net, X[learned], y[learned], rule, options)

    def metadata(epochs: int | str, scores: dict[str, str]) -> dict[str, str]:
        batches = "full batches" if options.optimizer == "lbfgs" else f"batches of {options.batch_size}"
        training = {
            "data": counts,
            "training": f"{epochs} epochs, {batches}, {_few_fields(rule)}, l2 {options.l2:g}, "
            f"dropout {options.dropout:g}{', balanced classes' * options.balanced}, seed {options.seed}",
            "version": f"fastbackprop {__version__}",
        }
        return {"table": table.to_json(), "training": json.dumps(training | scores)}

    bar = options.progress and sys.stderr.isatty()
    report = _Report(epochs, bool(table.classes), "held out" if watched is held_out else "set aside", bar)
    before = None if options.checkpoint is None else _identity(options.checkpoint)
    start = time.perf_counter()
    try:
        kept = metadata(f"up to {epochs}", {"held out": "not measured in a checkpoint"})
        history = _fit(net, X, y, learned, watched, rule, epochs, report, options, kept)
        seconds = time.perf_counter() - start
        finished = len(history.cost)  # a resumed training may have had no epoch left
        test, outputs = source.frame.iloc[held_out], net.forward(X[held_out])
        scores = measure(table, test, outputs)
    except KeyboardInterrupt:
        unfinished = model.with_name(f"{source.name}-interrupted.safetensors")  # a finished model stays as it is
        persistence.save(
            net, unfinished, metadata(report.finished, {"held out": "not measured: the training was interrupted"})
        )
        words = f"interrupted; the network after its last finished step is in {unfinished}"
        if options.checkpoint is not None and (
            _identity(options.checkpoint) != before or options.checkpoint == options.resume
        ):
            epoch = checkpointing.epoch_of(options.checkpoint)
            words += f"; --resume {options.checkpoint} goes on after epoch {epoch}"
        raise Stop(words, INTERRUPTED) from None
    except FloatingPointError as error:
        raise Stop(str(error), 1) from None

    persistence.save(net, model, metadata(finished, {"held out": scores.first} | scores.more))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # of names in letters that the font lacks
            content = _picture(source, table, history, test, outputs, scores.first, report.watched)
        persistence.write_atomically(picture, content)
    except KeyboardInterrupt:
        raise Stop(f"interrupted; the model is in {model}, the picture is not drawn", INTERRUPTED) from None
    if history.stopped:
        say(f"stopped after epoch {finished}: {history.stopped}")
    if history.best_epoch is not None:
        say(f"the parameters are those of epoch {history.best_epoch}")
    say(f"test {scores.first}")
    for name, line in scores.more.items():
        say(f"     {name}: {line}")
    if report.ran:
        steps = history.steps * report.ran // finished  # the history counts those before --resume too
        say(f"{steps} steps in {seconds:.2f} s, {steps / seconds:,.0f} steps per second")
    else:
        say(f"nothing was left to train: {options.resume} has {finished} epochs")
    say(f"model    {model}")
    say(f"picture  {picture}")


def _fit(
    net: Network, X: np.ndarray, y: np.ndarray, learned: np.ndarray, watched: np.ndarray, rule: Any, epochs: int,
    report: Callable[[dict[str, Any]], None], options: Options, metadata: dict[str, str],
) -> History:  # fmt: skip
    from fastbackprop import EarlyStopping

    patience = options.early_stopping
    kept: dict[str, Any] = {
        "checkpoint": options.checkpoint, "checkpoint_every": CHECKPOINT_EVERY, "checkpoint_metadata": metadata,
    }  # fmt: skip
    return net.fit(
        X[learned], y[learned], epochs=epochs, optimizer=rule, seed=options.seed,
        batch_size=None if options.optimizer == "lbfgs" else options.batch_size,
        l2=options.l2, dropout=options.dropout, class_weight="balanced" if options.balanced else None,
        validation_data=(X[watched], y[watched]), callbacks=[report],
        progress=options.progress and sys.stderr.isatty(),
        early_stopping=None if patience is None else EarlyStopping(patience),
        resume=options.resume, **({} if options.checkpoint is None else kept),
    )  # fmt: skip


def _identity(file: Path) -> tuple[int, int] | None:
    """It changes when the file is written anew; None where there is none."""
    with contextlib.suppress(OSError):
        status = file.stat()
        return status.st_ino, status.st_mtime_ns
    return None


class _Report:
    """A line about an epoch now and then; ``finished`` is the last one, and ``ran`` how many there were."""

    def __init__(self, epochs: int, classes: bool, watched: str, bar: bool) -> None:
        self.epochs, self.classes, self.watched, self.bar = epochs, classes, watched, bar
        self.finished = self.ran = 0

    def __call__(self, record: dict[str, Any]) -> None:
        self.ran, self.finished = self.ran + 1, record["epoch"]
        if self.finished % -(-self.epochs // MOST_LINES) and self.finished not in (1, self.epochs):
            return
        score = record["validation_score"]
        score = f"accuracy {score:.2%}" if self.classes else f"R² {score:.4f}"
        line = (
            f"epoch {self.finished:{len(str(self.epochs))}}/{self.epochs}  cost {record['cost']:.4f}  "
            f"{self.watched}: cost {record['validation_cost']:.4f}, {score}"
        )
        if self.bar:
            from tqdm.auto import tqdm

            tqdm.write(line)
        else:
            say(line)


def _prepare(net: Network, X: np.ndarray, y: np.ndarray, rule: Any, options: Options) -> None:
    """Compile, or load from the cache, what the training needs, so that the time is not counted as training.

    A network of the same shape does some of its steps; where it is large, the training itself takes longer than that.
    """
    from fastbackprop import Network

    if net.params.size > MOST_AHEAD:
        return
    twin = Network(net.sizes, net.hidden, net.output, dtype=net.dtype, threads=net.threads)
    few = slice(0, STEPS_AHEAD * options.batch_size)
    batch = None if options.optimizer == "lbfgs" else options.batch_size
    with contextlib.suppress(FloatingPointError):
        twin.fit(X[few], y[few], epochs=1, optimizer=rule, batch_size=batch, l2=options.l2, dropout=options.dropout)
        twin.forward(X[few])


def _few_fields(rule: Any) -> str:
    """The optimizer with its learning rate and what is not as usual."""
    fields = (f for f in dataclasses.fields(rule) if f.name == "learning_rate" or getattr(rule, f.name) != f.default)
    return f"{type(rule).__name__}({', '.join(f'{f.name}={getattr(rule, f.name)!r}' for f in fields)})"


def _picture(
    source: samples.Source, table: Table, history: History, test: Any, outputs: np.ndarray, score: str, watched: str
) -> bytes:
    """The content of a PNG file."""
    import numpy as np

    from fastbackprop import plotting

    y, title = table.encode_targets(test), f"{source.title}: held out, {score}"
    if source.images is not None and source.images.image_shape is not None:
        images = test.drop(columns=source.targets).to_numpy(np.float64).reshape(-1, *source.images.image_shape)
        figure = plotting.training_summary(
            history, images, outputs.argmax(axis=1), y, class_names=table.classes, title=title, held_out=watched
        )
    elif table.classes:
        names = np.array(table.classes, object)
        figure = plotting.table_summary(
            history, names[y], names[outputs.argmax(axis=1)], labels=table.classes, title=title, held_out=watched
        )
    else:
        figure = plotting.table_summary(
            history, y * table.scale + table.mean, table.decode(outputs).to_numpy(np.float64), names=table.targets,
            title=title, held_out=watched,
        )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
