"""Greedy decoding of many prompts under many views in one batch."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from sway_gate.backends.passes.encoding import Ids
from sway_gate.backends.passes.hooks import Watch
from sway_gate.backends.passes.probing import TOKENS, agree, logits_of
from sway_gate.backends.passes.rendering import ends, until_end
from sway_gate.backends.passes.weights import Weights
from sway_gate.measurements import BASE, View

_PAD = 0
"""Any token: the attention mask hides it."""
_PROMPTS_AT_ONCE = 64


class Generated(NamedTuple):
    """The tokens before the end. `is_broken`: the logits of a step had NaN or Inf."""

    tokens: Ids
    is_broken: bool


class Generator:
    """`ends`: the tokens that end a text."""

    def __init__(self, weights: Weights, ends: frozenset[int], device: torch.device) -> None:
        self._weights, self._ends, self._device = weights, ends, device

    def base_answers(self, lengths: Mapping[Ids, int]) -> dict[Ids, Ids]:
        """The base's answer to each prompt: at most `lengths[prompt]` tokens, without the end."""
        answers: dict[Ids, Ids] = dict.fromkeys(lengths, ())
        for length in sorted(set(lengths.values()) - {0}):
            prompts = sorted((p for p in lengths if lengths[p] == length), key=len)
            for start in range(0, len(prompts), _PROMPTS_AT_ONCE):
                batch = prompts[start : start + _PROMPTS_AT_ONCE]
                [generated] = self.generate([BASE], batch, length)
                for prompt, text in zip(batch, generated, strict=True):
                    answers[prompt] = text.tokens
        return answers

    def generate(
        self, views: Sequence[View], prompts: Sequence[Ids], length: int
    ) -> list[list[Generated]]:
        """At most `length` tokens after each prompt: [view][prompt]."""
        lengths = {len(prompt) for prompt in prompts}
        if len(lengths) == 1 or self.can_batch:
            return self._in_one_batch(views, prompts, length)
        texts: list[dict[Ids, Generated]] = [{} for _ in views]
        for same in lengths:
            batch = [prompt for prompt in prompts if len(prompt) == same]
            for found, of_view in zip(texts, self._in_one_batch(views, batch, length), strict=True):
                found |= zip(batch, of_view, strict=True)
        return [[found[prompt] for prompt in prompts] for found in texts]

    @cached_property
    def can_batch(self) -> bool:
        """Whether the base continues padded prompts, with a cache, as it does one prompt at a time.

        If not, prompts of one length run together, without a cache. Recurrent models read the
        padding, some models count it in their positions, and the cache of others is for one
        sequence.
        """
        prompts = (TOKENS, TOKENS[2:])
        options = {"min_new_tokens": 2, "output_logits": True, "return_dict_in_generate": True}
        try:
            found = self._run([BASE], prompts, 2, use_cache=True, **options)
        except Exception:  # models raise arbitrary exceptions for inputs that they cannot combine
            return False
        first = found.sequences[:, len(TOKENS)].tolist()
        alone = [
            logits_of(self._weights, BASE, (*prompt, token), self._device)[-2:]
            for prompt, token in zip(prompts, first, strict=True)
        ]
        network = self._weights.model(BASE).network
        return agree(network, torch.stack(found.logits), torch.stack(alone, 1))

    def _in_one_batch(
        self, views: Sequence[View], prompts: Sequence[Ids], length: int
    ) -> list[list[Generated]]:
        watch, width = Watch(), max(map(len, prompts))
        ids = self._run(views, prompts, length, use_cache=self.can_batch, logits_processor=[watch])
        tokens, broken = ids[:, width:].tolist(), watch.broken.tolist()
        texts = [
            Generated(until_end(text, self._ends), flag)
            for text, flag in zip(tokens, broken, strict=True)
        ]
        return [texts[i : i + len(prompts)] for i in range(0, len(texts), len(prompts))]

    def _run(
        self, views: Sequence[View], prompts: Sequence[Ids], length: int, **options: Any
    ) -> Any:
        """The result of the model's own `generate`, one sequence per view and prompt."""
        width = max(map(len, prompts))
        # The cache grows at the right end, so the padding is on the left, under a mask.
        padding = [width - len(prompt) for prompt in prompts]
        ids = [(_PAD,) * n + prompt for n, prompt in zip(padding, prompts, strict=True)]
        mask = [[0] * n + [1] * (width - n) for n in padding]
        network = self._weights.model(views[0]).network
        with torch.inference_mode(), self._weights.under(views, len(prompts), width):
            found = network.generate(
                torch.tensor(ids, device=self._device).repeat(len(views), 1),
                attention_mask=torch.tensor(mask, device=self._device).repeat(len(views), 1),
                generation_config=self._config(length),
                **options,
            )
        # Image-text models add the positions of the last generation to later passes with a cache.
        inner: Any = getattr(network, "model", None)
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = None
        return found

    def _config(self, length: int) -> Any:
        make_config: Any = GenerationConfig
        return make_config(
            max_new_tokens=length,
            do_sample=False,
            num_beams=1,
            pad_token_id=_PAD,
            eos_token_id=sorted(self._ends) or None,
        )


def end_tokens(network: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens with which this model ends a text or, in its chat template, an answer."""
    return ends(getattr(network.generation_config, "eos_token_id", None), tokenizer)
