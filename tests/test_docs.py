"""The pages: their Python runs as it stands there and prints what it says, and their links lead to something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fastbackprop
from fastbackprop import cli, datasets

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s:#]+)(#[^)\s]*)?\)")

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="needs docs: run from a clone")


def text(page):
    return page.read_text(encoding="utf-8")


def name(page):
    return page.relative_to(ROOT).as_posix()


def train_iris():
    """What docs/cli.md does before its Python."""
    datasets.load_frame("iris")[0].to_csv("iris.csv", index=False)
    train = re.search(r"\$ fastbackprop (train iris\.csv .*)", text(ROOT / "docs" / "cli.md"))
    with pytest.raises(SystemExit) as ended:
        cli.main(train[1].split())
    assert ended.value.code == 0


def is_as_written(printed, comment):
    """Whether a line is the comment after its ``print``; "0.97 or so" is any number near it."""
    if comment.endswith(" or so"):
        return float(printed) == pytest.approx(float(comment.removesuffix(" or so")), rel=0.03)
    return printed == comment


@pytest.mark.parametrize("page", [page for page in PAGES if PYTHON.search(text(page))], ids=name)
def test_the_python_of_a_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if page.name == "interop.md":
        for library in ("onnx", "torch", "keras", "jax"):
            pytest.importorskip(library)
    if page.name == "cli.md":
        train_iris()
    namespace = {"__name__": "__main__"}
    for block in PYTHON.finditer(text(page)):
        line = text(page)[: block.start(1)].count("\n")
        capsys.readouterr()
        exec(compile("\n" * line + block[1], str(page), "exec"), namespace)
        comments = re.findall(r"^ *print\(.*\)  # (.*)$", block[1], re.MULTILINE)
        printed = capsys.readouterr().out.splitlines()
        if comments:
            assert len(printed) == len(comments), printed
        for got, comment in zip(printed, comments):
            assert is_as_written(got, comment), f"{name(page)}, after line {line}: printed {got!r}, not {comment!r}"


def test_pages_with_python_are_found():
    assert {"README.md", "cli.md", "guide.md", "quickstart.md", "sklearn.md"} <= {
        page.name for page in PAGES if PYTHON.search(text(page))
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_pictures_exist(page):
    for target, anchor in LINK.findall(re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)):
        place = (page.parent / target).resolve()
        assert place.is_relative_to(ROOT), target
        assert place.exists(), target
        if anchor and place.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", text(place), re.MULTILINE)
            assert anchor[1:] in [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings], anchor


def test_every_public_name_is_on_a_page_of_the_API():
    described = set(re.findall(r"^::: fastbackprop\.(\w+)$", "".join(map(text, PAGES)), re.MULTILINE))
    modules = "datasets functional gradcheck interop paper persistence plotting reference schedules sklearn tables"
    assert described == {*fastbackprop.__all__, *modules.split()}


def test_every_drawing_is_shown():
    shown = {target.split("/")[-1] for page in PAGES for target, _ in LINK.findall(text(page))}
    assert {path.name for path in (ROOT / "docs" / "images").iterdir() if path.suffix != ".py"} <= shown


def test_the_two_commands():
    commands = re.findall(r"^    (python3 -m venv .*)$", text(ROOT / "README.md"), re.MULTILINE)
    assert [c.split("&&")[-1].strip() for c in commands] == [".venv/bin/fastbackprop train digits", ".venv/bin/pytest"]
