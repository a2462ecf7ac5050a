"""docs/derivation.md: every equation is there, and every function and test that it names exists."""

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tests import test_mutations

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "derivation.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="needs docs: run from a clone or the source distribution")


def test_every_equation_is_derived_and_has_a_function_and_a_test():
    page = PAGE.read_text(encoding="utf-8")
    assert [int(n) for n in re.findall(r"\\tag\{(\d+)\}", page) if int(n) > 2] == list(range(3, 41))
    tabled = set()
    for cell in re.findall(r"^\| ((?:\(|Theorem|Lemma|Code)[^|]*) \|", page, re.MULTILINE):
        tabled |= {int(n) for n in re.findall(r"\((\d+)\)", cell)}
        for first, last in re.findall(r"\((\d+)\)-\((\d+)\)", cell):
            tabled |= set(range(int(first), int(last) + 1))
        tabled |= set(re.findall(r"(?:Theorem|Lemma) [\d.]+", cell))
    assert tabled == {*range(1, 41), "Lemma 3.1", "Theorem 5.1", "Theorem 5.4", "Theorem 6.1"}


def test_what_the_page_names_exists():
    page = PAGE.read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page):
        assert f"def {name}(" in tests, name
    for name in re.findall(r"`((?:reference|paper|functional|engine\.\w+|Network)\.\w+(?:\.\w+)?)`", page):
        resolve_name(f"fastbackprop.{name}")


def test_the_number_of_planted_errors():
    count = len(test_mutations.ENGINE) + len(test_mutations.IN_PROCESS)
    assert f"plants {count} errors" in PAGE.read_text(encoding="utf-8")


def test_functions_and_tests_are_linked_to_the_file_that_defines_them():
    page = PAGE.read_text(encoding="utf-8")
    tables = "\n".join(re.findall(r"^\| (?:\(|Theorem|Lemma|Code).*$", page, re.MULTILINE))
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)", tables)
    assert len(links) > 100
    assert not re.findall(r"(?<!\[)`(?:test_|reference\.|functional\.|paper\.|engine\.|Network\.)\w+", tables)
    for name, file in links:
        last = name.split(".")[-1]
        if last != Path(file).stem:
            source = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^\s*(?:(?:def|class) {last}\b|{last}(?:: .*)? = )", source, re.MULTILINE), name
