"""Wrong arguments of `sway_gate.run` and `sway_gate.check` are a UsageError in one line."""

from pathlib import Path
from typing import Any

import pytest

import sway_gate

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "adapter": ({"adapter": 5}, "adapter must be a path as text, got 5"),
    "base": ({"base": 0}, "base must be a path as text, got 0"),
    "model": ({"model": b"model"}, "model must be a path as text, got b'model'"),
    "data": ({"data": 5}, "data must be a path as text, or a list of them, got 5"),
    "a file of the data": ({"data": ["a", None]}, "data must be a path as text, got None"),
    "held out": ({"held_out": 5}, "held_out must be a path as text, or a list of them, got 5"),
    "prompts": ({"prompts": 5}, "prompts must be a file or a list of texts, got 5"),
    "learn": ({"learn": "x"}, "learn must be one of auto, content, form, preference, got 'x'"),
    "quantization": ({"quantization": "q9"}, "quantization must be one of nf4, int8, got 'q9'"),
    "no quantization": ({"quantization": ""}, "quantization must be one of nf4, int8, got ''"),
    "tier": ({"tier": "x"}, "tier must be one of quick, full, got 'x'"),
    "budget": ({"budget": "5m"}, "budget must be a whole number of seconds above 0, got '5m'"),
}


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_of_check(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(sway_gate.UsageError) as caught:
        sway_gate.check(**{"adapter": tmp_path, **given})
    assert str(caught.value) == said


def test_a_wrong_spec_of_run() -> None:
    wrong: Any = 5
    with pytest.raises(sway_gate.UsageError, match=r"\Aspec must be a path as text, got 5\Z"):
        sway_gate.run(wrong)
