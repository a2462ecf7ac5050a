"""scikit-learn's own tests of its multi-layer perceptrons, run on ours."""

from pathlib import Path

import pytest

test_mlp = pytest.importorskip("sklearn.neural_network.tests.test_mlp", reason="scikit-learn without its tests")

# These look into scikit-learn's private methods and attributes.
PRIVATE = {"test_gradient", "test_learning_rate_warmstart", "test_adaptive_learning_rate"}
SLOW = {"test_warm_start", "test_lbfgs_classification", "test_lbfgs_regression", "test_multioutput_regression"}
THEIRS = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
OURS = "from fastbackprop.sklearn import MLPClassifier, MLPRegressor"

pytestmark = pytest.mark.filterwarnings("ignore:::fastbackprop")


def theirs() -> dict[str, object]:
    source = Path(test_mlp.__file__).read_text(encoding="utf-8")
    assert THEIRS in source, "scikit-learn's tests import other names now"
    names: dict[str, object] = {"__name__": __name__}
    exec(compile(source.replace(THEIRS, OURS), test_mlp.__file__, "exec"), names)
    found = {name: value for name, value in names.items() if name.startswith("test_") and name not in PRIVATE}
    return {name: pytest.mark.slow(value) if name in SLOW else value for name, value in found.items()}


globals().update(theirs())


@pytest.fixture
def global_random_seed() -> int:
    return 42
