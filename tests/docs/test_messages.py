"""docs/troubleshooting.md quotes what the code can say, and leaves out no error that keeps a gate from deciding."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.helpers.docs_pages import ROOT, blocks, tokens

PAGE = ROOT / "docs" / "troubleshooting.md"
COLUMNS = ("message", "note", "the message ends with")
"""Headings over messages in tables."""
LEAST_LETTERS = 8
"""Of a piece of text that is looked for."""
SHARE = 0.5
"""Of a message's letters that must be the code's; the rest are names and numbers."""
ERRORS = {"CannotDecide", "AdapterError", "CannotRun", "Skip"}
FINDINGS = {"finding", "broken", "Fatal", "fatal"}


@cache
def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "sway_gate").rglob("*.py"))]


def pieces(node: ast.AST) -> tuple[str, ...]:
    """A text in the code as its fixed pieces, between which values stand."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return (node.value,)
    if isinstance(node, ast.JoinedStr):
        text = "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
        return tuple(text.split("\0"))
    return ()


def letters(text: str) -> int:
    return sum(map(str.isalpha, text))


@cache
def docstrings() -> set[int]:
    return {id(node.value) for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Expr)}


@cache
def templates() -> list[tuple[str, ...]]:
    found = {pieces(node) for tree in trees() for node in ast.walk(tree) if id(node) not in docstrings()}
    action = (ROOT / "action.yml").read_text(encoding="utf-8")
    found |= {(text,) for text in re.findall(r'title=sway-gate::([^"]+)"', action)}
    return [template for template in found if sum(map(letters, template)) >= LEAST_LETTERS]


def found_in(message: str, template: tuple[str, ...]) -> re.Match[str] | None:
    """The pieces, each a group, in `message` in their order."""
    if not all(piece in message for piece in template):
        return None
    return re.search(".*?".join(f"({re.escape(piece)})" for piece in template), message)


def share(message: str) -> float:
    """How much of a message's letters the code has, in texts of which all pieces are there in order."""
    known = [False] * len(message)
    for template in templates():
        if found := found_in(message, template):
            for group in range(1, len(template) + 1):
                start, end = found.span(group)
                known[start:end] = [True] * (end - start)
    return sum(k for k, ch in zip(known, message, strict=True) if ch.isalpha()) / max(letters(message), 1)


@cache
def quoted() -> list[str]:
    """The messages on the page, in blocks and in tables."""
    lines = [line for block in blocks(PAGE) if block.language == "text" for line in block.text.splitlines()]
    return [line.removeprefix("error: ") for line in [*lines, *cells()]]


def cells() -> Iterator[str]:
    """What stands as code in the columns of messages."""
    header: list[str] = []
    column = 0
    for token, inside in zip(tokens(PAGE), tokens(PAGE)[1:], strict=False):
        if token.type == "table_open":
            header = []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            header.append(inside.content)
        elif token.type == "td_open":
            if header[column] in COLUMNS:
                yield from (child.content for child in inside.children or () if child.type == "code_inline")
            column += 1


@pytest.mark.parametrize("message", quoted())
def test_the_code_can_say_it(message):
    assert share(message) >= SHARE


def calls(names: set[str]) -> Iterator[ast.Call]:
    for node in (node for tree in trees() for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            yield node


def errors() -> list[tuple[str, ...]]:
    """What the code says where it cannot go on."""
    found = {pieces(argument) for call in calls(ERRORS) for argument in call.args}
    return sorted(template for template in found if sum(map(letters, template)) >= LEAST_LETTERS)


@pytest.mark.parametrize("template", errors(), ids=lambda template: "…".join(template)[:60])
def test_an_error_that_decides_nothing_has_an_entry(template):
    assert any(found_in(message, template) for message in quoted())


def ids() -> set[str]:
    """Of static findings."""
    texts = (argument.value for call in calls(FINDINGS) for argument in call.args if isinstance(argument, ast.Constant))
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+", text)}


def test_every_finding_has_an_entry():
    assert len(ids()) > 20
    assert {id for id in ids() if f"`{id}`" not in PAGE.read_text(encoding="utf-8")} == set()
