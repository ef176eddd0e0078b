"""Simulations that check one property for several values."""

from typing import Any

import pytest


def one_fast(*values: Any) -> list[Any]:
    """The parameters of a test that is fast for the first value, and slow for the others."""
    given = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*given[0]), *(pytest.param(*v, marks=pytest.mark.slow) for v in given[1:])]
