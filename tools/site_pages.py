"""A hook of MkDocs: adds pages from outside of ``docs/`` to the site, and rewrites links that are written for GitHub.

Pages link to each other by their paths in the repository, as GitHub needs it. On the site, some pages have other paths
(`PAGES`), so links are rewritten when a page is read. ``mkdocs build --strict`` refuses a link that leads nowhere.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = {
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "ARCHITECTURE.md": "architecture.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "tests/testbed/README.md": "testbed.md",
}
"""Path in the repository: path in the site. ``docs/README.md`` is moved, as the home page is the project's README."""
_SOURCES: Final = {site: source for source, site in PAGES.items()}
_LINK: Final = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from outside of ``docs/`` to its files.

    Args:
        files: the files that MkDocs has found in ``docs/``.
        config: the configuration of the site.
    """
    from mkdocs.structure.files import File

    if (contents := files.get_file_from_path("README.md")) is not None:
        files.remove(contents)
    for source, site in PAGES.items():
        files.append(File.generated(config, site, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (MkDocs passes them by name)
    """Rewrite the links of a page for the site."""
    return rewritten(markdown, page.file.src_uri)


def rewritten(markdown: str, site: str) -> str:
    """Return a page with its links as the site needs them.

    Args:
        markdown: the page as it is in the repository.
        site: the path of the page in the site.
    """
    source = _SOURCES.get(site, f"docs/{site}")

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        if (ROOT / target).is_dir():  # GitHub shows the README of a folder
            target = f"{target}/README.md"
        there = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(there, posixpath.dirname(site) or '.')}{found[2] or ''})"

    return _LINK.sub(link, markdown)
