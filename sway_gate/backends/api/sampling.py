"""Texts that a model on a server draws at temperature 1."""

import json
import random
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

from sway_gate.backends.api.client import Client, Refused, at_once
from sway_gate.backends.api.completions import UNSUPPORTED, Sent, text_of
from sway_gate.conversation import Conversation

Settings = dict[str, float | str]
_KNOWN: Settings = {"temperature": 1.0, "top_p": 1.0}
_WHOLE: Settings = {**_KNOWN, "min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0}
_OF_TRANSFORMERS = {
    **_KNOWN,
    "do_sample": True,
    "top_k": 0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}
"""What `transformers serve` takes as text. It fills a missing one from the model's own
generation_config.json, which can penalize repetitions."""
_SETTINGS = (
    {**_WHOLE, "top_k": 0},
    {**_WHOLE, "top_k": -1},
    {**_KNOWN, "generation_config": json.dumps(_OF_TRANSFORMERS)},
    _KNOWN,
)
"""Settings that leave the distribution whole: servers cut it by default, as llama.cpp to 40 tokens.

The names and the values for this differ between servers; strict ones know the last settings only.
"""
REFUSALS = (*UNSUPPORTED, 404, 405)
"""The status of a request in a form, or to a path, that the server does not have."""


class Form(NamedTuple):
    """How a server takes prompts: the path, and the fields of each prompt."""

    path: str
    fields: list[dict[str, Any]]


def completions(prompts: Sequence[Sent]) -> Form:
    return Form("completions", [{"prompt": p if isinstance(p, str) else [*p]} for p in prompts])


def chats(prompts: Sequence[Conversation]) -> Form:
    messages = [[message.as_dict() for message in prompt.messages] for prompt in prompts]
    return Form("chat/completions", [{"messages": one} for one in messages])


Ask = Callable[[Form, Settings, int, int], str]


def draw(
    client: Client, name: str, forms: Sequence[Form], each: int, length: int
) -> list[list[str]]:
    """`each` texts after each prompt, of at most `length` tokens, in the first form that is taken.

    Raises CannotDecide.
    """

    def ask(form: Form, settings: Settings, prompt: int, seed: int) -> str:
        body = {"model": name, "max_tokens": length, "seed": seed, **settings}
        return text_of(client.post(form.path, body | form.fields[prompt]), client.label)

    form, settings = _first_taken(forms, ask)
    prompts = range(len(form.fields))
    # Some servers draw the same text again unless the seed is another one.
    seeds = random.Random(0).sample(range(2**31), each * len(prompts))
    asked = [(prompt, seeds.pop()) for prompt in prompts for _ in range(each)]
    texts = at_once(lambda pair: ask(form, settings, *pair), asked)
    return [texts[prompt * each : (prompt + 1) * each] for prompt in prompts]


def _first_taken(forms: Sequence[Form], ask: Ask) -> tuple[Form, Settings]:
    """The form and the settings that the server takes. Raises Refused if it takes none."""
    refusals = []
    for form, settings in product(forms, _SETTINGS):
        try:
            ask(form, settings, 0, 0)
            return form, settings
        except Refused as refused:
            if refused.status not in REFUSALS:
                raise
            refusals.append(refused)
    raise refusals[0]
