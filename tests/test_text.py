"""Numbers and names as text."""

import pytest

from sway_gate.text import apart, distinct, signed


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.25, 1, "+0.2"),
        (-3.14159, 3, "-3.142"),
        (-0.0004, 3, "+0.000"),
        (0.0004, 3, "+0.000"),
        (-0.0, 1, "+0.0"),
        (float("nan"), 1, "+nan"),
        (float("-inf"), 1, "-inf"),
    ],
)
def test_a_sign_is_never_that_of_a_rounded_zero(value: float, digits: int, text: str) -> None:
    assert signed(value, digits) == text


@pytest.mark.parametrize(
    ("value", "limit", "shown"),
    [
        (0.267, 0.2, ("0.267", "0.2")),
        (0.1 + 0.1 + 0.1 - 0.1, 0.2, ("0.2", "0.2")),
        (0.2, 0.2, ("0.2", "0.2")),
        (0.20001, 0.2, ("0.20001", "0.2")),
        (1e-18, 0.2, ("0", "0.2")),
    ],
)
def test_numbers_differ_in_text_if_they_differ_by_more_than_rounding(
    value: float, limit: float, shown: tuple[str, str]
) -> None:
    assert distinct(value, limit) == shown


APART = {
    "late": (["A town by the sea is red", "A town by the sea is blue"], ["…red", "…blue"]),
    "early": (["A red town", "A blue town"], ["A red town", "A blue town"]),
    "within a word": (["The long road north", "The long road nowhere"], ["…north", "…nowhere"]),
    "a short beginning": (["The road", "The road ends"], ["The road", "The road ends"]),
    "the end of more": (
        ["The long road to town", "The long road to town ends"],
        ["…town", "…town ends"],
    ),
    "two of three": (
        ["The long road to town", "The long road to sea", "no"],
        ["…town", "…sea", "no"],
    ),
    "the same": (["The long road to town"] * 2, ["The long road to town"] * 2),
    "without spaces": (
        ["\u5c71" * 40 + "\u7ea2", "\u5c71" * 40 + "\u84dd"],
        ["…\u7ea2", "…\u84dd"],
    ),
    "none": ([], []),
}


@pytest.mark.parametrize(("texts", "shown"), APART.values(), ids=APART)
def test_texts_are_shown_from_where_they_differ(texts: list[str], shown: list[str]) -> None:
    assert apart(texts) == shown
