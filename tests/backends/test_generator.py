"""Texts that leave the batch when they end equal texts that are generated one at a time."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sway_gate.backends import hf
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.backends.passes.generator import Batch, Generator
from sway_gate.backends.passes.prefix_cache import cache_argument
from sway_gate.backends.two_models import TwoModels
from sway_gate.errors import CannotDecide
from sway_gate.measurements import BASE, FINETUNED, View
from tests.backends.architectures import tiny_model
from tests.helpers.models import byte_tokenizer, save_adapter, save_base

VIEWS = [BASE, FINETUNED, View("null", 0)]
LENGTH = 24
# A sixth of the vocabulary ends a text, so that texts end at different steps.
ENDS = frozenset(range(0, 250, 6))


def generator_of(backend: hf.HfBackend) -> Generator:
    return Generator(
        backend.weights,
        ENDS,
        backend.prefix_cache,
        lambda: backend.pack_limit,
        torch.device("cpu"),
    )


def prompts_with_one_beginning() -> list[tuple[int, ...]]:
    tokens = np.random.default_rng(0).integers(3, 250, (8, 9)).tolist()
    return [(40, 41, 43, *row[: 2 + i]) for i, row in enumerate(tokens)]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_texts_do_not_depend_on_those_that_end_earlier(architecture: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", architecture)
    adapter = save_adapter(tmp_path, base)
    loaded = hf.load(Source(base, adapter, device="cpu"), NullSettings(runs=3))
    generator, prompts = generator_of(loaded), prompts_with_one_beginning()
    together = generator.generate(VIEWS, prompts, LENGTH)
    alone = [[generator.generate([v], [p], LENGTH)[0][0] for p in prompts] for v in VIEWS]
    assert together == alone
    lengths = {len(text.tokens) for of_view in together for text in of_view}
    assert generator.can_continue
    assert len(lengths) > 2


def new_forward(input_ids: Any, cache: Any = None, **options: Any) -> None: ...


def old_forward(input_ids: Any, past_key_values: Any = None, **options: Any) -> None: ...


@pytest.mark.parametrize(
    ("forward", "name"), [(new_forward, "cache"), (old_forward, "past_key_values")]
)
def test_the_cache_is_given_by_the_name_that_the_model_uses(forward: Any, name: str) -> None:
    assert cache_argument(SimpleNamespace(forward=forward)) == name


def test_passes_and_generation_use_nothing_deprecated(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama")
    loaded = hf.load(Source(base, save_adapter(tmp_path, base), device="cpu"), NullSettings(runs=3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert generator_of(loaded).generate([BASE], prompts_with_one_beginning(), LENGTH)
        assert loaded.prefix_cache.reach > 0


NULL = VIEWS[2]
TWO_PROMPTS = tuple((view, prompt) for view in VIEWS for prompt in (0, 1))


@pytest.mark.parametrize(
    ("running", "stay"),
    [
        ([(BASE, 1), (FINETUNED, 0)], [(BASE, 1), (FINETUNED, 0)]),
        ([(NULL, 0), (FINETUNED, 1)], TWO_PROMPTS[2:]),
        ([(FINETUNED, 1)], [(FINETUNED, 1)]),
        ([(BASE, 0)], [(BASE, 0)]),
        ([], []),
    ],
    ids=["base by itself", "adapted views together", "one view", "only the base", "none"],
)
def test_adapted_views_keep_the_same_prompts(running: Any, stay: Any) -> None:
    ids = torch.zeros(len(TWO_PROMPTS), 1, dtype=torch.long)
    is_running = torch.tensor([text in running for text in TWO_PROMPTS])
    kept = Batch(TWO_PROMPTS, ids, ids).keeping(is_running)
    assert list(kept.texts) == list(stay)
    assert len(kept.ids) == len(kept.mask) == len(stay)


def greedy(network: Any, prompt: tuple[int, ...]) -> tuple[int, ...]:
    """The text of one prompt, from a pass over all tokens for each new one."""
    ids = list(prompt)
    for _ in range(LENGTH):
        with torch.inference_mode():
            token = int(
                network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()
            )
        if token in ENDS:
            break
        ids.append(token)
    return tuple(ids[len(prompt) :])


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3_text", "gpt_neo", "mpt"])
def test_models_that_count_tokens_generate_as_without_a_cache(architecture: str) -> None:
    """In the window of attention, or in its bias, padding after a common beginning counts too."""
    network = tiny_model(architecture)
    backend = hf.HfBackend(TwoModels(network, network), byte_tokenizer(), "best_effort")
    prompts = prompts_with_one_beginning()
    [found] = generator_of(backend).generate([BASE], prompts, LENGTH)
    assert [text.tokens for text in found] == [greedy(network, prompt) for prompt in prompts]


SETTINGS: dict[str, Any] = {
    "min_new_tokens": 3,
    "begin_suppress_tokens": list(range(1, 250, 2)),
    "exponential_decay_length_penalty": (2, 1.5),
}
"""Fields of generation_config.json that count from the first token that a call generates."""


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_the_base_count_from_the_first_token(name: str) -> None:
    network = tiny_model("gpt2")
    setattr(network.generation_config, name, SETTINGS[name])
    backend = hf.HfBackend(TwoModels(network, network), byte_tokenizer(), "best_effort")
    generator, prompts = generator_of(backend), prompts_with_one_beginning()
    [together] = generator.generate([BASE], prompts, LENGTH)
    assert together == [generator.generate([BASE], [p], LENGTH)[0][0] for p in prompts]


@pytest.mark.parametrize(("name", "value"), [("suppress_tokens", ["a"]), ("min_length", "2")])
def test_settings_that_the_library_cannot_use_are_named(name: str, value: Any) -> None:
    network = tiny_model("llama")
    setattr(network.generation_config, name, value)
    backend = hf.HfBackend(TwoModels(network, network), byte_tokenizer(), "best_effort")
    with pytest.raises(CannotDecide, match=r"correct or remove its generation_config\.json"):
        generator_of(backend).generate([BASE], [(1, 2, 3)], LENGTH)


def test_padding_is_no_repeated_token() -> None:
    network = tiny_model("llama")
    network.generation_config.repetition_penalty = 10.0
    network.lm_head.weight.data[0] *= 8  # the token with id 0 is often the most probable one
    backend = hf.HfBackend(TwoModels(network, network), byte_tokenizer(), "best_effort")
    generator, prompts = generator_of(backend), prompts_with_one_beginning()
    [together] = generator.generate([BASE], prompts, LENGTH)
    assert together == [generator.generate([BASE], [p], LENGTH)[0][0] for p in prompts]
