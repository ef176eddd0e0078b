"""Hooks of mkdocs: links out of docs/ lead to the repository, and pages render as on GitHub.

mkdocs.yml names this file. A warning ends the build.
"""

import logging
import posixpath
import re
from collections import Counter
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

LOG = logging.getLogger("mkdocs.hooks.site")
GITHUB = MarkdownIt("commonmark", {"html": False}).enable("table")
LINK = re.compile(r"(?<=\]\()\.\.?/[^)\s]*(?=\))")
LISTS = {"ul", "ol"}
COMPARED = {"h1", "h2", "h3", "h4", "li", "tr", "th", "td", "pre", "code", "strong", "em", "img"}


class Elements(HTMLParser):
    """Counts the elements that both renderings must have; those in a list by its depth."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._depth = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._depth += tag in LISTS
        if tag in COMPARED:
            self.counts[f"{tag} in {self._depth} lists"] += 1

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag in LISTS


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace links to files outside docs/ by their addresses in the repository."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def address(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[0]))
        return (
            link[0]
            if target.startswith("docs/")
            else f"{config.extra['repository']}/blob/main/{target}"
        )

    return LINK.sub(address, markdown)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Warn if the page has other elements here than on GitHub."""
    here, there = Elements(html).counts, Elements(GITHUB.render(page.markdown or "")).counts
    if different := {e: (here[e], there[e]) for e in here | there if here[e] != there[e]}:
        LOG.warning("%s: elements (here, on GitHub): %s", page.file.src_uri, different)
    return html
