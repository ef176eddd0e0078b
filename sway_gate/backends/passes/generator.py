"""Greedy decoding of many prompts under many views in one batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor

from sway_gate.backends.passes.encoding import Ids
from sway_gate.backends.passes.rendering import ends
from sway_gate.backends.passes.weights import Weights
from sway_gate.measurements import BASE, View

_PAD = 0
"""Any token: the attention mask hides it."""
_PROMPTS_AT_ONCE = 64


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
                for prompt, tokens in zip(batch, generated, strict=True):
                    answers[prompt] = self.until_end(tokens)
        return answers

    def generate(
        self,
        views: Sequence[View],
        prompts: Sequence[Ids],
        length: int,
        processors: Sequence[LogitsProcessor] = (),
    ) -> list[list[list[int]]]:
        """At most `length` tokens after each prompt: [view][prompt][token]."""
        width = max(map(len, prompts))
        # The cache grows at the right end, so the padding is on the left, under a mask.
        padding = [width - len(prompt) for prompt in prompts]
        ids = [(_PAD,) * n + prompt for n, prompt in zip(padding, prompts, strict=True)]
        mask = [[0] * n + [1] * (width - n) for n in padding]
        with torch.inference_mode(), self._weights.under(views, len(prompts), width):
            generated = self._weights.model(views[0]).network.generate(
                torch.tensor(ids, device=self._device).repeat(len(views), 1),
                attention_mask=torch.tensor(mask, device=self._device).repeat(len(views), 1),
                generation_config=self._config(length),
                logits_processor=list(processors),
            )
        tokens: list[list[int]] = generated[:, width:].tolist()
        return [tokens[i : i + len(prompts)] for i in range(0, len(tokens), len(prompts))]

    def _config(self, length: int) -> Any:
        make_config: Any = GenerationConfig
        return make_config(
            max_new_tokens=length,
            do_sample=False,
            num_beams=1,
            pad_token_id=_PAD,
            eos_token_id=sorted(self._ends) or None,
        )

    def until_end(self, tokens: Sequence[int]) -> Ids:
        """`tokens` up to the first one that ends the text."""
        end = next((k for k, token in enumerate(tokens) if token in self._ends), len(tokens))
        return tuple(tokens[:end])


def end_tokens(network: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens with which this model ends a text or, in its chat template, an answer."""
    return ends(getattr(network.generation_config, "eos_token_id", None), tokenizer)
