"""Pictures of a training. Needs the extra ``plot``.

Figures are made without pyplot: no window, no state shared between calls, and any thread or server may draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastbackprop.training import History

# Of Okabe and Ito's palette: told apart with any colour vision, and in grey.
LEARNED = "#0072B2"  # blue
HELD_OUT = "#D55E00"  # vermilion
INK = "#333333"
FAINT = "#D9D9D9"

BOLD_WIDTH = 0.75  # inches a character for each inch of font size: generous, for any font


def learning_curves(
    history: History, figure: Any = None, *, score_name: str = "accuracy", held_out: str = "validation"
) -> Any:
    """Cost by epoch, and beside it the validation score where there is one.

    Parameters
    ----------
    history : History
        Of at least one epoch.
    figure : matplotlib Figure or SubFigure, optional
        To draw into; a new Figure otherwise.
    score_name : str
        "accuracy" is shown in percent, another score as it is.
    held_out : str
        What the validation data are called in the picture.

    Returns
    -------
    Figure or SubFigure

    Examples
    --------
    >>> import fastbackprop as fb
    >>> history = fb.History(cost=[2.0, 0.5, 0.1], validation_cost=[1.9, 0.6, 0.2], validation_score=[0.3, 0.8, 0.9])
    >>> [axes.get_title() for axes in learning_curves(history).axes]
    ['Cost', 'Accuracy: validation, last epoch 90.00%']
    """
    if not history.cost:
        raise ValueError("history must hold at least one epoch, got none")
    figure = _figure((10.0, 3.6)) if figure is None else figure
    panels = figure.subplots(1, 2 if history.validation_score else 1, squeeze=False)[0]

    cost = panels[0]
    _curve(cost, history.cost, LEARNED, "-", "training")
    if history.validation_cost:
        _curve(cost, history.validation_cost, HELD_OUT, "--", held_out)
        cost.legend(frameon=False)
    finite = [c for c in [*history.cost, *history.validation_cost] if math.isfinite(c)]
    if finite and min(finite) > 0 and max(finite) > 10 * min(finite):
        cost.set_yscale("log")
    _dress(cost, "Cost", len(history.cost))

    if history.validation_score:
        from matplotlib.ticker import PercentFormatter

        scores, last = panels[1], history.validation_score[-1]
        _curve(scores, history.validation_score, HELD_OUT, "-", held_out)
        percent = score_name == "accuracy"
        if percent:
            scores.yaxis.set_major_formatter(PercentFormatter(1.0))
        last_text = f"{last:.2%}" if percent else f"{last:.4g}"
        title = f"{score_name[:1].upper()}{score_name[1:]}: {held_out}, last epoch {last_text}"
        _dress(scores, title, len(history.validation_score))
    return figure


def digits_with_predictions(
    images: Any, predictions: Any, labels: Any, figure: Any = None, *,
    class_names: Sequence[str] | None = None, count: int = 24, columns: int = 12, title: str | None = None,
) -> Any:  # fmt: skip
    """Images with what the network says of them; the wrong ones come first, framed and with what they are.

    Parameters
    ----------
    images : array (N, rows, columns)
    predictions, labels : arrays (N,)
        Class numbers.
    figure : matplotlib Figure or SubFigure, optional
        To draw into; a new Figure otherwise.
    class_names : sequence of str, optional
        By class number; the numbers otherwise.
    count : int
        At most so many are shown. At most half of them are wrong ones, as long as there are others.
    columns : int
        In a row.
    title : str, optional
        Instead of the one that says how many are wrong.

    Returns
    -------
    Figure or SubFigure

    Examples
    --------
    >>> import numpy as np
    >>> figure = digits_with_predictions(np.zeros((3, 8, 8)), [1, 2, 3], [1, 2, 7])
    >>> [axes.get_title() for axes in figure.axes][:3]
    ['✗ 3, is 7', '1', '2']
    """
    images, predictions, labels = np.asarray(images), np.asarray(predictions), np.asarray(labels)
    if images.ndim != 3 or not len(images) or predictions.shape != (len(images),) or labels.shape != (len(images),):
        raise ValueError(
            "images must be (N, rows, columns) with N predictions and N labels, N at least 1, "
            f"got {images.shape}, {predictions.shape} and {labels.shape}"
        )
    if count < 1 or columns < 1:
        raise ValueError(f"count and columns must be at least 1, got {count} and {columns}")
    wrong = predictions != labels
    chosen = _choose(wrong, count)
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = _figure((max(6.2, 0.9 * columns + 0.4), 1.25 * rows + 0.7)) if figure is None else figure

    def name(number: Any) -> str:
        return str(number) if class_names is None else class_names[int(number)]

    said = [name(predictions[i]) if not wrong[i] else f"✗ {name(predictions[i])}, is {name(labels[i])}" for i in chosen]
    room = figure.bbox.width / figure.dpi / columns
    if _width(said, 10) > room:
        said = [text.replace(", is ", "\nis ") for text in said]
    fontsize = min(10.0, 10 * room / _width(said, 10))
    shades = {"cmap": "Greys", "vmin": images.min(), "vmax": max(images.max(), images.min() + 1e-9)}
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=FAINT, linewidth=0.8)
        if axes.get_subplotspec().num1 >= len(chosen):
            axes.set_axis_off()
            continue
        i, text = chosen[axes.get_subplotspec().num1], said[axes.get_subplotspec().num1]
        axes.imshow(images[i], interpolation="nearest", **shades)
        if wrong[i]:
            # Colour, frame, sign and words: any one of them is enough.
            axes.spines[:].set(color=HELD_OUT, linewidth=3)
            axes.set_title(text, fontsize=fontsize, color=HELD_OUT, fontweight="bold", pad=5)
        else:
            axes.set_title(text, fontsize=fontsize, color=INK, pad=5)
    if title is None:
        title = f"Predictions for {len(images)} images, {int(wrong.sum())} of them wrong"
        title += " (framed, shown first)" if wrong.any() else ""
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def training_summary(
    history: History, images: Any, predictions: Any, labels: Any, *, class_names: Sequence[str] | None = None,
    title: str = "", held_out: str = "validation",
) -> Figure:  # fmt: skip
    """One picture of a training on images: the learning curves, and below them held-out images with predictions.

    Parameters are those of :func:`learning_curves` and :func:`digits_with_predictions`.

    Examples
    --------
    >>> import fastbackprop as fb, numpy as np
    >>> history = fb.History(cost=[2.0, 0.5], validation_cost=[1.9, 0.6], validation_score=[0.3, 0.8])
    >>> figure = training_summary(history, np.zeros((3, 8, 8)), [1, 2, 3], [1, 2, 7])
    >>> figure.savefig("summary.png", dpi=150)  # doctest: +SKIP
    """
    figure = _figure((11.5, 7.2))
    if title:
        figure.suptitle(title, fontsize=14, fontweight="bold", color=INK)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.2, 1.0))
    above, below = parts
    learning_curves(history, above, held_out=held_out)
    digits_with_predictions(images, predictions, labels, below, class_names=class_names)
    return figure


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise ImportError("the pictures need matplotlib: pip install 'fastbackprop[plot]'") from None
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches, also at the edges
    return Figure(figsize=size, layout=layout, facecolor="white")


def _width(texts: Sequence[str], fontsize: float) -> float:
    """At most so many inches for the longest line."""
    return max(len(line) for text in texts for line in [*text.split("\n"), " "]) * BOLD_WIDTH * fontsize / 72


def _curve(axes: Any, values: Sequence[float], color: str, line: str, label: str) -> None:
    # A single epoch is a point: a line alone would show nothing.
    marker = "o" if len(values) <= 40 else None
    axes.plot(
        range(1, len(values) + 1), values, line, color=color, label=label, marker=marker, markersize=4, linewidth=2
    )


def _dress(axes: Any, title: str, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=12, color=INK)
    axes.set_xlabel("epoch", color=INK)
    axes.set_xlim(0.5, epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(colors=INK)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _choose(wrong: np.ndarray, count: int) -> list[int]:
    """Indices to show: wrong ones first, then right ones, each in their order."""
    right = np.flatnonzero(~wrong)
    failures = np.flatnonzero(wrong)[: max(count // 2, count - len(right))]
    return [int(i) for i in (*failures, *right[: count - len(failures)])]
