"""YAML into msgspec structs, with the line and column of every mistake, and all mistakes at once.

`compose` turns hostile text into a bounded tree of nodes; a `Reader` turns nodes into structs, led by the
structs' own type hints and limits (`msgspec.inspect`). Nothing is coerced and no tag builds an object.
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, NoReturn, Protocol, TypeVar, runtime_checkable

import yaml
from msgspec import inspect
from yaml.constructor import SafeConstructor
from yaml.reader import Reader as _TextReader

from sway_gate.errors import SpecError

MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
MAX_PROBLEMS: Final = 50
MAX_DIGITS: Final = 100
"""Of a number: what is longer is a mistake, and slow to convert."""
MAX_INT: Final = 2**63 - 1

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
_MERGE: Final = _CORE + "merge"
_SCALAR_TAGS: Final = frozenset(_CORE + name for name in ("str", "int", "float", "bool", "null"))
_TAGS: Final[dict[type[yaml.Event], frozenset[str]]] = {
    yaml.ScalarEvent: _SCALAR_TAGS,
    yaml.SequenceStartEvent: frozenset({_CORE + "seq"}),
    yaml.MappingStartEvent: frozenset({_CORE + "map"}),
}
# YAML 1.1 reads 1e-3 as text, because it has no point; everybody means the number.
_EXPONENT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")

INVALID: Final[Any] = object()
"""Stands for a value whose mistake has been noted."""

T = TypeVar("T")


@runtime_checkable
class Checked(Protocol):
    """A struct with rules that its type hints cannot say."""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong with it)."""


class Family(NamedTuple):
    """Structs that share a base class and are told apart by their `kind`."""

    kinds: Mapping[str, type]


class At(NamedTuple):
    """Where in the document a value is: the struct that holds it, and the way to it inside that struct."""

    place: str = ""
    field: str = ""

    @property
    def path(self) -> str:
        return ".".join(filter(None, self))

    def item(self, index: int) -> "At":
        return self._replace(field=f"{self.field}[{index}]")

    def says(self, text: str) -> str:
        return ": ".join(filter(None, (self.place, f"{self.field} {text}".strip())))


def shown(text: str, limit: int = 60) -> str:
    """`text` quoted, on one line, without control characters, cut to `limit` characters."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def suggestion(word: str, options: Sequence[str], also: Sequence[str] = ()) -> str:
    """What to write instead of `word`: the nearest of the options and of `also`, or else all the options."""
    near = difflib.get_close_matches(word, [*options, *also], 1) if len(word) <= 64 else []
    if near:
        return f"did you mean {near[0]!r}?"
    return "allowed: " + ", ".join(options)


# ---------------------------------------------------------------------------------------------- text -> nodes


def compose(text: str, label: str) -> yaml.Node:
    """The root node of the one document in `text`.

    Raises SpecError for what is no YAML, is empty, has a tag outside the core ones, or is too large: more than
    MAX_NODES values with every alias written out, nested deeper than MAX_DEPTH, or a value inside itself.
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
        said = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        _refuse(label, line, column, f"not valid YAML: {said}")
    if root is None:
        _refuse(label, 1, 1, "the file is empty")
    _extent(root, label, {})
    return root


def _refuse(label: str, line: int, column: int, text: str) -> NoReturn:
    raise SpecError([f"{label}:{line}:{column}: {text}"])


def _position(part: Any) -> tuple[int, int]:
    """Line and column, 1-based, where a node or an event starts."""
    return part.start_mark.line + 1, part.start_mark.column + 1


