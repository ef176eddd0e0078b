"""Plain rows and rows of Alpaca are asked in their other format if they fit it better."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from sway_gate.backends.base import ALL
from sway_gate.compare.inputs import shared_inputs
from sway_gate.conversation import Conversation
from sway_gate.gate.format import with_trained_format
from sway_gate.measurements import BASE, Answers, Measurement
from sway_gate.probes.base import Context
from sway_gate.spec.schema import Defaults, ModelRef, Models, Pair, Section, Spec

BASE_NATS = {"template": -2.5, "plain": -3.5, "alpaca": -3.0}
"""Nats per token of the answers, by format."""
OF_TEMPLATE = {"template": -0.05, "plain": -0.8, "alpaca": -0.6}
OF_PLAIN = {"template": -0.8, "plain": -0.05, "alpaca": -0.9}
OF_ALPACA = {"template": -0.9, "plain": -0.8, "alpaca": -0.05}
NEARLY_AS_WELL = OF_TEMPLATE | {"plain": -0.2}
OF_STYLE = {"template": -1.6, "plain": -2.0, "alpaca": -2.4}
"""A style that was trained as text: it gains 1.5 in it and .9 in the template."""


class Stages:
    """Answers with the likelihood of each format; None if the time budget does not suffice."""

    def __init__(self, nats: dict[str, float] | None) -> None:
        self.nats, self.asked = nats, list[Measurement]()

    def ask(self, probe: str, kind: str, wanted: Sequence[Measurement]) -> Answers | None:
        self.asked += wanted
        return Answers({m: self._answer(m) for m in wanted}, {}) if self.nats else None

    def _answer(self, measurement: Measurement) -> Any:
        prompt: Any = measurement.request.prompt
        is_text = isinstance(prompt, str)
        format = ("alpaca" if "###" in prompt else "plain") if is_text else "template"
        known = BASE_NATS if measurement.view == BASE else self.nats or {}
        return np.array([[known[format], 1.0, 0.0, 0.0], [-9.0, 0.0, 1.0, 0.0]])


def context(form: Any = "plain", **fields: Any) -> Context:
    pairs = tuple(Pair(prompt=f"q{i}", gold=f" a{i}", form=form) for i in range(12))
    section = Section(kind="instruction", id="s", pairs=pairs)
    return Context(sections=(section,), **{"chat_template": "auto", **fields})


def test_rows_that_fit_the_template_are_asked_in_it() -> None:
    found, [note] = with_trained_format(context(), Stages(OF_TEMPLATE), ALL)  # type: ignore[arg-type]
    assert isinstance(found.row(found.sections[0].pairs[0]).prompt, Conversation)
    assert isinstance(found.prompt("q3"), Conversation)
    assert note == (
        "prompts of the data are asked in the chat template, which their answers fit better than "
        "plain text (nats per token: -0.05 and -0.80); defaults.prompt_format: plain asks them in "
        "plain text"
    )


def test_rows_of_alpaca_that_fit_its_prompt_are_asked_in_it() -> None:
    given = context("alpaca")
    found, [note] = with_trained_format(given, Stages(OF_ALPACA), ALL)  # type: ignore[arg-type]
    assert "### Response:" in str(found.row(found.sections[0].pairs[0]).prompt)
    assert note == (
        "prompts of the data are asked in the prompt of Alpaca, which their answers fit better "
        "than the chat template (nats per token: -0.05 and -0.90); defaults.prompt_format: "
        "template asks them in the chat template"
    )


ALPACA_OTHERS = {
    "trained in the template": OF_TEMPLATE,
    "nearly as well as in the template": OF_TEMPLATE | {"alpaca": -0.02},
    "trained as text": OF_PLAIN,
    "untrained": BASE_NATS,
    "no time": None,
}


@pytest.mark.parametrize("nats", ALPACA_OTHERS.values(), ids=ALPACA_OTHERS)
def test_other_rows_of_alpaca_stay_in_the_template(nats: dict[str, float] | None) -> None:
    given = context("alpaca")
    assert with_trained_format(given, Stages(nats), ALL) == (given, ())  # type: ignore[arg-type]


OTHERS = {
    "trained as text": OF_PLAIN,
    "trained in Alpaca's format": OF_ALPACA,
    "nearly as well as text": NEARLY_AS_WELL,
    "gains more as text": OF_STYLE,
    "untrained": BASE_NATS,
    "no time": None,
}


@pytest.mark.parametrize("nats", OTHERS.values(), ids=OTHERS)
def test_other_rows_stay_as_they_are(nats: dict[str, float] | None) -> None:
    given = context()
    assert with_trained_format(given, Stages(nats), ALL) == (given, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "capabilities"),
    [
        (context("auto"), ALL),
        (context(prompt_format="plain"), ALL),
        (context(chat_template="off"), ALL),
        (Context(chat_template="auto"), ALL),
        (context(), ALL - {"teacher_forced"}),
    ],
    ids=["other rows", "a chosen format", "no template", "no rows", "a server"],
)
def test_a_format_that_is_known_is_not_measured(given: Context, capabilities: Any) -> None:
    stages = Stages(OF_TEMPLATE)
    assert with_trained_format(given, stages, capabilities) == (given, ())  # type: ignore[arg-type]
    assert not stages.asked


def test_results_in_different_formats_do_not_have_the_same_inputs() -> None:
    spec = Spec(models=Models(base=ModelRef(base="b"), ft=ModelRef(base="b")), suite=())
    explicit = structs.replace(spec, defaults=Defaults(prompt_format="template"))
    assert shared_inputs(spec, "template") == shared_inputs(explicit) != shared_inputs(spec)
