"""Pictures of a training and of what was learned. Needs the extra ``plot``.

Figures are made without pyplot: no window, no state shared between calls, and any thread or server may draw. A notebook
shows the one that a cell ends with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop.text import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastbackprop.history import History
    from fastbackprop.network import Network

# Of Okabe and Ito's palette: told apart with any colour vision, and in grey.
LEARNED = "#0072B2"  # blue
HELD_OUT = "#D55E00"  # vermilion
INK = "#333333"
FAINT = "#D9D9D9"
CLASSES = (LEARNED, HELD_OUT, "#009E73", "#CC79A7", "#8C6D1F", "#56B4E9", "#E69F00", "#666666")
MARKERS = "os^DvPX"  # one fewer than the colours: the 56 pairs differ

ROWS_SHOWN = 2000  # samples whose activations are drawn: a histogram does not change with more
POINTS_SHOWN = 3000  # more points than that hide each other
LONGEST_TITLE = 300  # characters
BOLD_WIDTH = 0.75  # inches a character for each inch of font size: generous, for any font
# How texts are drawn that came with the data: no $ or _ of a name is TeX.
PLAIN = {"parse_math": False, "usetex": False}


def learning_curves(history: History, figure: Any = None, *, held_out: str = "validation", ax: Any = None) -> Any:
    """Cost by epoch, and beside it (in an upright figure, below it) the validation score where there is one.

    Parameters
    ----------
    history : History
        Of at least one epoch.
    figure : matplotlib Figure or SubFigure, optional
        To draw into; a new Figure otherwise.
    held_out : str
        What the validation data are called in the picture.
    ax : matplotlib Axes, or two of them, optional
        To draw into, in the place of ``figure``: the cost into the first, the score into the second.

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
    if ax is not None:
        panels = _axes_given(ax, figure)
        figure = panels[0].figure
    else:
        figure = _figure((10.0, 3.6)) if figure is None else figure
        count, upright = 2 if history.validation_score else 1, figure.bbox.height > figure.bbox.width
        panels = figure.subplots(count if upright else 1, 1 if upright else count, squeeze=False).ravel()

    cost = panels[0]
    _curve(cost, history.cost, LEARNED, "-", "training")
    if history.validation_cost:
        _curve(cost, history.validation_cost, HELD_OUT, "--", held_out)
        _legend(cost, cost.get_lines())
    finite = [c for c in [*history.cost, *history.validation_cost] if math.isfinite(c)]
    if finite and min(finite) > 0 and max(finite) > 10 * min(finite):
        _logarithmic(cost, max(finite) / min(finite))
    _dress(cost, "Cost", len(history.cost))

    if history.validation_score and len(panels) > 1:
        from matplotlib.ticker import PercentFormatter

        scores = panels[1]
        best = history.best_epoch
        last = history.validation_score[-1 if best is None else best - 1]
        _curve(scores, history.validation_score, HELD_OUT, "-", held_out)
        name = history.score_name
        percent = name == "accuracy"
        if percent:
            scores.yaxis.set_major_formatter(PercentFormatter(1.0))
        last_text = f"{last:.2%}" if percent else f"{last:.4g}"
        which = "last epoch" if best is None else f"epoch {best}:"
        title = f"{name[:1].upper()}{name[1:]}: {held_out}, {which} {last_text}"
        _dress(scores, title, len(history.validation_score))
    if history.best_epoch is not None:  # early stopping went back to it
        for axes in panels:
            axes.axvline(history.best_epoch, color=INK, linestyle=":", linewidth=1.5)
    return figure


def _axes_given(ax: Any, figure: Any) -> list[Any]:
    """One Axes or two, as a list."""
    from matplotlib.axes import Axes

    panels = [ax] if isinstance(ax, Axes) else list(np.ravel(np.array(ax, dtype=object)))
    if not 1 <= len(panels) <= 2 or not all(isinstance(panel, Axes) for panel in panels):
        raise TypeError(f"ax must be a matplotlib Axes or two of them, got {ax!r}")
    if figure is not None:
        raise ValueError("ax and figure exclude each other, got both")
    return panels


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
        return str(number) if class_names is None else _short(class_names[int(number)])

    def words(comma: str) -> list[str]:
        pairs = [(name(predictions[i]), name(labels[i])) for i in chosen]
        return [f"✗ {said}{comma}is {true}" if wrong[i] else said for i, (said, true) in zip(chosen, pairs)]

    room, said = figure.bbox.width / figure.dpi / columns, words(", ")
    if _width(said, 10) > room:
        said = words("\n")
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
            axes.set_title(text, fontsize=fontsize, color=HELD_OUT, fontweight="bold", pad=5, **PLAIN)
        else:
            axes.set_title(text, fontsize=fontsize, color=INK, pad=5, **PLAIN)
    if title is None:
        title = f"Predictions for {len(images)} images, {int(wrong.sum())} of them wrong"
        title += " (framed, shown first)" if wrong.any() else ""
    _suptitle(figure, title, fontsize=12)
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
        _suptitle(figure, title, fontsize=14, fontweight="bold")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.2, 1.0))
    above, below = parts
    learning_curves(history, above, held_out=held_out)
    digits_with_predictions(images, predictions, labels, below, class_names=class_names)
    return figure


