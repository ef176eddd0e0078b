"""Converts YAML nodes to msgspec structs and collects every mistake with its line and column.

The type hints and limits of the structs (`msgspec.inspect`) determine the accepted values.
"""

import difflib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, Protocol, TypeVar, runtime_checkable

import yaml
from msgspec import inspect

from sway_gate.errors import SpecError
from sway_gate.spec.yaml_nodes import (
    MAX_PROBLEMS,
    MERGE,
    boolean,
    day,
    describe,
    entries,
    integer,
    kind_of,
    merged_nodes,
    position,
    real,
    shown,
)
from sway_gate.text import counted

MAX_INT: Final = 2**63 - 1
MAX_LIST: Final = 10_000
"""Elements of a list without a lower limit."""

INVALID: Final[Any] = object()
"""Stands for a value whose mistake has been noted."""

T = TypeVar("T")
Families = Mapping[type, Mapping[str, type]]
"""Base class of structs -> the struct of each `kind`."""
Number = inspect.IntType | inspect.FloatType


@runtime_checkable
class Checked(Protocol):
    """A struct with rules that its type hints cannot express."""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong with it)."""


class At(NamedTuple):
    """The place of a value in the document: its struct, and the path inside that struct."""

    place: str = ""
    field: str = ""

    @property
    def path(self) -> str:
        return ".".join(filter(None, self))

    def item(self, index: int) -> "At":
        return self._replace(field=f"{self.field}[{index}]")

    def message(self, text: str) -> str:
        return ": ".join(filter(None, (self.place, f"{self.field} {text}".strip())))


def suggestion(word: str, options: Sequence[str]) -> str:
    """A remedy for `word`: the nearest of the options, otherwise all of them."""
    near = difflib.get_close_matches(word, options, 1) if len(word) <= 64 else []
    return f"did you mean {near[0]!r}?" if near else "allowed: " + ", ".join(options)


def _range(kind: Number) -> str:
    """The limits as text that starts with a space; "" if there are none."""
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    words = {"at least": kind.ge, "greater than": kind.gt, "at most": kind.le, "less than": kind.lt}
    limits = [f"{word} {limit}" for word, limit in words.items() if limit is not None]
    return " " + " and ".join(limits) if limits else ""


def _is_inside(value: float, kind: Number) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


def _fits(kind: inspect.Type, node: yaml.Node) -> bool:
    """Whether the node has the shape (nothing, list, mapping, whole number, scalar) of the type."""
    shape = kind_of(node)
    if isinstance(kind, inspect.NoneType):
        return shape == "null"
    if isinstance(kind, inspect.VarTupleType | inspect.TupleType):
        return shape == "seq"
    if isinstance(kind, inspect.StructType | inspect.TypedDictType):
        return shape == "map"
    if isinstance(kind, inspect.IntType):
        return shape == "int"
    return shape not in ("seq", "map", "null")


@cache
def struct_type(cls: Any) -> Any:
    """msgspec's description of a struct class."""
    return inspect.type_info(cls)