def _survey(text: str, label: str) -> None:
    """Refuse by the events alone, before any tree is built, what would be costly or deep to build."""
    depth = count = documents = 0
    tags = []
    for event in yaml.parse(text, Loader=_LOADER):
        line, column = _position(event)
        count += isinstance(event, yaml.NodeEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > MAX_DEPTH:
            _refuse(label, line, column, f"nested deeper than {MAX_DEPTH} levels")
        if count > MAX_NODES:
            _refuse(label, line, column, f"more than {MAX_NODES} values; split the file")
        if documents > 1:
            _refuse(
                label, line, column, "a second document starts here; one file holds one document"
            )
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in _TAGS[type(event)]:
            tags.append(
                f"{label}:{line}:{column}: the tag {shown(tag)} is not supported here; write the plain value"
            )
    if tags:
        raise SpecError(tags[:MAX_PROBLEMS])


def _extent(
    node: yaml.Node, label: str, known: dict[int, tuple[int, int] | None]
) -> tuple[int, int]:
    """(values, levels) under `node` with every alias written out; `known` holds None for what is being walked.

    An alias stands after its anchor, so what it leads to is known by then, and the recursion goes no deeper than
    the text is nested.
    """
    line, column = _position(node)
    if id(node) in known:
        extent = known[id(node)]
        return extent or _refuse(label, line, column, "this value contains itself through an alias")
    known[id(node)] = None
    parts = [_extent(child, label, known) for child in _children(node)]
    extent = (
        1 + sum(count for count, _ in parts),
        1 + max((levels for _, levels in parts), default=0),
    )
    if extent[0] > MAX_NODES:
        _refuse(
            label, line, column, f"more than {MAX_NODES} values once its aliases are written out"
        )
    if extent[1] > MAX_DEPTH + 1:
        _refuse(
            label,
            line,
            column,
            f"nested deeper than {MAX_DEPTH} levels once its aliases are written out",
        )
    known[id(node)] = extent
    return extent


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


# --------------------------------------------------------------------------------------------- nodes -> values


def kind_of(node: yaml.Node) -> str:
    """null, bool, int, float, str, seq, map, or another name of YAML 1.1 (timestamp)."""
    kind = str(node.tag).removeprefix(_CORE)
    if isinstance(node, yaml.ScalarNode):
        return "str" if kind in ("value", "merge") else kind
    return "map" if isinstance(node, yaml.MappingNode) else "seq"


def describe(node: yaml.Node) -> str:
    """What a person sees at this node."""
    kind = kind_of(node)
    if isinstance(node, yaml.SequenceNode):
        return f"a list of {len(node.value)}"
    if kind in ("map", "null"):
        return {"map": "a mapping", "null": "nothing"}[kind]
    name = {
        "str": "the text",
        "int": "the number",
        "float": "the number",
        "bool": "the truth value",
    }
    value = shown(node.value) if kind == "str" or not node.value else shown(node.value)[1:-1]
    return f"{name.get(kind, 'the ' + kind)} {value}"


def _integer(node: yaml.Node) -> int:
    if (
        not isinstance(node, yaml.ScalarNode)
        or kind_of(node) != "int"
        or len(node.value) > MAX_DIGITS
    ):
        raise ValueError
    return int(SafeConstructor().construct_yaml_int(node))


def _float(node: yaml.Node) -> float:
    kind = kind_of(node)
    if kind == "int":
        return float(_integer(node))
    if not isinstance(node, yaml.ScalarNode) or len(node.value) > MAX_DIGITS:
        raise ValueError
    if kind == "str" and not node.style and _EXPONENT.fullmatch(node.value):
        return float(node.value)
    if kind != "float":
        raise ValueError
    return float(SafeConstructor().construct_yaml_float(node))


def _boolean(node: yaml.Node) -> bool:
    if kind_of(node) != "bool":
        raise ValueError
    return bool(SafeConstructor.bool_values[node.value.lower()])


def range_of(kind: inspect.IntType | inspect.FloatType) -> str:
    """The limits in words, with a space in front; empty where there are none."""
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    words = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
    limits = [
        f"{word} {getattr(kind, name)}"
        for name, word in words.items()
        if getattr(kind, name) is not None
    ]
    return " " + " and ".join(limits) if limits else ""


def _inside(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


def _fits(kind: inspect.Type, node: yaml.Node) -> bool:
    """Whether the node has the shape (nothing, list, mapping, scalar) of the type."""
    shape = kind_of(node)
    if isinstance(kind, inspect.NoneType):
        return shape == "null"
    if isinstance(kind, inspect.VarTupleType | inspect.TupleType):
        return shape == "seq"
    if isinstance(kind, inspect.StructType | inspect.TypedDictType):
        return shape == "map"
    return shape not in ("seq", "map", "null")


Entries = dict[str, tuple[yaml.Node, yaml.Node]]


def entries(node: yaml.Node) -> Entries:
    """Key -> (key node, value node). Own keys win over merged ones (`<<`), earlier merges over later ones."""
    own: Entries = {}
    merged: Entries = {}
    for key, value in node.value:
        if key.tag == _MERGE:
            for source in _sources(value):
                merged = {
                    **(entries(source) if isinstance(source, yaml.MappingNode) else {}),
                    **merged,
                }
        elif isinstance(key, yaml.ScalarNode):
            own.setdefault(key.value, (key, value))
    return {**merged, **own}


def _sources(value: yaml.Node) -> list[yaml.Node]:
    """What a `<<` merges."""
    return list(value.value) if isinstance(value, yaml.SequenceNode) else [value]


@cache
def struct_type(cls: Any) -> Any:
    """msgspec's description of a struct class."""
    return inspect.type_info(cls)


class Reader:
    """Nodes to structs. Notes every mistake with its place; `finish` raises them all.

    families: base class of structs -> the kinds that may stand in its place. hidden: fields that no file may set;
    a hidden `line` is filled with the 1-based line of the struct.
    """

    def __init__(
        self, label: str, families: Mapping[type, Family], hidden: Collection[str] = ()
    ) -> None:
        self._label, self._families, self._hidden = label, families, hidden
        self._problems: dict[tuple[int, int, str], None] = {}
        self._origin: dict[int, tuple[Any, yaml.Node, At]] = {}
        self._thinned: set[str] = set()

    def read(self, root: yaml.Node, cls: type[T]) -> T:
        """The document as `cls`. INVALID, or with a default in a wrong value's place, where a mistake was noted."""
        wanted: Any = cls
        value: T = self._struct(root, struct_type(wanted), At())
        return value

    def made(self, cls: type[T]) -> list[T]:
        """Every struct of that class which could be made, in the order of the document."""
        return [value for value, _, _ in self._origin.values() if isinstance(value, cls)]

    def is_whole(self, path: str) -> bool:
        """Whether no element of the list at `path` had to be left out for a mistake."""
        return path not in self._thinned

    def place(self, struct: object) -> str:
        """Where the struct stands, as messages name it."""
        return self._origin[id(struct)][2].path

    def node(self, struct: object) -> yaml.Node:
        """The mapping that the struct was made from."""
        return self._origin[id(struct)][1]

    def blame(self, struct: object, field: str, text: str) -> None:
        """Note that the value of `field` is wrong."""
        _, node, at = self._origin[id(struct)]
        _, value = entries(node).get(field, (node, node))
        self._note(value, At(at.path, field), text)

    def blame_node(self, node: yaml.Node, place: str, field: str, text: str) -> None:
        """Note that the value of `field`, at `node`, is wrong, also where no struct could be made around it."""
        self._note(node, At(place, field), text)

    def finish(self) -> None:
        """Raise SpecError with every mistake, in the order of the document."""
        if not self._problems:
            return
        lines = [
            f"{self._label}:{line}:{column}: {text}"
            for line, column, text in sorted(self._problems)
        ]
        if rest := lines[MAX_PROBLEMS:]:
            lines[MAX_PROBLEMS:] = [f"{rest[0].split(': ')[0]}: and {len(rest)} more mistakes"]
        raise SpecError(lines)

    def _note(self, node: yaml.Node, at: At, text: str) -> Any:
        self._problems[(*_position(node), at.says(text))] = None
        return INVALID

    def _reject(self, node: yaml.Node, at: At, need: str) -> Any:
        return self._note(node, at, f"must be {need}, got {describe(node)}")

    def _value(self, node: yaml.Node, kind: inspect.Type, at: At) -> Any:
        match kind:
            case inspect.StructType():
                return self._struct(node, kind, at)
            case inspect.UnionType():
                return self._value(
                    node, next((k for k in kind.types if _fits(k, node)), kind.types[0]), at
                )
            case inspect.NoneType():
                return None
            case inspect.VarTupleType():
                return self._list(node, kind, at)
            case inspect.TupleType():
                return self._fixed(node, kind.item_types, at)
            case inspect.NamedTupleType():
                return self._named_tuple(node, kind, at)
            case inspect.TypedDictType():
                return self._typed_dict(node, kind, at)
            case _:
                return self._scalar(node, kind, at)

    def _scalar(self, node: yaml.Node, kind: inspect.Type, at: At) -> Any:
        match kind:
            case inspect.LiteralType():
                return self._choice(node, kind.values, at)
            case inspect.StrType():
                return self._text(node, kind, at)
            case inspect.BoolType():
                return self._parsed(node, _boolean, "true or false", at)
            case inspect.IntType():
                value = self._parsed(node, _integer, f"a whole number{range_of(kind)}", at)
                inside = value is INVALID or (_inside(value, kind) and abs(value) <= MAX_INT)
                return (
                    value if inside else self._reject(node, at, f"a whole number{range_of(kind)}")
                )
            case inspect.FloatType():
                value = self._parsed(node, _float, f"a number{range_of(kind)}", at)
                inside = value is INVALID or (_inside(value, kind) and math.isfinite(value))
                finite = "" if range_of(kind) else "finite "
                return (
                    value if inside else self._reject(node, at, f"a {finite}number{range_of(kind)}")
                )
        raise TypeError(f"no reader for {kind}")

    def _parsed(self, node: yaml.Node, parse: Callable[[yaml.Node], Any], need: str, at: At) -> Any:
        try:
            return parse(node)
        except (ValueError, LookupError, OverflowError):
            return self._reject(node, at, need)

    def _text(self, node: yaml.Node, kind: inspect.StrType, at: At) -> Any:
        if kind_of(node) != "str":
            quotes = (
                ""
                if kind_of(node) in ("map", "seq", "null")
                else " (put it in quotes if it is meant as text)"
            )
            return self._note(node, at, f"must be text, got {describe(node)}{quotes}")
        if "\0" in node.value or any("\ud800" <= c <= "\udfff" for c in node.value):
            return self._note(node, at, "must be text without NUL characters and lone surrogates")
        if len(node.value) < (kind.min_length or 0):
            return self._note(node, at, "must not be empty")
        return node.value

    def _choice(self, node: yaml.Node, allowed: tuple[Any, ...], at: At) -> Any:
        """One of the allowed values. YAML 1.1 reads on and off as truth values: where those words are allowed, they
        are taken as written."""
        if kind_of(node) == "bool" and node.value.lower() in allowed:
            return node.value.lower()
        value = node.value
        if kind_of(node) == "int":
            value = self._parsed(node, _integer, "a whole number", at)
        elif kind_of(node) != "str":
            value = None
        if value in allowed or value is INVALID:
            return value
        words = [str(word) for word in allowed]
        hint = suggestion(value, words) if isinstance(value, str) else ""
        near = f"; {hint}" if hint.startswith("did") and value not in words else ""
        one_of = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
        return self._note(node, at, f"must be {one_of}, got {describe(node)}{near}")

    def _list(self, node: yaml.Node, kind: inspect.VarTupleType, at: At) -> Any:
        """A tuple without its wrong elements, so that what is right in it can still be checked."""
        if not isinstance(node, yaml.SequenceNode):
            return self._reject(node, at, "a list")
        least = kind.min_length or 0
        if len(node.value) < least:
            return self._note(
                node,
                at,
                f"must have at least {least} element{'s'[: least > 1]}, got {len(node.value)}",
            )
        values = [
            self._value(child, kind.item_type, at.item(i)) for i, child in enumerate(node.value)
        ]
        if INVALID in values:
            self._thinned.add(at.path)
        return tuple(value for value in values if value is not INVALID)

    def _fixed(self, node: yaml.Node, kinds: Sequence[inspect.Type], at: At) -> Any:
        if not isinstance(node, yaml.SequenceNode) or len(node.value) != len(kinds):
            return self._reject(node, at, f"a list of {len(kinds)} values")
        pairs = zip(node.value, kinds, strict=True)
        values = [self._value(child, kind, at.item(i)) for i, (child, kind) in enumerate(pairs)]
        return INVALID if INVALID in values else tuple(values)

    def _named_tuple(self, node: yaml.Node, kind: inspect.NamedTupleType, at: At) -> Any:
        """A list of the fields in their order, or a mapping by their names."""
        if isinstance(node, yaml.MappingNode):
            values = self._fields(node, kind.fields, At(at.path))
            return INVALID if values is None or INVALID in values.values() else kind.cls(**values)
        values = self._fixed(node, [field.type for field in kind.fields], at)
        return values if values is INVALID else kind.cls(*values)

    def _typed_dict(self, node: yaml.Node, kind: inspect.TypedDictType, at: At) -> Any:
        """A mapping; nothing at all is an empty one."""
        if kind_of(node) == "null":
            return {}
        if not isinstance(node, yaml.MappingNode):
            return self._reject(node, at, "a mapping")
        values = self._fields(node, kind.fields, At(at.path))
        return INVALID if values is None or INVALID in values.values() else values

    def _struct(self, node: yaml.Node, kind: inspect.StructType, at: At) -> Any:
        """The struct, with the default in the place of a wrong value; INVALID where a wrong value has no default."""
        if not isinstance(node, yaml.MappingNode):
            return self._reject(node, at, "a mapping")
        if family := self._families.get(kind.cls):
            name, kind = self._member(node, family, At(at.path))
            at = At(f"{at.path} ({name})")
            if kind is INVALID:
                return INVALID
        values = self._fields(node, kind.fields, At(at.path))
        required = {field.name for field in kind.fields if field.required}
        good = {name: value for name, value in (values or {}).items() if value is not INVALID}
        if values is None or required - good.keys():
            return INVALID
        if "line" in self._hidden and any(field.name == "line" for field in kind.fields):
            good["line"], _ = _position(node)
        return self._checked(kind.cls(**good), node, at)

    def _checked(self, struct: Any, node: yaml.Node, at: At) -> Any:
        self._origin[id(struct)] = struct, node, At(at.path)
        if isinstance(struct, Checked):
            for field, text in struct.mistakes():
                self.blame(struct, field, text)
        return struct

    def _member(self, node: yaml.MappingNode, family: Family, at: At) -> tuple[str, Any]:
        """(kind as written, the struct type of that kind); INVALID where there is none."""
        entry = entries(node).get("kind")
        if entry is None:
            return "", self._note(node, at, f"kind is missing; allowed: {', '.join(family.kinds)}")
        value = entry[1]
        name = value.value if kind_of(value) == "str" else ""
        if name in family.kinds:
            return name, struct_type(family.kinds[name])
        if name:
            hint = suggestion(name, [*family.kinds])
            return name, self._note(value, at, f"unknown kind {shown(name)}; {hint}")
        return "", self._reject(value, At(at.place, "kind"), f"one of {', '.join(family.kinds)}")

    def _fields(
        self, node: yaml.MappingNode, fields: Sequence[inspect.Field], at: At
    ) -> dict[str, Any] | None:
        """Value or INVALID by field that the mapping sets; None where a required one is missing."""
        known = {field.encode_name: field for field in fields if field.name not in self._hidden}
        self._check_keys(node, at)
        given = entries(node)
        for name, (key, _) in given.items():
            if name not in known:
                self._note(key, at, f"unknown field {shown(name)}; {suggestion(name, list(known))}")
        missing = [name for name, field in known.items() if field.required and name not in given]
        for name in missing:
            self._note(node, at, f"{name} is missing")
        found = {name: (known[name], value) for name, (_, value) in given.items() if name in known}
        values = {
            f.name: self._value(value, f.type, At(at.place, name))
            for name, (f, value) in found.items()
        }
        return None if missing else values

    def _check_keys(self, node: yaml.Node, at: At) -> None:
        """Note keys that are given twice or are no text, and merges of what is no mapping."""
        first: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for source in _sources(value):
                    if isinstance(source, yaml.MappingNode):
                        self._check_keys(source, at)
                    else:
                        self._note(source, at, f"<< merges mappings, got {describe(source)}")
            elif not isinstance(key, yaml.ScalarNode):
                self._note(key, at, f"a key must be text, got {describe(key)}")
            elif key.value in first:
                self._note(
                    key,
                    at,
                    f"the key {shown(key.value)} is given twice, first in line {first[key.value]}",
                )
            else:
                first[key.value], _ = _position(key)
