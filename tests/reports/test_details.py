"""Details of any shape as facts, tables and passages: nothing is lost, known keys have names."""

import json

import pytest

from sway_gate.reports.details import Fact, Passage, Passages, Table, pieces, shown
from tests.helpers.property import given, st

SECTION = {
    "id": "s1",
    "tag": "Refunds",
    "effective": 0.4,
    "passed": True,
    "moved": False,
    "lift": 0.5,
}
LEAK = {"tag": "Refunds", "recall": 1.0, "recall_by_prefix": {"clean": 1.0, "typo": 0.5}}
CASES = {
    "a number": ({"base_wrong": 3}, [Fact("base wrong", "3")]),
    "nothing": ({"ratio": None, "left": {}}, [Fact("ratio", "–"), Fact("left", "none")]),
    "a truth": ({"ok": True}, [Fact("ok", "yes")]),
    "a mapping": ({"left_out": {"base_empty": 2}}, [Fact("left out: base empty", "2")]),
    "a curve": (
        {"lambdas": [0.0, 0.5, 1.0], "curve": [0.0, 0.1, 0.2], "judged": "R"},
        [
            Table("scale, curve", ("lambdas", "curve"), ((0.0, 0.0), (0.5, 0.1), (1.0, 0.2))),
            Fact("judged", "R"),
        ],
    ),
    "sections": (
        {"sections": [SECTION]},
        [
            Table(
                "sections",
                ("verdict", "tag", "effective", "lift", "id"),
                (("warn", "Refunds", 0.4, 0.5, "s1"),),
            )
        ],
    ),
    "rows that hold mappings": (
        {"sections": [LEAK]},
        [
            Table("sections", ("tag", "recall"), (("Refunds", 1.0),)),
            Table("sections: recall by prefix", ("tag", "clean", "typo"), (("Refunds", 1.0, 0.5),)),
        ],
    ),
    "texts": ({"texts": ["one"]}, [Passages("what the model wrote", (Passage((("", "one"),)),))]),
    "texts beside each other": (
        {"continuations": [{"id": "a", "true": "t", "written": "w"}]},
        [
            Passages(
                "continuations of training text",
                (Passage((("true", "t"), ("written", "w")), (Fact("id", "a"),)),),
            )
        ],
    ),
    "rows of any kind": ({"sections": [{"a": 1}, 3]}, [Fact("sections", "a 1 · 3")]),
}


@pytest.mark.parametrize(("details", "found"), CASES.values(), ids=CASES)
def test_details_are_read(details, found):
    assert list(pieces(details, 100)) == found


def test_entries_beyond_the_limit_are_counted():
    (table,) = pieces({"rows": [{"a": 1, "b": 2, "c": 3}] * 5}, 2)
    assert (len(table.rows), table.left_out, table.columns, table.columns_left_out) == (
        2,
        3,
        ("a", "b"),
        1,
    )
    assert list(pieces({"a": 1, "b": 2}, 1)) == [Fact("a", "1"), Fact("left out here", "1 more")]


def test_sections_that_did_not_pass_are_kept_in_their_order():
    rows = [{"tag": str(i), "effective": 0.1, "passed": i in (0, 1)} for i in range(4)]
    (table,) = pieces({"sections": rows}, 3)
    assert table.column("tag") == ["0", "2", "3"]


SCALARS = st.one_of(
    st.booleans(), st.integers(-(10**6), 10**6), st.text("abcdef", min_size=1, max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ghij", min_size=1), inner),
    max_leaves=8,
)


def leaves(value):
    match value:
        case dict() | list():
            for item in value.values() if isinstance(value, dict) else value:
                yield from leaves(item)
        case _:
            yield shown(value)


@given(st.dictionaries(st.text("klmn", min_size=1, max_size=4), JSON, max_size=5))
def test_nothing_is_dropped(details):
    said = json.dumps(list(pieces(details, 100)), default=str, ensure_ascii=False)
    cells = {
        shown(cell)
        for piece in pieces(details, 100)
        if isinstance(piece, Table)
        for row in piece.rows
        for cell in row
    }
    deep = "…" in said  # nested data below the depth limit is replaced by an ellipsis
    assert deep or all(leaf in said or leaf in cells for leaf in leaves(details))


def test_an_interval_is_rounded_like_a_list() -> None:
    assert shown((-0.19864233524310537, 0.5)) == shown([-0.19864233524310537, 0.5])
    assert shown((-0.19864233524310537, 0.5)) == "-0.199 · 0.5"
