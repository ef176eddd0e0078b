"""The pages of the documentation as blocks and tokens."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.helpers import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Block(NamedTuple):
    """A fenced block, with the line where its text starts, its language and the comment before it.

    The command of a comment `<!-- run: COMMAND -->` is a block with the language "run".
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def file(self) -> str:
        """Name under which the reader saves the block; "" if it is not a file."""
        return self.mark.removeprefix("file: ") if self.mark.startswith("file: ") else ""

    @property
    def is_run(self) -> bool:
        """Whether tests/docs/test_commands.py runs the block."""
        return not self.mark.startswith(("not run: ", "run by "))


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def place(block: Block) -> str:
    return f"{name(block.page)}:{block.line}"


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


@cache
def blocks(page: Path) -> list[Block]:
    found, mark = [], ""
    for token in tokens(page):
        if token.type == "fence":
            language = token.info.split(" ")[0]
            found.append(Block(page, token.map[0] + 2, language, token.content, mark))
        comment = re.fullmatch(r"<!--\s*(.*?)\s*-->\s*", token.content)
        mark = comment[1] if comment and token.type == "html_block" else ""
        if mark.startswith("run: "):
            found.append(Block(page, token.map[0] + 1, "run", mark.removeprefix("run: "), ""))
    return found


def of(*languages: str) -> list[Block]:
    """The blocks of all pages that have one of the languages."""
    return [block for page in PAGES for block in blocks(page) if block.language in languages]
