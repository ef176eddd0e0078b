"""docs/troubleshooting.md quotes messages of the code, and has an entry for each error.

Errors are those that keep the gate from deciding.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import islice, product

import pytest

from tests.helpers.docs_pages import ROOT, blocks, tokens

PAGE = ROOT / "docs" / "troubleshooting.md"
COLUMNS = ("message", "note", "the message ends with")
"""Headings of the table columns that contain messages."""
MIN_LETTERS = 4
"""Minimum letters in the fixed pieces of a template that is specific enough."""
MAX_FORMS = 64
"""Maximum alternatives of one expression."""
TOO_MANY = 99
"""More values than any template has."""
DEPTH = 2
"""Nesting depth of texts that are values in other texts."""
VALUE = re.compile(r"""[a-z]?|(?=\S*[^\sa-z])[^\s'"`;]*[^\s'"`;:,]""")
"""An unquoted value: a number, a path or a name with a capital letter.

A text of the code can also be a value.
"""
QUOTATION = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|… and …""")
POSITION = "sway.yaml:1:1: "
"""Position before a message; the page can omit it."""
FOREIGN = ("No module named \0", "Permission denied")
"""Messages of Python and of the operating system."""
Template = tuple[str, ...]
"""The fixed pieces of a text in the code, which are separated by values."""
ERRORS = {"CannotDecide", "AdapterError", "CannotRun", "Skip"}
FINDINGS = {"finding", "broken", "Fatal", "fatal"}


@cache
def trees() -> list[ast.Module]:
    paths = sorted((ROOT / "sway_gate").rglob("*.py"))
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def texts(node: ast.AST) -> list[str]:
    """The possible texts of an expression; an unknown value is a NUL."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(chosen) for chosen in islice(product(*map(texts, parts)), MAX_FORMS)]
        case ast.FormattedValue(value=ast.JoinedStr() | ast.IfExp() as inner):
            return texts(inner)
        case ast.IfExp(body=body, orelse=other):
            return [*texts(body), *texts(other)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [a + b for a in texts(left) for b in texts(right)]
    return ["\0"]


def letters(text: str) -> int:
    return sum(map(str.isalpha, text))


@cache
def docstrings() -> set[int]:
    nodes = (node for tree in trees() for node in ast.walk(tree))
    return {id(node.value) for node in nodes if isinstance(node, ast.Expr)}


@cache
def templates() -> set[Template]:
    """All texts of the code, of Python and of the action."""
    found = set(FOREIGN)
    for node in (node for tree in trees() for node in ast.walk(tree)):
        if id(node) in docstrings():
            continue
        found.update(texts(node))
        if isinstance(node, ast.AugAssign):
            found.update("\0" + text for text in texts(node.value))
    found |= set(re.findall(r'::notice title=sway-gate::([^"]+)"', action()))
    return {tuple(text.split("\0")) for text in found if text.strip("\0")}


def action() -> str:
    """The text of action.yml; strings that are continued on the next line are joined."""
    return re.sub(r'" \\\n *"', " ", (ROOT / "action.yml").read_text(encoding="utf-8"))


def is_vague(template: Template) -> bool:
    """Whether the template has few letters; then at most one of its values may be unquoted."""
    return len(template) > 1 and letters("".join(template)) < MIN_LETTERS


class Reader:
    """Searches one message in the texts of the code."""

    def __init__(self, message: str) -> None:
        with_values = (t for t in templates() if len(t) > 1)
        found = [t for t in with_values if all(piece in message for piece in t)]
        self.vague = [t for t in found if is_vague(t)]
        self.specific = [t for t in found if not is_vague(t)]
        self.known: dict[tuple[str, int, bool], bool] = {}

    def is_text(self, text: str, depth: int = DEPTH, in_vague: bool = False) -> bool:
        """Whether `text` is a whole text of the code, with texts as values up to `depth` levels."""
        key = (text, depth, in_vague)
        if key not in self.known:
            self.known[key] = (text,) in templates() or self.has_values(*key)
        return self.known[key]

    def has_values(self, text: str, depth: int, in_vague: bool) -> bool:
        """Whether `text` is a template with values. A vague one is not the value of a vague one."""
        if any(self.fits(text, template, depth, TOO_MANY) for template in self.specific):
            return True
        if depth == 0 or in_vague:
            return False
        return any(self.fits(text, template, depth, 1, vague=True) for template in self.vague)

    def fits(
        self,
        text: str,
        template: Template,
        depth: int,
        values: int,
        vague: bool = False,
    ) -> bool:
        """Whether `text` is the template with at most `values` unquoted values."""
        piece, *others = template
        if not text.startswith(piece) or not text.endswith(template[-1]):
            return False
        rest = text[len(piece) :]
        if not others:
            return not rest
        first = 0 if len(others) > 1 else max(len(rest) - len(others[0]), 0)
        end = rest.find(others[0], first)
        while end >= 0:
            left = values - self.unquoted(rest[:end], depth, vague)
            if left >= 0 and self.fits(rest[end:], tuple(others), depth, left, vague):
                return True
            end = rest.find(others[0], end + 1)
        return False

    def unquoted(self, text: str, depth: int, vague: bool) -> int:
        """0 for a quotation or a text of the code, 1 for an unquoted value, otherwise too many."""
        if QUOTATION.fullmatch(text) or (depth > 0 and self.is_text(text, depth - 1, vague)):
            return 0
        return 1 if VALUE.fullmatch(text) else TOO_MANY + 1


def is_message(message: str) -> bool:
    reader = Reader(POSITION + message)
    return reader.is_text(message) or reader.is_text(POSITION + message)


def reworded(message: str) -> Iterator[str]:
    """The message with nonsense for the first half of its words, then for the second."""
    words = message.split(" ")
    with_letters = [i for i, word in enumerate(words) if letters(word)]
    half = len(with_letters) // 2
    for changed in (with_letters[:half], with_letters[half:]):
        if changed:
            yield " ".join("nonsense" if i in changed else word for i, word in enumerate(words))


@cache
def quoted() -> list[str]:
    """The messages on the page, in blocks and in tables."""
    found = list(cells())
    for block in blocks(PAGE):
        if block.language == "text":
            found += block.text.splitlines()
    return [message.removeprefix("error: ") for message in found]


def cells() -> Iterator[str]:
    """The code in the columns of messages."""
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
                children = inside.children or ()
                yield from (child.content for child in children if child.type == "code_inline")
            column += 1


def test_every_quoted_message_is_a_message_of_the_code():
    assert [message for message in quoted() if not is_message(message)] == []


@pytest.mark.slow
def test_a_message_with_other_words_in_one_half_is_not_found():
    changed = [other for message in quoted() for other in reworded(message)]
    assert [other for other in changed if is_message(other)] == []


def calls(names: set[str]) -> Iterator[ast.Call]:
    """All calls of functions and classes with these names."""
    for node in (node for tree in trees() for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            yield node


def errors() -> list[list[str]]:
    """The possible texts of each error."""
    found = (texts(argument) for call in calls(ERRORS) for argument in call.args)
    return [forms for forms in found if max(map(letters, forms)) >= 8]


def is_quoted(form: str) -> bool:
    pattern = ".*?".join(map(re.escape, re.split("\0+", form)))
    return any(re.search(pattern, message) for message in quoted())


def test_every_error_that_keeps_a_gate_from_deciding_has_an_entry():
    assert len(errors()) > 40
    assert [forms for forms in errors() if not any(map(is_quoted, forms))] == []


def ids() -> set[str]:
    """The ids of static findings."""
    arguments = [argument for call in calls(FINDINGS) for argument in call.args]
    texts = [str(node.value) for node in arguments if isinstance(node, ast.Constant)]
    return {text for text in texts if re.fullmatch(r"[a-z]+(-[a-z]+)+", text)}


def test_every_finding_of_the_static_check_has_an_entry():
    assert len(ids()) > 20
    assert {id for id in ids() if f"`{id}`" not in PAGE.read_text(encoding="utf-8")} == set()
