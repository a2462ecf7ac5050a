"""The benchmark of the estimators: both libraries do the same work, and every figure that is printed is measured."""

import numpy as np
import pytest

from benchmarks import estimators


@pytest.mark.parametrize("data", ["iris", "diabetes"])
def test_scores_are_those_of_held_out_samples(capsys, data):
    found = estimators.scores([data], seeds=3, max_iter=20)[data]
    assert set(found) == {"scikit-learn", "fastbackprop"}
    for values in found.values():
        assert len(set(values)) > 1  # the seed decides
    # the same initial weights and splits: only the order of the samples differs
    assert np.abs(found["fastbackprop"] - found["scikit-learn"]).max() < 0.2
    assert f"| {data} | {estimators.mean_and_error(found['scikit-learn'])} |" in capsys.readouterr().out


def test_a_turn_of_either_library_measures_the_same():
    theirs, own = (estimators.turn(library, seed=0, max_iter=2) for library in estimators.MODULES)
    assert list(theirs) == list(own) == ["fit", "fit32", "epochs", "predict", "predict_proba"]
    assert theirs["epochs"] == own["epochs"] == 2
    assert min(*theirs.values(), *own.values()) > 0
