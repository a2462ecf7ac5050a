"""The pictures: what they show. How they look was looked at."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sklearn.metrics

import fastbackprop as fb
from fastbackprop import plotting


@pytest.fixture
def history():
    return fb.History(cost=[2.0, 0.5, 0.1], validation_cost=[1.9, 0.6, 0.2], validation_score=[0.3, 0.8, 0.9])


def test_curves_are_those_of_the_history(history):
    cost, score = plotting.learning_curves(history).axes
    training, held_out = cost.get_lines()
    assert list(training.get_ydata()) == history.cost
    assert list(held_out.get_ydata()) == history.validation_cost
    assert list(score.get_lines()[0].get_ydata()) == history.validation_score
    assert list(training.get_xdata()) == [1, 2, 3]
    assert cost.get_yscale() == "log"
    assert score.get_title() == "Accuracy: validation, last epoch 90.00%"


def test_curves_without_validation_and_of_another_score():
    (cost,) = plotting.learning_curves(fb.History(cost=[1.0])).axes
    assert len(cost.get_lines()) == 1
    other = fb.History(cost=[1.0], validation_cost=[1.0], validation_score=[-0.25], score_name="R²")
    assert plotting.learning_curves(other).axes[1].get_title() == "R²: validation, last epoch -0.25"
    with pytest.raises(ValueError, match="history must hold at least one epoch"):
        plotting.learning_curves(fb.History())


def test_curves_show_the_epoch_that_was_kept(history):
    history.best_epoch = 2
    figure = plotting.learning_curves(history)
    assert figure.axes[1].get_title() == "Accuracy: validation, epoch 2: 80.00%"
    assert [list(axes.get_lines()[-1].get_xdata()) for axes in figure.axes] == [[2, 2], [2, 2]]


def test_curves_in_axes_that_are_given(history):
    from matplotlib.figure import Figure

    figure = Figure()
    cost, score, other = figure.subplots(1, 3)
    assert history.plot(ax=cost) is figure
    assert list(cost.get_lines()[0].get_ydata()) == history.cost
    assert not score.get_lines()
    history.plot(ax=[other, score], held_out="later")
    assert list(score.get_lines()[0].get_ydata()) == history.validation_score
    assert score.get_title() == "Accuracy: later, last epoch 90.00%"
    assert len(figure.axes) == 3
    for wrong in (figure, [], [cost, score, other], [cost, 3], "ax"):
        with pytest.raises(TypeError, match="ax must be a matplotlib Axes or two of them"):
            history.plot(ax=wrong)
    with pytest.raises(ValueError, match="ax and figure exclude each other"):
        history.plot(ax=cost, figure=figure)


def test_wrong_predictions_come_first_and_are_marked():
    images, labels = np.zeros((30, 8, 8)), np.arange(30) % 10
    predictions = labels.copy()
    predictions[[20, 25]] = 3
    figure = plotting.digits_with_predictions(images, predictions, labels, count=10, columns=5)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["✗ 3, is 0", "✗ 3, is 5", "0", "1", "2", "3", "4", "5", "6", "7"]
    assert "30 images, 2 of them wrong" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("count", "names"), [(24, None), (2, ["malignant", "benign"]), (24, ["class number 0", "class number 1"])]
)
def test_texts_do_not_overlap_and_are_not_cut(history, names, count):
    images, predictions, labels = np.zeros((50, 8, 8)), np.arange(50) % 2, np.zeros(50, int)
    alone = plotting.digits_with_predictions(
        images[:count], 1 - labels[:count], labels[:count], class_names=names, count=count
    )
    for figure in (alone, plotting.training_summary(history, images, predictions, labels, class_names=names)):
        figure.draw_without_rendering()
        boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
        boxes += [text.get_window_extent() for part in (figure, *figure.subfigs) for text in part.texts]
        assert len(boxes) > count
        for k, box in enumerate(boxes):
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.width
            assert box.count_overlaps(boxes[:k]) == 0


@pytest.mark.parametrize(("shape", "predictions"), [((3, 64), [1, 2, 3]), ((3, 8, 8), [1, 2]), ((0, 8, 8), [])])
def test_bad_images(shape, predictions):
    with pytest.raises(ValueError, match="images must be"):
        plotting.digits_with_predictions(np.zeros(shape), predictions, predictions)


def test_the_summary_is_a_picture(history, tmp_path):
    images = np.random.default_rng(0).random((40, 8, 8))
    figure = plotting.training_summary(history, images, np.arange(40) % 10, np.arange(40) % 9, title="digits")
    path = tmp_path / "summary.png"
    figure.savefig(path)
    from matplotlib.image import imread

    pixels = imread(path)
    assert pixels.shape[0] > 300
    assert pixels.std() > 0.05


@pytest.mark.parametrize("labels", [None, ["no", "perhaps", "yes", "never"]])
def test_a_confusion_matrix_is_that_of_scikit_learn(labels):
    rng = np.random.default_rng(0)
    y, predicted = rng.choice(["no", "perhaps", "yes"], (2, 200))
    figure = plotting.confusion_matrix(y, predicted, labels)
    (axes,) = figure.axes
    shown = np.zeros((len(labels or "abc"),) * 2, int)
    for text in axes.texts:
        column, row = (int(v) for v in text.get_position())
        shown[row, column] = int(text.get_text())
    np.testing.assert_array_equal(shown, sklearn.metrics.confusion_matrix(y, predicted, labels=labels))
    assert [t.get_text() for t in axes.get_yticklabels()] == (labels or ["no", "perhaps", "yes"])
    assert axes.get_title().startswith(f"Accuracy {sklearn.metrics.accuracy_score(y, predicted):.2%}")


def inside(figure):
    """Whether all that is drawn lies within the picture."""
    figure.draw_without_rendering()
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    return min(box.min) > -0.01 and all(box.max < size + 0.01) and box.width > 0.8 * size[0]


@pytest.mark.parametrize("classes", [2, 30, pytest.param(120, marks=pytest.mark.slow)])
def test_names_of_classes_are_in_the_picture(history, classes):
    names = [f"a class with a rather long name, number {k}" for k in range(classes)]
    y = np.array(names)[np.random.default_rng(0).integers(0, classes, (2, 500))]
    assert inside(plotting.confusion_matrix(*y, names))
    figure = plotting.table_summary(history, *y, labels=names, title="a table")
    assert inside(figure)
    shown = [t.get_text() for t in figure.axes[-1].get_yticklabels()]
    assert len(set(shown)) == len(shown)  # told apart though they are cut
    for labels in (figure.axes[-1].get_xticklabels(), figure.axes[-1].get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert not any(box.overlaps(after) for box, after in zip(boxes, boxes[1:]))


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_predicted_and_true_values(history, scale):
    rng = np.random.default_rng(0)
    y = scale * rng.normal(size=(50, 3))
    predicted = y + 0.1 * scale * rng.normal(size=y.shape)
    figure = plotting.table_summary(history, y, predicted, names=["u", "v", "w"])
    assert inside(figure)
    for axes, name, k in zip(figure.axes[2:], "uvw", range(3)):
        points = axes.collections[0].get_offsets()
        np.testing.assert_allclose(points, np.column_stack([y[:, k], predicted[:, k]]))
        assert axes.get_title() == f"{name}: R² {sklearn.metrics.r2_score(y[:, k], predicted[:, k]):.3f}"
        assert axes.get_xlim() == axes.get_ylim()
    assert plotting.predicted_and_true([1.0], [2.0]).axes[0].get_title() == "a single true value"


def test_histograms_hold_every_weight_and_activation():
    net = fb.Network((3, 40, 5), "tanh", seed=0)
    X = np.random.default_rng(0).normal(size=(70, 3))
    figure = plotting.histograms(net, X)
    counts = [sum(patch.get_height() for patch in axes.patches) for axes in figure.axes]
    assert counts == [120, 70 * 40, 200, 70 * 5]
    assert len(plotting.histograms(net).axes) == 2
    assert inside(figure)
    hidden = net.trace(X, np.zeros(70, int)).A[1]
    low = figure.axes[1].patches[0].get_x()
    assert low == pytest.approx(hidden.min(), abs=1e-6)
    # zeros of relu are a number, not a bar
    dead = plotting.histograms(fb.Network((3, 40, 5), seed=0), X).axes[1]
    assert "zero, not drawn" in dead.get_ylabel()


def test_the_boundary_is_where_the_network_changes_its_mind():
    net = fb.Network((2, 2), seed=0)
    net.params[:] = [-1, 0, 1, 0, 0, 0]  # class 1 where x[0] > 0
    X = np.array([[-1.0, -1.0], [1.0, 1.0], [0.5, -1.0]])
    axes = plotting.decision_boundary(net, X, [0, 1, 1], feature_names=("width", "height")).axes[0]
    picture = axes.images[0].get_array()
    blue, red = picture[..., 2] > picture[..., 0], picture[..., 0] > picture[..., 2]
    assert blue[:, :149].all()
    assert red[:, 151:].all()
    assert axes.get_xlabel() == "width"
    assert [len(c.get_offsets()) for c in axes.collections if len(c.get_offsets())][-2:] == [1, 2]


@pytest.mark.parametrize(("outputs", "output"), [(1, "sigmoid"), (1, "identity"), (25, "softmax")])
def test_boundaries_of_every_head(outputs, output):
    net, X = fb.Network((2, 8, outputs), output=output, seed=0), np.random.default_rng(0).normal(size=(60, 2))
    y = np.arange(60) % outputs if outputs > 1 else X[:, 0] if output == "identity" else (X[:, 0] > 0).astype(int)
    assert inside(plotting.decision_boundary(net, X, y))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plotting.confusion_matrix([0], [0, 1]), "y and predicted must be"),
        (lambda: plotting.confusion_matrix([], []), "N at least 1"),
        (lambda: plotting.confusion_matrix([0, 2], [0, 1], [0, 1]), "labels must hold every label, got 2"),
        (lambda: plotting.predicted_and_true([1.0], [[1.0, 2.0]]), "y and predicted must be"),
        (lambda: plotting.predicted_and_true([1.0], [1.0], ["a", "b"]), "one column a name"),
        (lambda: plotting.decision_boundary(fb.Network((3, 2)), np.eye(3), [0, 1, 0]), "two inputs"),
        (lambda: plotting.decision_boundary(fb.Network((2, 2)), np.eye(2), [0]), r"X must be .N, 2. and y .N,"),
        (lambda: plotting.decision_boundary(fb.Network((2, 2), output="identity"), np.eye(2), [0, 1]), "one output"),
        (lambda: plotting.histograms(fb.Network((2, 2)), np.zeros((0, 2))), "at least one sample"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_notebook_shows_a_picture_that_pyplot_does_not_know(history):
    """IPython asks an object for `_repr_png_`."""
    import matplotlib.image

    figure = history.plot()
    width, height = figure.get_size_inches() * figure.dpi
    image = matplotlib.image.imread(io.BytesIO(figure._repr_png_()))
    assert image.shape[:2] == (height, width)
    assert image[..., :3].std() > 0.05
