"""Wrong arguments of `sway_gate.run` and `sway_gate.check` are a UsageError in one line."""

from pathlib import Path
from typing import Any

import pytest

import sway_gate
from sway_gate.errors import SpecError
from sway_gate.gate.arguments import worded_for_python

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


WORDED: dict[str, tuple[dict[str, Any], str]] = {
    "no adapter": ({}, "give an adapter, or a fine-tuned model with model= and base="),
    "no base": ({"model": "x"}, "model= requires base=: give the model that training started from"),
    "an adapter and a model": ({"adapter": "x", "model": "y"}, "give either an adapter or model="),
    "not cached": ({"adapter": "org/none"}, "online=True"),
}


@pytest.mark.parametrize(("given", "said"), WORDED.values(), ids=WORDED)
def test_an_error_names_arguments_of_python(given: dict[str, Any], said: str) -> None:
    with pytest.raises(sway_gate.SwayError) as caught:
        sway_gate.check(**given)
    assert said in str(caught.value)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("give it with --base", "give it with base="),
        ("this is a model; judge it with sway check --model", None),
        ("write its spec: sway init ADAPTER --data rows.jsonl", None),
        (
            "create one with `sway init`, or pass --online",
            "create one with `sway init`, or pass online=True",
        ),
        ("/tmp/x--base/y: --base-model", None),
        (
            "name its fields with --map messages=FIELD",
            'name its fields with data_map={"messages": "FIELD"}',
        ),
    ],
)
def test_only_options_that_are_arguments_are_replaced(message: str, expected: str | None) -> None:
    with pytest.raises(SpecError) as caught, worded_for_python():
        raise SpecError([message])
    assert caught.value.problems == [str(caught.value)] == [expected or message]
