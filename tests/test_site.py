"""The site builds without a warning, every link inside it resolves, and what is generated for it is current."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag

import pytest

import pointsman

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ADAPTERS = (
    "langchain_pointsman",
    "llama_index.llms.pointsman",
    "llama_index.retrievers.pointsman",
    "llama_index.postprocessor.pointsman",
)

needs_mkdocs = pytest.mark.skipif(
    any(find_spec(package) is None for package in ("mkdocs", "material", "mkdocstrings")), reason="needs MkDocs"
)


class Page(HTMLParser):
    """What one page links to, what can be linked to in it, and what it says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_data(self, data: str) -> None:
        """Note the text, without markup."""
        self.text += data

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links of all kinds, and ids."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name == "id" and value:
                self.anchors.add(value)


def build(configuration: Path, site: Path) -> str:
    """Build strictly; what was printed, which mentions a warning if there was one."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--config-file", str(configuration), "--site-dir", str(site)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"WARNING: ended with {done.returncode}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The site, and what building it printed."""
    site = tmp_path_factory.mktemp("site")
    return site, build(ROOT / "mkdocs.yml", site)


def broken_links(site: Path) -> Iterator[str]:
    """Every link inside the site that leads to no file, or to no such place in it."""
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        if path.name == "404.html":  # its links are absolute, for it is shown at any address
            continue
        for link in page.links:
            if re.match(r"\w+:|//", link):
                continue
            address, anchor = urldefrag(unquote(link))
            target = (path.parent / address).resolve() if address else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                yield f"{path.relative_to(site)}: {link}"


def described(package: str) -> Iterator[tuple[str, str]]:
    """What a package promises, and the public methods of its classes, with their docstrings."""
    module = import_module(package)
    for name in module.__all__:
        promised = getattr(module, name)
        yield name, promised.__doc__ or ""
        for member, value in vars(promised).items() if inspect.isclass(promised) else ():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if inspect.isfunction(function) and not member.startswith("_") and "pointsman" in function.__module__:
                yield f"{name}.{member}", function.__doc__ or ""


def words(text: str) -> str:
    """A text without its markup and line breaks."""
    return " ".join(re.findall(r"\w+", text))


def not_shown(pages: Iterator[Page]) -> set[str]:
    """The lines of docstrings that stand on none of the pages, apart from names that are typeset otherwise."""
    shown = words(" ".join(page.text for page in pages))
    missing = set()
    for package in ("pointsman", *ADAPTERS):
        for name, docstring in described(package):
            for line in inspect.cleandoc(docstring).splitlines():
                entry = re.sub(r"^ +[\w., ]+: ", "", line)  # an argument or an error, and what is said of it
                if not re.match(r"\w+:$|```", line) and words(entry) not in shown:
                    missing.add(f"{name}: {line.strip()}")
    return missing


def loaded(name: str) -> ModuleType:
    """One of the programs in docs/."""
    spec = spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_mkdocs
def test_the_site_builds_without_a_warning(built: tuple[Path, str]) -> None:
    """Strictly: MkDocs' own warnings about links, anchors and pages that nothing leads to fail it too."""
    assert "WARNING" not in built[1], built[1]
    assert (built[0] / "index.html").is_file()


@needs_mkdocs
def test_every_link_inside_the_site_resolves(built: tuple[Path, str]) -> None:
    """Files, pages and anchors, in what was built, the parts from docstrings and benchmarks included."""
    assert sum(1 for _ in built[0].rglob("*.html")) > 40
    assert list(broken_links(built[0])) == []


@needs_mkdocs
def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """To a file, to an anchor on another page, to one on the same."""
    (tmp_path / "a.html").write_text('<a href="b.html">B</a> <a href="c.html">C</a> <a href="#here">here</a>')
    (tmp_path / "b.html").write_text('<a href="a.html#there">A</a> <p id="x"><a href="#x">x</a></p>')
    assert set(broken_links(tmp_path)) == {"a.html: c.html", "a.html: #here", "b.html: a.html#there"}


