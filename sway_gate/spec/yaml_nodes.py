"""Parses YAML text into a bounded tree of nodes, and single nodes into values.

Text is read as a number or a truth value if it is written as one, as dlm-sway reads it. Nothing
else is coerced, and no tag builds an object.
"""

import datetime
import re
from typing import Any, Final, NoReturn

import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import Reader as _TextReader

from sway_gate.errors import SpecError

MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
MAX_PROBLEMS: Final = 50
MAX_DIGITS: Final = 100
"""Maximum digits of a number; a longer one is a mistake, and slow to convert."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
MERGE: Final = _CORE + "merge"
_SCALAR_TAGS: Final = frozenset(_CORE + name for name in ("str", "int", "float", "bool", "null"))
_TAGS: Final[dict[type[yaml.Event], frozenset[str]]] = {
    yaml.ScalarEvent: _SCALAR_TAGS,
    yaml.SequenceStartEvent: frozenset({_CORE + "seq"}),
    yaml.MappingStartEvent: frozenset({_CORE + "map"}),
}
_WHOLE: Final = re.compile(r"[-+]?[0-9]+(_[0-9]+)*(\.0+)?")
"""A whole number as text."""
_DECIMAL: Final = re.compile(r"[-+]?([0-9]+(_[0-9]+)*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
"""A number as text, such as 1e-3 without quotes, which is a number only in YAML 1.2."""
_TRUTH: Final = {"1": True, "t": True, "y": True, "0": False, "f": False, "n": False}
"""Truth values that YAML does not know."""
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-7_]+")
"""Octal in YAML 1.1, decimal in YAML 1.2."""
_QUOTED: Final = re.compile(r"'[\w!.-]{2,}'")
"""A part of the text in a message of the parser. The text may contain secrets."""
_NOUNS: Final = {"str": "text", "int": "number", "float": "number", "bool": "truth value"}

Entries = dict[str, tuple[yaml.Node, yaml.Node]]


def shown(text: str, limit: int = 60) -> str:
    """`text` quoted, on one line, with control characters escaped, cut to `limit` characters."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def position(part: Any) -> tuple[int, int]:
    """Line and column, 1-based, where a node or an event starts."""
    return part.start_mark.line + 1, part.start_mark.column + 1


# ------------------------------------------------------------------------------------ text -> nodes


def compose(text: str, label: str, remedy: str = "create one with `sway init`") -> yaml.Node:
    """The root node of the one document in `text`; `remedy` is for an empty one.

    Raises SpecError if the text is not YAML, is empty, has a tag outside the core ones, or is too
    large: more than MAX_NODES values with every alias expanded, nested deeper than MAX_DEPTH, or a
    value that contains itself.
    """
    if bad := _TextReader.NON_PRINTABLE.search(text):
        line, start = text.count("\n", 0, bad.start()) + 1, text.rfind("\n", 0, bad.start())
        _refuse(
            label, line, bad.start() - start, f"the character {bad[0]!a} is not allowed in YAML"
        )
    try:
        _survey(text, label)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        problem = _QUOTED.sub("…", words)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        _refuse(label, line, column, f"not valid YAML: {problem}")
    if root is None:
        _refuse(label, 1, 1, f"the file is empty; {remedy}")
    _extent(root, label, {})
    return root


def _refuse(label: str, line: int, column: int, text: str) -> NoReturn:
    raise SpecError([f"{label}:{line}:{column}: {text}"])


