"""Hypothesis if it is installed; otherwise the tests that use it are skipped."""

from collections.abc import Callable
from typing import Any

import pytest

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:

    class _Absent:
        """Accepts any call and any attribute, so that modules with strategies can be imported."""

        def __call__(self, *_: Any, **__: Any) -> "_Absent":
            return self

        def __getattr__(self, _: str) -> "_Absent":
            return self

        def __or__(self, _: Any) -> "_Absent":
            return self

    def given(*_: Any, **__: Any) -> Any:
        return pytest.mark.skip(reason="needs hypothesis, which is not installed")

    def settings(*_: Any, **__: Any) -> Callable[[Any], Any]:
        return lambda test: test

    HealthCheck = st = _Absent()

__all__ = ["HealthCheck", "given", "settings", "st"]
