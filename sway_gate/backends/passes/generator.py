"""Greedy decoding of many prompts under many views in one batch."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig

from sway_gate.backends.base import error_text
from sway_gate.backends.packing import common_beginning
from sway_gate.backends.passes.encoding import Ids
from sway_gate.backends.passes.hooks import Leaving, Watch
from sway_gate.backends.passes.prefix_cache import PrefixCache, cache_argument
from sway_gate.backends.passes.probing import TOKENS, agree, logits_of
from sway_gate.backends.passes.rendering import ends, until_end
from sway_gate.backends.passes.weights import Weights
from sway_gate.errors import CannotDecide
from sway_gate.measurements import BASE, View

_PAD = 0
"""Any token: it follows the end of a text."""
_PROMPTS_AT_ONCE = 64
_FROM_START = ("min_new_tokens", "begin_suppress_tokens", "exponential_decay_length_penalty")
"""Fields of generation_config.json that count from the first token of each call of `generate`."""


class Generated(NamedTuple):
    """The tokens before the end. `is_broken`: the logits of a step had NaN or Inf."""

    tokens: Ids
    is_broken: bool


class Batch(NamedTuple):
    """Texts that are generated together: `ids` and `mask` [texts, tokens], views outermost.

    `texts`: the view of each text, and the index of its prompt.
    """

    texts: tuple[tuple[View, int], ...]
    ids: Tensor
    mask: Tensor
    cache: Any = None

    def after(self, result: Any) -> "Batch":
        """The batch with the tokens of one call of `generate`."""
        ids = result.sequences
        new = ids.shape[1] - self.ids.shape[1]
        mask = torch.nn.functional.pad(self.mask, (0, new), value=1)
        cache = result.get("cache", result.get("past_key_values"))
        return self._replace(ids=ids, mask=mask, cache=cache)

    def needed(self, is_running: Tensor) -> Tensor:
        """Which texts stay if these are running: [texts] -> [texts].

        A pass computes equally many texts under all views except the base. So each of these views
        keeps the prompts that are running under any of them.
        """
        texts = list(zip(self.texts, is_running.tolist(), strict=True))
        running = [text for text, runs in texts if runs and text[0] != BASE]
        views, prompts = {view for view, _ in running}, {prompt for _, prompt in running}
        stays = [
            runs if view == BASE else view in views and prompt in prompts
            for (view, prompt), runs in texts
        ]
        return torch.tensor(stays, dtype=torch.bool, device=self.ids.device)

    def keeping(self, is_running: Tensor) -> "Batch":
        """The batch of the texts that stay if these are running [texts]."""
        stays = self.needed(is_running)
        if stays.all():
            return self
        kept = stays.nonzero().flatten()
        if len(kept) and self.cache is not None:
            self.cache.batch_select_indices(kept)
        texts = tuple(self.texts[i] for i in kept.tolist())
        return Batch(texts, self.ids[kept], self.mask[kept], self.cache)


class Generator:
    """`ends`: the tokens that end a text.

    `limit()`: the longest text in which the model follows positions and a mask, not the number of
    tokens; 0 if it does not. Padding inside a text, after a common beginning, needs that.
    """

    def __init__(
        self,
        weights: Weights,
        ends: frozenset[int],
        prefix: PrefixCache,
        limit: Callable[[], int],
        device: torch.device,
    ) -> None:
        self._weights, self._ends, self._device = weights, ends, device
        self._prefix, self._limit = prefix, limit

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

    @torch.inference_mode()
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
    def can_continue(self) -> bool:
        """Whether generation continues after a cache: of a common prompt, or of unended texts."""
        network = self._weights.model(BASE).network
        settings, inner = network.generation_config, getattr(network, "model", None)
        if hasattr(inner, "rope_deltas") or any(getattr(settings, n, None) for n in _FROM_START):
            return False
        return self.can_batch and self._prefix.reach > 0

    @cached_property
    def can_batch(self) -> bool:
        """Whether the base continues padded prompts, with a cache, as it does one prompt at a time.

        If not, prompts of one length run together, without a cache. Recurrent models read the
        padding, some models count it in their positions, and the cache of others is for one
        sequence.
        """
        prompts = (TOKENS, TOKENS[2:])
        options = {"min_new_tokens": 2, "output_logits": True, "use_cache": True}
        try:
            found = self._run(self._batch([BASE], prompts), 2, **options)
        except Exception:  # models raise arbitrary exceptions for inputs that they cannot combine
            return False
        first = found.sequences[:, len(TOKENS)].tolist()
        alone = [
            logits_of(self._weights, BASE, (*prompt, token), self._device)[-2:]
            for prompt, token in zip(prompts, first, strict=True)
        ]
        network = self._weights.model(BASE).network
        return agree(network, torch.stack(found.logits), torch.stack(alone, 1))

    def shared(self, prompts: Sequence[Ids], length: int) -> int:
        """The number of first tokens that a batch of these prompts reads once per view."""
        is_read_once = self.can_continue and max(map(len, prompts)) + length <= self._limit()
        return common_beginning(prompts) if is_read_once else 0

    def _in_one_batch(
        self, views: Sequence[View], prompts: Sequence[Ids], length: int
    ) -> list[list[Generated]]:
        """Texts that have ended leave the batch."""
        start = max(map(len, prompts))
        batch = self._batch(views, prompts, self.shared(prompts, length))
        found: dict[tuple[View, int], Generated] = {}
        while batch.texts and batch.ids.shape[1] < start + length:
            watch, left = Watch(), start + length - batch.ids.shape[1]
            leaving = Leaving(self._ends, start, batch.needed)
            result = self._run(
                batch,
                left,
                use_cache=self.can_batch,
                logits_processor=[watch],
                stopping_criteria=[leaving] if self.can_continue else None,
            )
            batch = batch.after(result)
            for text, ids, is_broken in zip(
                batch.texts, batch.ids[:, start:].tolist(), watch.broken.tolist(), strict=True
            ):
                was_broken = text in found and found[text].is_broken
                found[text] = Generated(until_end(ids, self._ends), is_broken or was_broken)
            if not self.can_continue:
                break
            batch = batch.keeping(~leaving.ended(batch.ids))
        return [[found[view, i] for i in range(len(prompts))] for view in views]

    def _batch(self, views: Sequence[View], prompts: Sequence[Ids], shared: int = 0) -> Batch:
        """The prompts under each view; their first `shared` tokens are computed once per view."""
        width, prefix = max(map(len, prompts)), prompts[0][:shared]
        # The cache grows at the right end, so the padding is before the rest, under a mask. A base
        # that penalizes repeated tokens sees the padding, so it is a token of the prompt.
        rests = [prompt[len(prefix) :] for prompt in prompts]
        padding = [width - len(prompt) for prompt in prompts]
        ids = [prefix + p[:1] * n + r for p, n, r in zip(prompts, padding, rests, strict=True)]
        before = [1] * len(prefix)
        mask = [before + [0] * n + [1] * len(rest) for n, rest in zip(padding, rests, strict=True)]
        return Batch(
            tuple((view, i) for view in views for i in range(len(prompts))),
            torch.tensor(ids, device=self._device).repeat(len(views), 1),
            torch.tensor(mask, device=self._device).repeat(len(views), 1),
            self._prefix.of(views, prefix, len(prompts)) if prefix else None,
        )

    def _run(self, batch: Batch, length: int, **options: Any) -> Any:
        """The result of the model's own `generate`, one sequence per text.

        Raises CannotDecide if generation_config.json has settings that it cannot use.
        """
        views = [view for view, _ in batch.texts]
        network = self._weights.model(views[0]).network
        cached = {} if batch.cache is None else {cache_argument(network): batch.cache}
        with torch.inference_mode(), self._weights.under(views, 1, batch.ids.shape[1]):
            try:
                found = network.generate(
                    batch.ids,
                    attention_mask=batch.mask,
                    generation_config=self._config(length),
                    return_dict_in_generate=True,
                    **cached,
                    **options,
                )
            # The library merges the model's own settings, which may have any value, into these.
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise CannotDecide(
                    f"the base cannot generate text: {error_text(error)}; correct or remove its "
                    "generation_config.json"
                ) from None
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