class Reader:
    """Converts nodes to structs. Notes every mistake with its place; `finish` raises them all.

    `hidden` are fields that files cannot set; a hidden `line` is filled with the 1-based line of
    the struct.
    """

    def __init__(self, label: str, families: Families, hidden: Collection[str] = ()) -> None:
        self._label, self._families, self._hidden = label, families, hidden
        self._problems: dict[tuple[int, int, str], None] = {}
        self._origin: dict[int, tuple[Any, yaml.Node, At]] = {}
        self._thinned: set[str] = set()

    def read(self, root: yaml.Node, cls: type[T]) -> T:
        """The document as `cls`, with defaults instead of wrong values, or INVALID."""
        wanted: Any = cls
        value: T = self._struct(root, struct_type(wanted), At())
        return value

    def made(self, cls: type[T]) -> list[T]:
        """Every struct of that class that could be made, in the order of the document."""
        return [value for value, _, _ in self._origin.values() if isinstance(value, cls)]

    def is_whole(self, path: str) -> bool:
        """Whether the list at `path` is complete; elements with mistakes are left out."""
        return path not in self._thinned

    def place(self, struct: object) -> str:
        """The place of the struct, as in messages."""
        return self._origin[id(struct)][2].path

    def node(self, struct: object) -> yaml.Node:
        """The mapping that the struct was made from."""
        return self._origin[id(struct)][1]

    def blame(self, struct: object, field: str, text: str) -> None:
        """Note that the value of `field` is wrong."""
        node = self.node(struct)
        _, value = entries(node).get(field, (node, node))
        self.blame_node(value, self.place(struct), field, text)

    def blame_node(self, node: yaml.Node, place: str, field: str, text: str) -> None:
        """Note that the value of `field`, at `node`, is wrong, even if it belongs to no struct."""
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
        self._problems[(*position(node), at.message(text))] = None
        return INVALID

    def _reject(self, node: yaml.Node, at: At, need: str) -> Any:
        return self._note(node, at, f"must be {need}, got {describe(node)}")

    def _value(self, node: yaml.Node, kind: inspect.Type, at: At) -> Any:
        match kind:
            case inspect.StructType():
                return self._struct(node, kind, at)
            case inspect.UnionType():
                fitting = (member for member in kind.types if _fits(member, node))
                return self._value(node, next(fitting, kind.types[0]), at)
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
            case inspect.LiteralType():
                return self._choice(node, kind.values, at)
            case inspect.StrType():
                return self._text(node, kind, at)
            case inspect.BoolType():
                return self._parsed(node, boolean, "true or false", at)
            case inspect.DateType():
                return self._parsed(node, day, "a date such as 2027-01-31", at)
            case inspect.IntType():
                return self._integer(node, kind, at)
            case inspect.FloatType():
                return self._real(node, kind, at)
        raise TypeError(f"no reader for {kind}")

    # Scalars

    def _parsed(self, node: yaml.Node, parse: Callable[[yaml.Node], Any], need: str, at: At) -> Any:
        try:
            return parse(node)
        except (ValueError, LookupError, OverflowError):
            return self._reject(node, at, need)

    def _integer(self, node: yaml.Node, kind: inspect.IntType, at: At) -> Any:
        need = f"a whole number{_range(kind)}"
        value = self._parsed(node, integer, need, at)
        if value is INVALID or (_is_inside(value, kind) and abs(value) <= MAX_INT):
            return value
        return self._reject(node, at, need)

    def _real(self, node: yaml.Node, kind: inspect.FloatType, at: At) -> Any:
        limits = _range(kind)
        value = self._parsed(node, real, f"a number{limits}", at)
        if value is INVALID or (_is_inside(value, kind) and math.isfinite(value)):
            return value
        return self._reject(node, at, f"a number{limits}" if limits else "a finite number")

    def _text(self, node: yaml.Node, kind: inspect.StrType, at: At) -> Any:
        shape = kind_of(node)
        if shape != "str":
            is_scalar = shape not in ("map", "seq", "null")
            quotes = " (put it in quotes if it is meant as text)" if is_scalar else ""
            return self._note(node, at, f"must be text, got {describe(node)}{quotes}")
        if "\0" in node.value or any("\ud800" <= c <= "\udfff" for c in node.value):
            return self._note(node, at, "must be text without NUL characters and lone surrogates")
        if len(node.value) < (kind.min_length or 0):
            return self._note(node, at, "must not be empty")
        return node.value

    def _choice(self, node: yaml.Node, allowed: tuple[Any, ...], at: At) -> Any:
        """One of the allowed values.

        YAML 1.1 reads on and off as truth values; if those words are allowed, they stay words.
        """
        shape = kind_of(node)
        if shape == "bool" and node.value.lower() in allowed:
            return node.value.lower()
        words = [str(word) for word in allowed]
        one_of = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
        if isinstance(allowed[0], int):
            value = self._parsed(node, integer, one_of, at)
        else:
            value = node.value if shape == "str" else None
        if value in allowed or value is INVALID:
            return value
        hint = suggestion(value, words) if isinstance(value, str) else ""
        near = f"; {hint}" if hint.startswith("did") else ""
        return self._note(node, at, f"must be {one_of}, got {describe(node)}{near}")

    # Collections

    def _list(self, node: yaml.Node, kind: inspect.VarTupleType, at: At) -> Any:
        """A tuple without its wrong elements, so that the others can still be checked."""
        if not isinstance(node, yaml.SequenceNode):
            return self._reject(node, at, "a list")
        least = kind.min_length or 0
        if len(node.value) < least:
            need = f"must have at least {counted(least, 'element')}"
            return self._note(node, at, f"{need}, got {len(node.value)}")
        if len(node.value) > (most := kind.max_length or MAX_LIST):
            need = f"must have at most {most} elements"
            return self._note(node, at, f"{need}, got {len(node.value)}")
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
        """A list of the fields in their order, or a mapping by their names.

        The list may end before the fields that have a default.
        """
        if isinstance(node, yaml.MappingNode):
            values = self._fields(node, kind.fields, At(at.path))
            return INVALID if values is None or INVALID in values.values() else kind.cls(**values)
        required = sum(field.required for field in kind.fields)
        given = len(node.value) if isinstance(node, yaml.SequenceNode) else 0
        fields = kind.fields[: max(required, given)]
        values = self._fixed(node, [field.type for field in fields], at)
        return values if values is INVALID else kind.cls(*values)

    def _typed_dict(self, node: yaml.Node, kind: inspect.TypedDictType, at: At) -> Any:
        """A mapping; an empty value is an empty mapping."""
        if kind_of(node) == "null":
            return {}
        if not isinstance(node, yaml.MappingNode):
            return self._reject(node, at, "a mapping")
        values = self._fields(node, kind.fields, At(at.path))
        return INVALID if values is None or INVALID in values.values() else values

    # Structs

    def _struct(self, node: yaml.Node, kind: inspect.StructType, at: At) -> Any:
        """The struct, with defaults instead of wrong values; INVALID if one has no default."""
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
            good["line"], _ = position(node)
        return self._checked(kind.cls(**good), node, at)

    def _checked(self, struct: Any, node: yaml.Node, at: At) -> Any:
        self._origin[id(struct)] = struct, node, At(at.path)
        if isinstance(struct, Checked):
            for field, text in struct.mistakes():
                self.blame(struct, field, text)
        return struct

    def _member(
        self, node: yaml.MappingNode, family: Mapping[str, type], at: At
    ) -> tuple[str, Any]:
        """(kind as written, the struct type of that kind); INVALID if there is no such kind."""
        entry = entries(node).get("kind")
        if entry is None:
            return "", self._note(node, at, f"kind is missing; allowed: {', '.join(family)}")
        value = entry[1]
        name = value.value if kind_of(value) == "str" else ""
        if name in family:
            return name, struct_type(family[name])
        if name:
            hint = suggestion(name, list(family))
            return name, self._note(value, at, f"unknown kind {shown(name)}; {hint}")
        return "", self._reject(value, At(at.place, "kind"), f"one of {', '.join(family)}")

    def _fields(
        self, node: yaml.MappingNode, fields: Sequence[inspect.Field], at: At
    ) -> dict[str, Any] | None:
        """Value or INVALID for each field of the mapping; None if a required one is missing."""
        known = {field.encode_name: field for field in fields if field.name not in self._hidden}
        self._check_keys(node, at)
        given = entries(node)
        for name, (key, _) in given.items():
            if name not in known:
                self._note(key, at, f"unknown field {shown(name)}; {suggestion(name, list(known))}")
        missing = [name for name, field in known.items() if field.required and name not in given]
        for name in missing:
            self._note(node, at, f"{name} is missing")
        values = {}
        for name, (_, value) in given.items():
            if field := known.get(name):
                values[field.name] = self._value(value, field.type, At(at.place, name))
        return None if missing else values

    def _check_keys(self, node: yaml.Node, at: At) -> None:
        """Note keys that are repeated or not text, and merges of values that are not mappings."""
        first: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == MERGE:
                self._check_merge(value, at)
            elif not isinstance(key, yaml.ScalarNode):
                self._note(key, at, f"a key must be text, got {describe(key)}")
            elif key.value in first:
                twice = f"is repeated; it is first set in line {first[key.value]}"
                self._note(key, at, f"the key {shown(key.value)} {twice}")
            else:
                first[key.value], _ = position(key)

    def _check_merge(self, value: yaml.Node, at: At) -> None:
        for source in merged_nodes(value):
            if isinstance(source, yaml.MappingNode):
                self._check_keys(source, at)
            else:
                self._note(source, at, f"<< merges mappings, got {describe(source)}")
