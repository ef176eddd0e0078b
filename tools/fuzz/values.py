"""Strategies: hostile values, and mutations of valid documents."""

import json
from typing import Any

from hypothesis import strategies as st

TOKENS = (
    "\x00", "\x1b[2J", "\u202e", "\ud800", "\n::error::x", "##[x]", "../../x", "/dev/zero", "--x",
    "{{ 7*7 }}", "(a+)+$", "&a [*a]", "!!python/object:x", "NaN", "1e999", "1:30:00", "0o17", "~",
    "[" * 300, "9" * 400, "é", "\ufeff", "|", "%TAG", "<<: *a",
)  # fmt: skip
"""Texts with a meaning for a parser, a terminal, a shell or a runner."""

NUMBERS = (0, -1, 1, 2, 255, 2**31, 2**53 + 1, 2**63, -(2**63), 10**30, 0.0, -0.0, 5e-324, 1e308)
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.sampled_from((float("nan"), float("inf")))
    | st.integers()
    | st.floats()
    | st.sampled_from(TOKENS)
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=6,
)


def changed(valid: Any, most: int = 3) -> st.SearchStrategy[Any]:
    """The document with up to `most` values replaced, removed or doubled."""
    change = st.tuples(
        st.integers(0, 2**16), st.sampled_from(["replace", "remove", "double"]), VALUES
    )
    return st.lists(change, max_size=most).map(lambda changes: _applied(valid, changes))


def _applied(valid: Any, changes: list[tuple[int, str, Any]]) -> Any:
    document = json.loads(json.dumps(valid))
    for number, how, value in changes:
        places = list(_places(document))
        if not places:
            return value
        parent, key = places[number % len(places)]
        if how == "replace":
            parent[key] = value
        elif how == "remove":
            del parent[key]
        elif isinstance(parent, list):
            parent.insert(key, parent[key])
        else:
            parent[f"{key}x"] = parent[key]
    return document


def _places(document: Any) -> Any:
    """(container, key) of each value in the document."""
    keys = (
        document
        if isinstance(document, dict)
        else range(len(document))
        if isinstance(document, list)
        else ()
    )
    for key in list(keys):
        yield document, key
        yield from _places(document[key])


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def mutated(*valid: bytes) -> st.SearchStrategy[bytes]:
    """One of the documents with a few slices replaced by tokens or random bytes."""
    part = st.sampled_from([token.encode(errors="surrogatepass") for token in TOKENS])
    change = st.tuples(
        st.floats(0, 1), st.sampled_from((0, 0, 1, 4, 64)), part | st.binary(max_size=8)
    )
    return st.builds(_spliced, st.sampled_from(valid), st.lists(change, max_size=4))


def _spliced(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for at, length, new in changes:
        start = int(at * len(data))
        data = data[:start] + new + data[start + length :]
    return data
