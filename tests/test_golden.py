"""The bits of fixed trainings are those of the file, on any number of threads; test_bits.py forces other widths."""

from __future__ import annotations

import json

import pytest

from benchmarks import golden
from benchmarks.golden.__main__ import main


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_bits_are_those_of_the_file(threads):
    """Where a change of the bits is meant: ``python -m benchmarks.golden --write``, and a line in CHANGELOG.md."""
    assert golden.differences(threads) == []


def test_every_training_is_another():
    assert len(set(golden.kept().values())) == 2 * len(golden.TRAININGS)


def test_a_difference_is_named_and_can_be_written(tmp_path, monkeypatch, capsys):
    spoilt = golden.kept() | {"adam, float32": "0", "no such training": "0"}
    del spoilt["dropout, float64"]
    monkeypatch.setattr(golden, "FILE", tmp_path / "digests.json")
    golden.FILE.write_text(json.dumps(spoilt))
    assert main([]) == 1
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "differs: adam, float32", "differs: dropout, float64", "differs: no such training",
    ]  # fmt: skip
    assert main(["--write"]) == 0
    assert main([]) == 0
