"""Numbers and names as text."""

import pytest

from sway_gate.text import signed


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