@needs_mkdocs
def test_a_warning_fails_the_build(tmp_path: Path) -> None:
    """The configuration is strict: a link to nowhere is told."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("[nowhere](nowhere.md)\n")
    strict = re.search(r"^strict: true$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert strict is not None
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\n{strict[0]}\n")
    assert "nowhere.md" in build(tmp_path / "mkdocs.yml", tmp_path / "site")


@needs_mkdocs
def test_the_site_loads_nothing_from_elsewhere(built: tuple[Path, str]) -> None:
    """No fonts, scripts, styles or images of other hosts."""
    loading = re.compile(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*\"")
    found = {path.name: loading.findall(path.read_text("utf-8")) for path in built[0].rglob("*.html")}
    assert {name: tags for name, tags in found.items() if tags} == {}


@needs_mkdocs
def test_every_promised_name_is_in_the_reference(built: tuple[Path, str]) -> None:
    """From its docstring, at the anchor that other pages may link to."""
    pages = [Page(path.read_text("utf-8")) for path in (built[0] / "reference").glob("*.html")]
    anchors = {anchor for page in pages for anchor in page.anchors}
    assert {f"pointsman.{name}" for name in pointsman.__all__} <= anchors
    for package in ADAPTERS:
        promised = {f"{package}.{name}" for name in import_module(package).__all__}
        assert promised and promised <= anchors


@needs_mkdocs
def test_every_line_of_a_docstring_is_in_the_reference(built: tuple[Path, str]) -> None:
    """A section that the parser doesn't understand is dropped without a word."""
    pages = (Page(path.read_text("utf-8")) for path in (built[0] / "reference").glob("*.html"))
    assert not_shown(pages) == set()


@needs_mkdocs
def test_a_line_that_was_dropped_is_found(built: tuple[Path, str]) -> None:
    """Here those that stand on another page of the reference than the one that is read."""
    pages = (Page(path.read_text("utf-8")) for path in [built[0] / "reference" / "client.html"])
    missing = not_shown(pages)
    assert any(line.startswith("Router.decide: ") for line in missing)
    assert not any(line.startswith("Client.converse: ") for line in missing)


def test_the_help_of_the_commands_is_the_one_that_is_shown() -> None:
    """docs/cli.md is what `python docs/_generate_cli.py` would write now."""
    assert (DOCS / "cli.md").read_text("utf-8") == loaded("_generate_cli").page()


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    """The program that draws the figures."""
    return loaded("_figures")


@pytest.mark.parametrize("name", ["routing", "placing", "documents", "turns"])
def test_a_figure_shows_what_the_benchmarks_say(figures: ModuleType, name: str) -> None:
    """Its numbers, which it bears as its description, are those of the tables as they stand."""
    assert name in figures.FIGURES_OF
    svg = (DOCS / "figures" / f"{name}.svg").read_text("utf-8")
    described = re.search(r"<dc:description>(.*?)</dc:description>", svg, re.DOTALL)
    read: Callable[[], dict[str, dict[str, float]]] = figures.FIGURES_OF[name][0]
    shown = read()
    assert described is not None and json.loads(described[1]) == shown
    assert all(len(heights) >= 2 for heights in shown.values())


def test_every_figure_is_shown_and_checked(figures: ModuleType) -> None:
    """None is drawn for nothing, and none is shown that nobody draws."""
    pages = "".join(path.read_text("utf-8") for path in DOCS.rglob("*.md"))
    drawn = {f"{name}.svg" for name in figures.FIGURES_OF}
    assert drawn == {path.name for path in (DOCS / "figures").iterdir()}
    assert drawn == set(re.findall(r"figures/(\w+\.svg)", pages))


def test_a_figure_can_be_read_on_light_and_dark(figures: ModuleType) -> None:
    """Text stays text, and has the colour of the file's own style sheet, which knows both."""
    svg = figures.draw("routing")
    assert "prefers-color-scheme: dark" in svg
    texts = re.findall(r"<text style=\"([^\"]*)\"", svg)
    assert texts and all("fill: var(--ink)" in style for style in texts)
    assert not re.search(r"#(?:0[0-9]){3}|#fdfcfb|#808182", svg)
