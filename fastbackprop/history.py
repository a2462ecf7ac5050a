"""What a training recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """What ``fit`` recorded, one entry an epoch.

    Attributes
    ----------
    cost : list of float
        Mean over the samples of the loss, each taken just before its batch's step, with the penalties (l1, l2).
    learning_rate : list of float
        Of the epoch's last step.
    validation_cost, validation_score : list of float
        After the epoch, where there were validation data.
    score_name : str
        What the score is: "accuracy", or "R²" for identity and exp outputs, of several targets the mean of theirs.
    best_epoch : int or None
        With early stopping: the epoch, from 1, whose parameters the network has.
    stopped : str
        Why the training ended before its last epoch; empty otherwise.
    steps : int
        Steps of the optimizer.
    seconds : float
        Of wall time, validation and compilation included.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbackprop as fb
    >>> history = fb.Network((2, 3), seed=0).fit(np.ones((9, 2)), [0, 1, 2] * 3, epochs=5)
    >>> len(history.cost), history.steps
    (5, 5)
    >>> History(cost=[2.0, 0.5], validation_cost=[1.9, 0.6], validation_score=[0.3, 0.825], best_epoch=2)
    History(2 epochs, cost 0.5, validation cost 0.6, validation accuracy 0.825, best epoch 2)
    """

    cost: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    score_name: str = "accuracy"
    best_epoch: int | None = None
    stopped: str = ""
    steps: int = 0
    seconds: float = 0.0

    def __repr__(self) -> str:
        epochs = len(self.cost)
        named = (
            ("cost", self.cost),
            ("validation cost", self.validation_cost),
            (f"validation {self.score_name}", self.validation_score),
        )
        parts = [
            f"{epochs} epoch{'s' * (epochs != 1)}",
            *(f"{name} {values[-1]:.4g}" for name, values in named if values),
        ]
        if self.best_epoch is not None:
            parts.append(f"best epoch {self.best_epoch}")
        return f"History({', '.join(parts)})"

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a row an epoch, indexed by its number from 1 (needs pandas: the extra ``cli``).

        Examples
        --------
        >>> History(cost=[2.0, 1.0], learning_rate=[0.1, 0.1]).to_pandas().cost.tolist()
        [2.0, 1.0]
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("History.to_pandas needs pandas: pip install 'fastbackprop[cli]'") from None
        columns = {
            name: values
            for name in ("cost", "learning_rate", "validation_cost", "validation_score")
            if (values := getattr(self, name))
        }
        return pandas.DataFrame(columns, index=pandas.RangeIndex(1, len(self.cost) + 1, name="epoch"))

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """The learning curves, a matplotlib Figure (needs the extra ``plot``).

        Parameters
        ----------
        ax : matplotlib Axes, or two of them, optional
            To draw into, instead of a new Figure: the cost into the first, the validation score into the second.
        options
            Those of :func:`fastbackprop.plotting.learning_curves`.

        Examples
        --------
        >>> figure = History(cost=[2.0, 1.0, 0.5]).plot()
        >>> figure.axes[0].get_title()
        'Cost'
        """
        from fastbackprop.plotting import learning_curves

        return learning_curves(self, ax=ax, **options)
