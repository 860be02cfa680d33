"""What the site shows besides docs/: benchmarks, examples, changelog. MkDocs calls the functions that begin with `on_`.

Pages link to each other by their places in the repository, so that the links hold on GitHub too; here they are
rewritten to places in the site. Knows where things stand; knows nothing of what they say.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = ["CHANGELOG.md", "CONTRIBUTING.md", *(f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.md"))]
ASSETS = ["LICENSE", *(f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.svg"))]
# A folder of programs becomes one page, with a heading for each program.
FOLDERS = {
    "examples/langchain": "Examples for LangChain",
    "examples/llama_index": "Examples for LlamaIndex",
    "recipes": "Recipes for other frameworks",
}
HOME = "docs/"
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r'(?<=class="doc doc-object-name doc-class-name">)[\w.]+(?=<)')
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what stands outside docs/."""
    for name in (*PAGES, *ASSETS):
        files.append(File.generated(config, name, content=(ROOT / name).read_text("utf-8")))
    for folder, title in FOLDERS.items():
        files.append(File.generated(config, f"{folder}.md", content=programs(ROOT / folder, title)))
    files.append(File.generated(config, "training.md", content=(ROOT / "training/README.md").read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Rewrite the links that leave the page's own folder tree; what fences hold stays."""
    source = page.file.src_uri
    pieces, end = [], 0
    for fence in _FENCE.finditer(markdown):
        pieces += [_relink(markdown[end : fence.start()], source), fence[0]]
        end = fence.end()
    return "".join((*pieces, _relink(markdown[end:], source)))


def on_page_content(html: str, **_: object) -> str:
    """Let the long names that head the reference break at their dots."""
    return _NAME.sub(lambda name: name[0].replace(".", ".<wbr>"), html)


def programs(folder: Path, title: str) -> str:
    """A page that shows each Python file of a folder."""
    shown = [f"# {title}\n"]
    for path in sorted(folder.glob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        shown.append(f"## {name} {{ #{_anchor(path.name)} }}\n\n````python\n{path.read_text('utf-8')}````\n")
    return "\n".join(shown)


def site_path(repository_path: str) -> tuple[str, str]:
    """Where a file of the repository stands in the site, and at which anchor of that page."""
    if repository_path.startswith(HOME):
        return repository_path.removeprefix(HOME), ""
    if repository_path in FOLDERS:
        return f"{repository_path}.md", ""
    folder, _, name = repository_path.rpartition("/")
    if folder in FOLDERS and name.endswith(".py"):
        return f"{folder}.md", f"#{_anchor(name)}"
    return {"training/README.md": "training.md", "README.md": "index.md"}.get(repository_path, repository_path), ""


def repository_path(site_path: str) -> str:
    """Where the source of a page of the site stands in the repository."""
    if site_path == "training.md":
        return "training/README.md"
    return site_path if site_path in PAGES else HOME + site_path


def _relink(markdown: str, source: str) -> str:
    here = repository_path(source)

    def relinked(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[1]))
        path, anchor = site_path(target)
        return os.path.relpath(path, posixpath.dirname(source) or ".") + (link[2] or anchor)

    return _LINK.sub(relinked, markdown)


def _anchor(name: str) -> str:
    return name.replace(".", "-").replace("_", "-")
