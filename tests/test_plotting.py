"""The pictures: what they show. How they look was looked at."""

from __future__ import annotations

import numpy as np
import pytest

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
    other = fb.History(cost=[1.0], validation_cost=[1.0], validation_score=[-0.25])
    assert plotting.learning_curves(other, score_name="R²").axes[1].get_title() == "R²: validation, last epoch -0.25"
    with pytest.raises(ValueError, match="history must hold at least one epoch"):
        plotting.learning_curves(fb.History())


def test_wrong_predictions_come_first_and_are_marked():
    images, labels = np.zeros((30, 8, 8)), np.arange(30) % 10
    predictions = labels.copy()
    predictions[[20, 25]] = 3
    figure = plotting.digits_with_predictions(images, predictions, labels, count=10, columns=5)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["✗ 3, is 0", "✗ 3, is 5", "0", "1", "2", "3", "4", "5", "6", "7"]
    assert "30 images, 2 of them wrong" in figure.get_suptitle()


@pytest.mark.parametrize("names", [None, ["malignant", "benign"], ["class number 0", "class number 1"]])
@pytest.mark.parametrize("count", [2, 24])
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
