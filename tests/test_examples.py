"""The scripts in examples/: each runs as a user runs it, and keeps what its text promises."""

from __future__ import annotations

import re
import runpy
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "examples").exists(), reason="needs examples: run from a clone")


@pytest.fixture
def output_of(tmp_path, monkeypatch, capsys):
    """What a script prints, started in a directory that is not the clone's."""

    def run(example):
        monkeypatch.chdir(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")
        out, err = capsys.readouterr()
        assert not err
        assert not list(tmp_path.iterdir())
        return out

    return run


def number(pattern, text):
    return float(re.search(pattern, text)[1])


def test_digits(output_of):
    text = output_of("digits.py")
    assert number(r"test accuracy ([\d.]+)%", text) > 96.5
    epochs, best = number(r"trained for (\d+) epochs", text), number(r"parameters of epoch (\d+)", text)
    assert best == epochs - 10 < 290
    assert len(re.findall(r"^  a \d taken for a \d, with probability [01]\.\d\d$", text, re.MULTILINE)) == 5


def test_diabetes(output_of):
    text = output_of("diabetes.py")
    mean, linear, alone, restrained = (
        number(rf"  {name} +([\d.]+)", text)
        for name in ("always the mean", "linear model", "network, left alone", "network, restrained")
    )
    assert restrained < linear + 1 < alone < mean  # it learns by heart if nothing holds it back


def test_matrix_exponential(output_of):
    text = output_of("matrix_exponential.py")
    assert number(r"relative error (\S+)", text) < 5e-3
    assert number(r"largest error of an entry ([^;]+)", text) < 0.1
    assert number(r"holds to (\S+)", text) < 5e-3
    assert number(r"from the identity by at most (\S+)", text) < 0.03


def test_every_example_is_tested():
    tested = {name.removeprefix("test_") + ".py" for name in globals() if name.startswith("test_")}
    assert {path.name for path in (ROOT / "examples").glob("*.py")} <= tested