def histograms(net: Network, X: Any = None, figure: Any = None) -> Any:
    """Weights of each layer, one row a layer, and beside them its activations of samples X, where they are given.

    Parameters
    ----------
    net : Network
    X : array (N, n[0]), optional
        At most `ROWS_SHOWN` rows, evenly spread, are looked at.
    figure : matplotlib Figure or SubFigure, optional
        To draw into; a new Figure otherwise.

    Returns
    -------
    Figure or SubFigure

    Examples
    --------
    >>> import fastbackprop as fb, numpy as np
    >>> figure = histograms(fb.Network((2, 8, 3), seed=0), np.eye(2))
    >>> [axes.get_title() for axes in figure.axes]
    ['W[1]: 8 × 2', 'A[1]: relu, 2 × 8', 'W[2]: 3 × 8', 'A[2]: softmax, 2 × 3']
    """
    activations: list[Any] = []
    if X is not None:
        X = np.asarray(X)
        X = X[:: -(-len(X) // ROWS_SHOWN) or 1]
        activations = net.trace(X, np.full((len(X), net.sizes[-1]), 1 / net.sizes[-1])).A[1:]
    layers = len(net.weights)
    figure = _figure((9.0 if activations else 5.0, 1.9 * layers + 0.3)) if figure is None else figure
    panels = figure.subplots(layers, 2 if activations else 1, squeeze=False)
    names = [*net.hidden, net.output]
    for l, W in enumerate(net.weights):
        _histogram(panels[l, 0], W, f"W[{l + 1}]: {W.shape[0]} × {W.shape[1]}", LEARNED)
        if activations:
            A = activations[l]
            _histogram(panels[l, 1], A, f"A[{l + 1}]: {names[l]}, {A.shape[0]} × {A.shape[1]}", HELD_OUT)
    return figure


def decision_boundary(
    net: Network, X: Any, y: Any, figure: Any = None, *, class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] = ("x[0]", "x[1]"),
) -> Any:  # fmt: skip
    """What a network of two inputs says everywhere around the samples, and the samples.

    For classes (softmax, or one sigmoid output) the colour is the most probable one's, the paler the less probable it
    is. For one identity output it is the value.

    Parameters
    ----------
    net : Network
        With two inputs.
    X : array (N, 2)
    y : array (N,)
        Class numbers, or values.
    figure : matplotlib Figure or SubFigure, optional
        To draw into; a new Figure otherwise.
    class_names : sequence of str, optional
        By class number.
    feature_names : sequence of two str

    Returns
    -------
    Figure or SubFigure

    Examples
    --------
    >>> import fastbackprop as fb, numpy as np
    >>> figure = decision_boundary(fb.Network((2, 8, 3), seed=0), np.eye(2), [0, 2], class_names=["a", "b", "c"])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['a', 'c']
    """
    X, y = np.asarray(X), np.asarray(y)
    if net.sizes[0] != 2 or (net.sizes[-1] > 1 and net.output != "softmax"):
        raise ValueError(f"net must have two inputs, and one output or softmax, got {net!r}")
    if X.ndim != 2 or X.shape[1] != 2 or not len(X) or y.shape != (len(X),):
        raise ValueError(f"X must be (N, 2) and y (N,), N at least 1, got {X.shape} and {y.shape}")
    figure = _figure((6.4, 5.2)) if figure is None else figure
    axes = figure.subplots()
    low, high = X.min(axis=0), X.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    low, high = low - margin, high + margin
    steps = 300
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, steps) for a, b in zip(low, high))), axis=-1)
    o = net.forward(grid.reshape(-1, 2)).astype(np.float64)
    place = {"origin": "lower", "extent": (low[0], high[0], low[1], high[1]), "aspect": "auto", "zorder": 0}
    drawn = slice(None, None, -(-len(X) // POINTS_SHOWN))
    (x1, x2), values = X[drawn].T, y[drawn]
    dots = {"s": 26, "edgecolors": "white", "linewidths": 0.6}
    if net.output == "identity":
        limits = {"vmin": min(o.min(), y.min()), "vmax": max(o.max(), y.max())}
        axes.imshow(o.reshape(steps, steps), cmap="viridis", interpolation="bilinear", **limits, **place)
        points = axes.scatter(x1, x2, c=values, cmap="viridis", **limits, **dots)
        figure.colorbar(points, ax=axes)
    else:
        if net.output == "sigmoid":
            o = np.concatenate([1 - o, o], axis=1)
        _regions(axes, o.reshape(steps, steps, -1), place)
        points = []
        for k in np.unique(values):
            style = {"color": _class_color(int(k)), "marker": MARKERS[int(k) % len(MARKERS)], **dots}
            label = str(k) if class_names is None else class_names[int(k)]
            points.append(axes.scatter(*X[drawn][values == k].T, label=label, **style))
        if len(points) <= 20:
            _legend(axes, points, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_xlabel(_short(feature_names[0], 60), color=INK, **PLAIN)
    axes.set_ylabel(_short(feature_names[1], 60), color=INK, **PLAIN)
    axes.tick_params(colors=INK)
    return figure


def confusion_matrix(y: Any, predicted: Any, labels: Sequence[Any] | None = None, figure: Any = None) -> Any:
    """How often each class was taken for which: a row a true class, a column a predicted one.

    A cell holds the number of samples; its colour is their share of the row. Right ones are on the diagonal, in blue.

    Parameters
    ----------
    y, predicted : arrays (N,)
        Labels, of any kind.
    labels : sequence, optional
        All labels in the order to show; by default those that occur, sorted.
    figure : matplotlib Figure or SubFigure, optional
        To draw into; a new Figure otherwise.

    Returns
    -------
    Figure or SubFigure

    Raises
    ------
    ValueError
        Where the arrays differ in length, are empty or hold a label that is not among ``labels``.

    Examples
    --------
    >>> figure = confusion_matrix(["cat", "dog", "dog"], ["cat", "dog", "cat"])
    >>> figure.axes[0].get_title()
    'Accuracy 66.67%: 2 of 3'
    """
    y, predicted = np.asarray(y), np.asarray(predicted)
    if y.ndim != 1 or y.shape != predicted.shape or not len(y):
        raise ValueError(f"y and predicted must be (N,), N at least 1, got {y.shape} and {predicted.shape}")
    names = np.unique(np.concatenate([y, predicted])).tolist() if labels is None else list(labels)
    position = {name: k for k, name in enumerate(names)}
    strange = (set(y.tolist()) | set(predicted.tolist())) - set(position)
    if strange:
        raise ValueError(f"labels must hold every label, got {next(iter(strange))!r} besides")
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, ([position[k] for k in y.tolist()], [position[k] for k in predicted.tolist()]), 1)

    texts, n = [_short(name) for name in names], len(names)
    side = _matrix_side(n)
    if figure is None:
        room = _width(texts, 9) * 0.8 + 0.7
        figure = _figure((side + room, side + room + 0.3))
    else:
        side = min(side, 0.75 * min(figure.bbox.width, figure.bbox.height) / figure.dpi)
    axes = figure.subplots()
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(_shades(share), interpolation="nearest")
    every = max(1, math.ceil(0.11 * n / side))  # a line of text needs so many inches
    size = min(9.0, max(6.0, 50 * side / n))
    slanted = _width(texts, size) * n > side * every
    axes.set_xticks(range(0, n, every), texts[::every], rotation=90 if slanted else 0, fontsize=size, **PLAIN)
    axes.set_yticks(range(0, n, every), texts[::every], fontsize=size, **PLAIN)
    axes.tick_params(colors=INK, length=0)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    axes.spines[:].set(color=FAINT, linewidth=0.8)
    digits = len(str(counts.max()))
    number_size = min(10.0, 72 * side / n / (0.68 * digits + 0.4))
    if number_size >= 3.5:
        for i, k in np.argwhere(counts > 0):
            color = "white" if share[i, k] > 0.5 else INK
            axes.text(k, i, str(counts[i, k]), ha="center", va="center", fontsize=number_size, color=color)
    right = int(np.trace(counts))
    axes.set_title(f"Accuracy {right / len(y):.2%}: {right} of {len(y)}", fontsize=12, color=INK)
    return figure


def predicted_and_true(y: Any, predicted: Any, names: Sequence[str] = ("",), figure: Any = None) -> Any:
    """Predicted against true values of a regression, a panel a target; on the line they are the same.

    Parameters
    ----------
    y, predicted : arrays (N,) or (N, targets)
    names : sequence of str
        One for each target.
    figure : matplotlib Figure or SubFigure, optional
        To draw into; a new Figure otherwise.

    Returns
    -------
    Figure or SubFigure

    Raises
    ------
    ValueError
        Where the shapes differ.

    Examples
    --------
    >>> figure = predicted_and_true([1.0, 2.0, 4.0], [1.5, 2.0, 3.5], ["price"])
    >>> figure.axes[0].get_title()
    'price: R² 0.893'
    """
    y, predicted = np.asarray(y, np.float64), np.asarray(predicted, np.float64)
    if y.shape != predicted.shape or y.ndim not in (1, 2) or not y.size or y.reshape(len(y), -1).shape[1] != len(names):
        raise ValueError(
            f"y and predicted must be (N, {len(names)}), one column a name, N at least 1, "
            f"got {y.shape} and {predicted.shape}"
        )
    count = len(names)
    columns = min(count, math.ceil(math.sqrt(count)))
    rows = -(-count // columns)
    figure = _figure((4.6 * columns, 4.4 * rows)) if figure is None else figure
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name, true, said in zip(panels, names, y.reshape(-1, count).T, predicted.reshape(-1, count).T):
        low, high = min(true.min(), said.min()), max(true.max(), said.max())
        margin = 0.05 * (high - low) or 1.0
        ends = low - margin, high + margin
        drawn = slice(None, None, -(-len(true) // POINTS_SHOWN))
        axes.plot(ends, ends, "-", color=INK, linewidth=1, zorder=1)
        alpha = min(0.8, max(0.2, 20 / math.sqrt(len(true[drawn]))))
        axes.scatter(true[drawn], said[drawn], s=18, color=LEARNED, alpha=alpha, edgecolors="none", zorder=2)
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        total = ((true - true.mean()) ** 2).sum()
        score = f"R² {1 - ((true - said) ** 2).sum() / total:.3f}" if total > 0 else "a single true value"
        axes.set_title(f"{_short(name, 26)}: {score}" if name else score, fontsize=12, color=INK, **PLAIN)
        axes.set_xlabel("true", color=INK)
        axes.set_ylabel("predicted", color=INK)
        axes.tick_params(colors=INK)
        axes.locator_params(nbins=6)
        axes.grid(color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure


def table_summary(
    history: History, y: Any, predicted: Any, *, labels: Sequence[Any] | None = None, names: Sequence[str] = ("",),
    title: str = "", held_out: str = "validation",
) -> Figure:  # fmt: skip
    """One picture of a training on a table: the learning curves, and beside them the predictions.

    These are a confusion matrix where ``labels`` are given, else predicted and true values of the targets ``names``.
    Parameters are those of :func:`learning_curves`, :func:`confusion_matrix` and :func:`predicted_and_true`.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> history = fb.History(cost=[2.0, 0.5], validation_cost=[1.9, 0.6], validation_score=[0.3, 0.8])
    >>> figure = table_summary(history, ["a", "b"], ["a", "a"], labels=["a", "b"])
    >>> figure.savefig("summary.png", dpi=120)  # doctest: +SKIP
    """
    if labels is None:
        columns = math.ceil(math.sqrt(len(names)))
        width, height = 4.8 * columns + 0.4, max(6.4, 4.4 * -(-len(names) // columns))
    else:
        width = height = max(6.0, _matrix_side(len(labels)) + 0.8 * _width([_short(k) for k in labels], 9) + 0.7)
    curves = min(7.0, 0.85 * height)
    figure = _figure((curves + width, height + 0.5))
    if title:
        _suptitle(figure, title, fontsize=14, fontweight="bold")
    parts: Any = figure.subfigures(1, 2, width_ratios=(curves, width))
    left, right = parts
    learning_curves(history, left, held_out=held_out)
    if labels is None:
        predicted_and_true(y, predicted, names, right)
    else:
        confusion_matrix(y, predicted, labels, right)
    return figure


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        from fastbackprop.figure import Picture
    except ImportError:
        raise ImportError("the pictures need matplotlib: pip install 'fastbackprop[plot]'") from None
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches, also at the edges
    return Picture(figsize=size, layout=layout, facecolor="white")


def _width(texts: Sequence[str], fontsize: float) -> float:
    """At most so many inches for the longest line."""
    return max(len(line) for text in texts for line in [*text.split("\n"), " "]) * BOLD_WIDTH * fontsize / 72


def _short(name: Any, most: int = 22) -> str:
    return shown(str(name), most)


def _suptitle(figure: Any, title: str, fontsize: float, **options: Any) -> None:
    """A title of the whole figure, cut to its width."""
    text = figure.suptitle(_short(title, LONGEST_TITLE), fontsize=fontsize, color=INK, **options, **PLAIN)
    while (share := 0.97 * figure.bbox.width / text.get_window_extent().width) < 1:
        text.set_text(_short(title, int(share * len(text.get_text())) - 1))


def _legend(axes: Any, drawn: Sequence[Any], **options: Any) -> None:
    """A legend of what was drawn. Matplotlib leaves out labels that begin with _, so they are put in afterwards."""
    legend = axes.legend(drawn, ["label"] * len(drawn), frameon=False, **options)
    for text, artist in zip(legend.get_texts(), drawn):
        text.set(text=_short(artist.get_label()), **PLAIN)


def _matrix_side(classes: int) -> float:
    """Inches: room for numbers in the cells, up to a size that fits on a screen."""
    return min(12.0, max(3.2, 0.34 * classes))


def _class_color(k: int) -> str:
    return CLASSES[k % len(CLASSES)]


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _shades(share: np.ndarray) -> np.ndarray:
    """White to blue on the diagonal, white to vermilion elsewhere."""
    full = np.broadcast_to(_rgb(HELD_OUT), (*share.shape, 3)).copy()
    np.einsum("iic->ic", full)[...] = _rgb(LEARNED)
    # A single error in a long row is seen too.
    depth = np.where(share > 0, 0.12 + 0.88 * share, 0.0)[..., None]
    return 1 - depth * (1 - full)


def _regions(axes: Any, probabilities: np.ndarray, place: dict[str, Any]) -> None:
    """Each point in the colour of its most probable class, and a line where that changes."""
    classes = probabilities.shape[2]
    winner = probabilities.argmax(axis=2)
    # Pale where the best class is hardly better than chance, and never darker than the points on it.
    sure = (probabilities.max(axis=2) - 1 / classes) / (1 - 1 / classes)
    depth = (0.08 + 0.42 * sure)[..., None]
    full = np.array([_rgb(_class_color(k)) for k in range(classes)])[winner]
    axes.imshow(1 - depth * (1 - full), interpolation="nearest", **place)
    for k in np.unique(winner):
        lead = probabilities[..., k] - np.delete(probabilities, k, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            axes.contour(lead, [0.0], colors="white", linewidths=1.2, extent=place["extent"], zorder=0)


def _histogram(axes: Any, values: np.ndarray, title: str, color: str) -> None:
    values = values.ravel().astype(np.float64)
    finite = values[np.isfinite(values)]
    zero = float(np.mean(values == 0))
    hidden = 0.05 < zero < 1  # relu's zeros would dwarf all else: a number says as much
    axes.hist(finite[finite != 0] if hidden else finite, bins=min(60, max(8, math.isqrt(len(finite)))), color=color)
    axes.locator_params(axis="x", nbins=6)
    said = [f"mean {finite.mean():.3g}", f"sd {finite.std():.3g}"] if len(finite) else []
    said += [f"{zero:.0%} zero{', not drawn' if hidden else ''}"] if zero >= 0.005 else []
    said += [f"{len(values) - len(finite)} not finite"] if len(finite) < len(values) else []
    axes.set_title(title, fontsize=11, color=INK)
    axes.set_ylabel("\n".join(said), fontsize=8, color=INK, rotation=0, ha="right", va="center")
    axes.set_yticks([])
    axes.tick_params(colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _curve(axes: Any, values: Sequence[float], color: str, line: str, label: str) -> None:
    # A single epoch is a point: a line alone would show nothing.
    marker = "o" if len(values) <= 40 else None
    axes.plot(
        range(1, len(values) + 1), values, line, color=color, label=label, marker=marker, markersize=4, linewidth=2
    )


def _logarithmic(axes: Any, ratio: float) -> None:
    """A logarithmic scale with plain numbers: 0.2, 0.5, 1, and only decades where they are many."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 300 else (1.0,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _dress(axes: Any, title: str, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(shown(title, 60), fontsize=12, color=INK, **PLAIN)
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
