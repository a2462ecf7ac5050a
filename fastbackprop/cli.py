"""The command line: ``fastbackprop train digits``. Needs the extra ``cli``."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import click
except ImportError:
    raise SystemExit("fastbackprop: the command line needs click: pip install 'fastbackprop[cli]'") from None

if TYPE_CHECKING:
    from fastbackprop.network import Network

INTERRUPTED = 130  # the shell's code for Ctrl-C
HIDDEN_NAMES = ("identity", "relu", "relu0", "leaky_relu", "elu", "tanh", "sigmoid", "softplus", "gelu", "silu")


class _Sizes(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions only
    """Layer sizes such as 128 or 128,64."""

    name = "sizes"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            sizes = ()
        if not sizes or min(sizes) < 1:
            self.fail(f"must be positive whole numbers with commas between them, such as 128,64; got {value!r}")
        return sizes


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


@cli.command(context_settings={"show_default": True}, short_help="Train a network and report its accuracy.")
@click.argument("dataset", type=click.Choice(["digits"]), metavar="DATASET")
@click.option("--hidden", type=_Sizes(), default="256", help="Sizes of the hidden layers, with commas between them.")
@click.option("--activation", type=click.Choice(HIDDEN_NAMES), default="relu", help="Of the hidden layers.")
@click.option("--epochs", type=click.IntRange(1), default=40, help="Passes over the training samples.")
@click.option("--batch-size", type=click.IntRange(1), default=32, help="Samples of a step.")
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="[default: 0.001 for adam, 0.1 for sgd]",
    show_default=False,
)
@click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="Of sgd.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32")
@click.option(
    "--test-size", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.2, help="Share held out."
)
@click.option(
    "--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, help="Of the split, the weights and the shuffling."
)
@click.option(
    "--threads", type=click.IntRange(1), help="[default: all processors]; the result has the same bits for any number."
)
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Directory for the model and the picture.",
)
@click.option("--progress/--no-progress", default=True, help="Show a progress bar where standard error is a terminal.")
def train(dataset: str, **options: Any) -> None:
    """Train a network on DATASET and report its accuracy on samples it has not seen.

    DATASET is digits: scikit-learn's 1797 images of handwritten digits, 8 by 8 pixels; nothing is downloaded. Two files
    are written: the model (DATASET.safetensors) and a picture of the training (DATASET.png).
    """
    _train(dataset, **options)


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from fastbackprop import __version__

        click.echo(f"fastbackprop {__version__}")
        context.exit()


def _train(
    dataset: str, *, hidden: tuple[int, ...], activation: str, epochs: int, batch_size: int, optimizer: str,
    learning_rate: float | None, momentum: float, dtype: str, test_size: float, seed: int, threads: int | None,
    out: Path, progress: bool,
) -> None:  # fmt: skip
    if momentum and optimizer != "sgd":
        raise click.UsageError("--momentum goes with --optimizer sgd only")
    if learning_rate is not None and not learning_rate < float("inf"):
        raise click.UsageError(f"--learning-rate must be a finite number above 0, got {learning_rate}")
    _check_directory(out)
    _check_extras()

    from fastbackprop import SGD, Adam, Network, datasets, persistence, plotting

    rule = Adam(learning_rate or 1e-3) if optimizer == "adam" else SGD(learning_rate or 0.1, momentum=momentum)
    data = datasets.load(dataset)
    try:
        split = datasets.split(data.X, data.y, test_size=test_size, seed=seed, stratify=True)
    except ValueError as error:  # too few samples of a class
        raise click.UsageError(f"--test-size {test_size:g}: {error}") from None
    sizes = (data.X.shape[1], *hidden, len(data.class_names))
    net = Network(sizes, activation, "softmax", dtype=dtype, seed=seed, threads=threads)
    click.echo(f"{dataset}: {len(split.X_train)} samples to learn from, {len(split.X_test)} held out")
    click.echo(f"{net!r}, {rule!r}")
    _prepare(net)

    model, picture = out / f"{dataset}.safetensors", out / f"{dataset}.png"
    width, bar = len(str(epochs)), progress and sys.stderr.isatty()

    def report(record: dict[str, Any]) -> None:
        line = (
            f"epoch {record['epoch']:{width}}/{epochs}  cost {record['cost']:.4f}  "
            f"held out: cost {record['validation_cost']:.4f}, accuracy {record['validation_score']:.2%}"
        )
        if bar:
            from tqdm.auto import tqdm

            tqdm.write(line)
        else:
            click.echo(line)

    X, X_test = split.X_train.astype(dtype), split.X_test.astype(dtype)
    metadata = {"dataset": dataset, "classes": ",".join(data.class_names), "scaling": data.scaling}
    try:
        history = net.fit(
            X, split.y_train, epochs=epochs, batch_size=batch_size, optimizer=rule, seed=seed,
            validation_data=(X_test, split.y_test), callbacks=[report], progress=bar,
        )  # fmt: skip
    except KeyboardInterrupt:
        unfinished = out / f"{dataset}-interrupted.safetensors"  # a finished model of that name stays
        persistence.save(net, unfinished, metadata)
        raise _Stop(f"interrupted; the network after its last finished step is in {unfinished}", INTERRUPTED) from None
    except FloatingPointError as error:
        raise _Stop(str(error), 1) from None

    predictions = net.forward(X_test).argmax(axis=1)
    persistence.save(net, model, metadata)
    images = split.X_test.reshape(-1, *(data.image_shape or (1, data.X.shape[1])))
    accuracy = history.validation_score[-1]
    figure = plotting.training_summary(
        history, images, predictions, split.y_test, class_names=data.class_names, held_out="held out",
        title=f"{dataset}: {accuracy:.2%} of {len(images)} held-out samples right",
    )  # fmt: skip
    figure.savefig(picture, dpi=120)
    click.echo(f"test accuracy {accuracy:.2%} ({int((predictions == split.y_test).sum())} of {len(images)})")
    click.echo(
        f"{history.steps} steps in {history.seconds:.2f} s, {history.steps / history.seconds:,.0f} steps per second"
    )
    click.echo(f"model    {model}")
    click.echo(f"picture  {picture}")


def _prepare(net: Network) -> None:
    """Compile, or load from the cache, so that the time is not counted as training."""
    import numpy as np

    from fastbackprop import SGD, Network

    click.echo(
        "preparing the engine (the first time it compiles for this processor, some 15 seconds) ...", err=True, nl=False
    )
    start = time.perf_counter()
    Network((1, 2), dtype=net.dtype).fit(np.zeros((2, 1)), [0, 1], epochs=1, optimizer=SGD(0.0))
    click.echo(f" {time.perf_counter() - start:.1f} s", err=True)


def _check_directory(path: Path) -> None:
    """Before hours of work: the files can be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise click.UsageError(f"--out {str(path)!r}: cannot write there: {error.strerror}") from None


def _check_extras() -> None:
    """Before the work: what will be needed at its end is installed."""
    for module, extra in (("sklearn", "sklearn"), ("matplotlib", "plot"), ("safetensors", "io"), ("tqdm", "cli")):
        try:
            importlib.import_module(module)
        except ImportError:
            raise click.UsageError(f"{module} is not installed: pip install 'fastbackprop[{extra}]'") from None


class _Stop(Exception):
    """An end with a line for the user and an exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors are one line on standard error and an exit code, never a traceback."""
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
