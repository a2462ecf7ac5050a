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


@pytest.mark.slow
def test_a_turn_of_either_library_measures_the_same():
    theirs, own = (estimators.turn(lib, seed=0, inputs=[*estimators.INPUTS], max_iter=2) for lib in estimators.MODULES)
    assert set(estimators.INPUTS) == {"float64", "float32", "Fortran", "frame", "CSR"}
    figures = [f"{figure}, {form}" for form in estimators.INPUTS for figure in ("fit", "epochs")]
    assert list(theirs) == list(own) == [*figures, "predict", "predict_proba"]
    assert all(theirs[name] == own[name] == 2 for name in figures if name.startswith("epochs"))
    assert min(*theirs.values(), *own.values()) > 0


def test_the_forms_of_X_are_the_same_numbers():
    X = np.arange(12.0).reshape(4, 3)
    made = {form: make(X) for form, make in estimators.INPUTS.items()}
    for form, given in made.items():
        np.testing.assert_array_equal(given.toarray() if form == "CSR" else np.asarray(given), X)
    assert made["float32"].dtype == np.float32
    assert {made[form].dtype.name for form in ("float64", "Fortran", "CSR")} == {"float64"}
    assert made["Fortran"].flags.f_contiguous
    assert made["frame"].dtypes.eq(np.float64).all()


def test_the_table_has_a_row_for_each_form_that_is_asked_for(capsys, monkeypatch):
    def times(rounds, inputs):
        keys = [f"{figure}, {form}" for form in inputs for figure in ("fit", "epochs")]
        return {lib: dict.fromkeys([*keys, "predict"], value) for lib, value in zip(estimators.MODULES, (3.0, 0.75))}

    monkeypatch.setattr(estimators, "times", times)
    assert estimators.main(["--data", "--inputs", "CSR", "frame"]) == 0
    out = capsys.readouterr().out
    for row in ("fit, CSR | 3 s | 0.75 s", "fit, frame | 3 s | 0.75 s", "predict | 3e+06 us | 7.5e+05 us"):
        assert f"| {row} | 4.0x |" in out
    assert "Epochs: CSR 3 and 1; frame 3 and 1." in out