def _survey(text: str, label: str) -> None:
    """Refuse costly or deep documents by their events, before a tree is built."""
    depth = count = documents = 0
    tags = []
    for event in yaml.parse(text, Loader=_LOADER):
        line, column = position(event)
        count += isinstance(event, yaml.NodeEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            _refuse(label, line, column, f"nested deeper than {MAX_DEPTH} levels")
        if count > MAX_NODES:
            _refuse(label, line, column, f"more than {MAX_NODES} values; split the file")
        if documents > 1:
            _refuse(label, line, column, "a second document starts here; use one file per document")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in _TAGS[type(event)]:
            wrong = "a tag is not supported; write the plain value"
            tags.append(f"{label}:{line}:{column}: {wrong}")
    if tags:
        raise SpecError(tags[:MAX_PROBLEMS])


def _extent(
    node: yaml.Node, label: str, known: dict[int, tuple[int, int] | None]
) -> tuple[int, int]:
    """(values, levels) under `node`, aliases expanded; `known` is None for nodes in progress.

    An alias comes after its anchor, so its extent is known by then, and the recursion goes no
    deeper than the text is nested.
    """
    line, column = position(node)
    if id(node) in known:
        extent = known[id(node)]
        return extent or _refuse(label, line, column, "this value contains itself through an alias")
    known[id(node)] = None
    values, levels = 1, 1
    for child in _children(node):
        inner_values, inner_levels = _extent(child, label, known)
        values, levels = values + inner_values, max(levels, inner_levels + 1)
    if values > MAX_NODES:
        wrong = f"more than {MAX_NODES} values after its aliases are expanded"
        _refuse(label, line, column, wrong)
    if levels > MAX_DEPTH + 1:
        wrong = f"nested deeper than {MAX_DEPTH} levels after its aliases are expanded"
        _refuse(label, line, column, wrong)
    known[id(node)] = values, levels
    return values, levels


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


# ------------------------------------------------------------------------------------ node -> value


def kind_of(node: yaml.Node) -> str:
    """null, bool, int, float, str, seq, map, or another name of YAML 1.1 (timestamp).

    Sexagesimal numbers of YAML 1.1 (1:30:00) are text, as in YAML 1.2.
    """
    kind = str(node.tag).removeprefix(_CORE)
    if isinstance(node, yaml.ScalarNode):
        is_sexagesimal = kind in ("int", "float") and ":" in node.value
        return "str" if is_sexagesimal or kind in ("value", "merge") else kind
    return "map" if isinstance(node, yaml.MappingNode) else "seq"


def describe(node: yaml.Node) -> str:
    """The node as messages show it: "a list of 3", "the number 5"."""
    kind = kind_of(node)
    if kind == "seq":
        return f"a list of {len(node.value)}"
    if kind == "map":
        return "a mapping"
    if kind == "null":
        return "nothing"
    quoted = shown(node.value)
    value = quoted if kind == "str" or not node.value else quoted[1:-1]
    both = _readings(node) if kind == "int" else ()
    unclear = f" ({both[0]} in YAML 1.1, {both[1]} in YAML 1.2)" if both else ""
    return f"the {_NOUNS.get(kind, kind)} {value}{unclear}"


def _readings(node: yaml.Node) -> tuple[int, int] | tuple[()]:
    """The numbers that YAML 1.1 and 1.2 read, if they differ."""
    if len(node.value) > MAX_DIGITS or not _LEADING_ZERO.fullmatch(node.value):
        return ()
    digits = node.value.replace("_", "")
    both = int(digits, 8), int(digits)
    return both if both[0] != both[1] else ()


def integer(node: yaml.Node) -> int:
    """The node's value. Raises ValueError if it is not a whole number, or if YAML 1.2 differs."""
    if not isinstance(node, yaml.ScalarNode) or len(node.value) > MAX_DIGITS:
        raise ValueError
    if _is_octal(node):
        return int(node.value, 8)
    kind = kind_of(node)
    if _WHOLE.fullmatch(node.value.strip()) and kind in ("str", "float"):
        return int(node.value.partition(".")[0])
    if kind != "int" or _readings(node):
        raise ValueError
    return int(SafeConstructor().construct_yaml_int(node))


def _is_octal(node: yaml.Node) -> bool:
    is_plain = isinstance(node, yaml.ScalarNode) and not node.style
    return is_plain and kind_of(node) == "str" and bool(_OCTAL.fullmatch(node.value))


def real(node: yaml.Node) -> float:
    """The node's value. Raises ValueError if it is not a number."""
    kind = kind_of(node)
    if kind == "int" or _is_octal(node):
        return float(integer(node))
    if not isinstance(node, yaml.ScalarNode) or len(node.value) > MAX_DIGITS:
        raise ValueError
    if kind == "str" and _DECIMAL.fullmatch(node.value.strip()):
        return float(node.value)
    if kind != "float":
        raise ValueError
    return float(SafeConstructor().construct_yaml_float(node))


def day(node: yaml.Node) -> datetime.date:
    """The node's value. Raises ValueError if it is not a date, written as YYYY-MM-DD."""
    if not isinstance(node, yaml.ScalarNode) or not _DAY.fullmatch(node.value):
        raise ValueError
    return datetime.date.fromisoformat(node.value)


def boolean(node: yaml.Node) -> bool:
    """The node's value. Raises LookupError if it is not true or false."""
    word = node.value.lower() if kind_of(node) in ("bool", "int", "str") else ""
    return bool({**SafeConstructor.bool_values, **_TRUTH}[word])


def entries(node: yaml.Node) -> Entries:
    """Key -> (key node, value node). Own keys override merged ones (`<<`), the first merge wins."""
    own: Entries = {}
    merged: Entries = {}
    for key, value in node.value:
        if key.tag == MERGE:
            for source in merged_nodes(value):
                if isinstance(source, yaml.MappingNode):
                    merged = {**entries(source), **merged}
        elif isinstance(key, yaml.ScalarNode):
            own.setdefault(key.value, (key, value))
    return {**merged, **own}


def merged_nodes(value: yaml.Node) -> list[yaml.Node]:
    """The nodes that a `<<` merges."""
    return list(value.value) if isinstance(value, yaml.SequenceNode) else [value]
