"""What mkdocs does for this site beside its configuration, `mkdocs.yml`.

* README.md, SECURITY.md, CONTRIBUTING.md and CHANGELOG.md are pages of it.
* A link to a file of the repository leads to a page that shows that file, at the function that the link's text names. So
  the same relative link works in the site and where the repository is browsed.
* Examples in docstrings are sections, also where they have no heading; of Sphinx's roles, as in :func:`report`, what they mark
  stays.
* A formula becomes MathML, which browsers set by themselves: no script and no font is fetched.
"""

from __future__ import annotations

import inspect
import posixpath
import re
from html import unescape
from pathlib import Path

import griffe
from latex2mathml.converter import convert
from mkdocs.structure.files import File

from fastbackprop.activations import ACTIVATIONS

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md", "SECURITY.md": "security.md", "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}  # fmt: skip
LINK = re.compile(
    r"(?<!!)\[(?P<text>[^\[\]]*)\]\((?P<target>[^)\s:#]+)(?P<anchor>#[^)\s]*)?\)|!\[[^\]]*\]\((?P<image>[^)\s:]+)\)"
)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files, config):
    """Add the pages that are no files of docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for page in [file for file in files if file.src_uri.endswith(".md")]:
        for link in LINK.finditer(page.content_string):
            name = _resolve(page.src_uri, link["target"] or "")
            if name.endswith(".py") and files.get_file_from_path(_source_page(name)) is None:
                code = (ROOT / name).read_text(encoding="utf-8")
                content = f'---\nsearch: {{ exclude: true }}\n---\n# {name}\n\n~~~~python linenums="1"\n{code}\n~~~~\n'
                files.append(File.generated(config, _source_page(name), content=content))
    return files


def on_page_markdown(markdown, page, **_):
    """Point the links to where the site has what they lead to."""
    if page.file.src_uri.startswith("source/"):
        return markdown

    def to_site(link):
        target = link["target"] or link["image"]
        name = _resolve(page.file.src_uri, target)
        anchor = link["anchor"] or ""
        if name.endswith(".py"):
            anchor = _definition(name, link["text"].strip("`").split(".")[-1])
            name = _source_page(name)
        place = PAGES.get(name, name.removeprefix("docs/"))
        here = posixpath.dirname(page.file.src_uri)
        written = target + (link["anchor"] or "")
        return link[0].replace(f"({written})", f"({posixpath.relpath(place, here or '.')}{anchor})")

    return LINK.sub(to_site, markdown)


def on_page_content(html, page, **_):
    """Set the formulas; and tell mkdocs, which checks the links, of anchors that it has not seen."""
    content = FORMULA.sub(_mathml, html)
    page.present_anchor_ids.update(re.findall(r'\bid="([^"]+)"', content))
    return content


class Docstrings(griffe.Extension):
    """What mkdocstrings reads of a docstring."""

    def on_module(self, *, mod, **_):
        """Show the functions that `functional` makes of the table of activations."""
        if mod.path == "fastbackprop.functional":
            Z = griffe.Parameter("Z", kind=griffe.ParameterKind.positional_or_keyword)
            for g in ACTIVATIONS.values():
                for name, derivative in ((g.name, False), (f"d_{g.name}", True)):
                    text = griffe.Docstring(inspect.cleandoc(g.help(derivative)).replace(":data:", ""))
                    function = griffe.Function(name, parameters=griffe.Parameters(Z), docstring=text)
                    mod.set_member(name, function)
                    text.parent = function

    def on_object(self, *, obj, **_):
        """Change the text that it will parse."""
        if obj.docstring:
            text = re.sub(r":(?:attr|class|func|meth|mod):(?=`)", "", obj.docstring.value)
            if "\nExamples\n---" not in text:
                text = re.sub(r"\n\n(?=>>> )", "\n\nExamples\n--------\n", text, count=1)
            obj.docstring.value = re.sub(r"(?<=\nParameters\n----------\n)(?:.+\n?)+", _one_by_one, text)


def _one_by_one(parameters: re.Match[str]) -> str:
    """Parameters that share an entry get one each: mkdocstrings shows the first's default for all of them."""
    entry = re.compile(r"^(\w+(?:, \w+)+)( : .*)?\n((?:    .*\n?)*)", re.MULTILINE)
    return entry.sub(
        lambda found: "".join(f"{name}{found[2] or ''}\n{found[3]}" for name in found[1].split(", ")),
        parameters[0] + "\n",
    )


def _resolve(page: str, target: str) -> str:
    """The file of the repository that a page's relative link leads to."""
    written = {site: name for name, site in PAGES.items()}.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(written), target))


def _source_page(name: str) -> str:
    return f"source/{name}.md"


def _definition(name: str, defined: str) -> str:
    """The anchor of the line of a source file that defines a name; none for the file itself."""
    pattern = re.compile(rf"\s*(?:(?:def|class) {re.escape(defined)}\b|{re.escape(defined)}(?:: .*)? = )")
    for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
        if pattern.match(line):
            return f"#__span-0-{number}"
    return ""


def _mathml(formula: re.Match[str]) -> str:
    latex = (
        unescape(formula[2]).strip().replace("'", "′")
    )  # as a superscript a prime is tiny in fonts that are not for maths
    number = re.search(r"\\tag\{(\w+)\}", latex)
    if number:
        latex = latex.replace(number[0], "")
    math = convert(latex, display="inline" if formula[1] == "span" else "block")
    math = re.sub(
        r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", math
    )  # the name of a function, without an operator's spaces
    return f'<div class="equation" id="eq-{number[1]}">{math}<span>({number[1]})</span></div>' if number else math
