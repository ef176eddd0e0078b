"""Numbers and names as text."""

import pytest

from sway_gate.text import distinct, signed


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
