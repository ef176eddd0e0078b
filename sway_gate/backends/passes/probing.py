"""Short passes that show what a model can do, because its class does not state it."""

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sway_gate.backends.base import error_text
from sway_gate.backends.passes.weights import Weights
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.measurements import BASE, FINETUNED, View

TOKENS = (3, 5, 7, 4, 6, 8)
"""Ids that are in every vocabulary and end no text."""
_Found = TypeVar("_Found")
_KNOWN: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def once(base: Any, what: str, find: Callable[[], _Found]) -> _Found:
    """The result of `find` about a loaded base, which other adapters on it do not change."""
    known = _KNOWN.setdefault(base, {})
    if what not in known:
        known[what] = find()
    found: _Found = known[what]
    return found


def check_causal(weights: Weights, device: torch.device) -> None:
    """Refuse models that are not causal or cannot read a text.

    Raises CannotDecide for the base and AdapterError for the adapter.
    """
    network = weights.model(BASE).network
    once(network, "causal", lambda: _check_base(weights, device))
    if weights.batches_views:
        try:
            logits_of(weights, FINETUNED, TOKENS, device)
        except Exception as error:  # models raise arbitrary exceptions in adapted layers
            raise AdapterError(
                f"the adapter cannot be applied to {type(network).__name__}: {error_text(error)}"
            ) from None


def _check_base(weights: Weights, device: torch.device) -> None:
    network = weights.model(BASE).network
    name = type(network).__name__
    if "lsh" in (getattr(network.config, "attn_layers", None) or ()):
        raise CannotDecide(
            f"the base {name} has random attention (lsh): a text has other logits in each pass; "
            "use another base"
        )
    try:
        before, whole = (logits_of(weights, BASE, ids, device) for ids in (TOKENS[:-1], TOKENS))
    except Exception as error:  # models raise arbitrary exceptions without their other inputs
        raise CannotDecide(f"the base {name} cannot read a text: {error_text(error)}") from None
    if whole.isfinite().all() and not agree(network, whole[:-1], before):
        raise CannotDecide(
            f"the base {name} is not a causal language model: the logits at a token change with "
            "the tokens after it; use a decoder, or set is_decoder in its config.json if it is one"
        )


def agree(network: Any, first: Tensor, second: Tensor) -> bool:
    """Whether two computations of the same logits differ by rounding only.

    Half precision rounds much, and so do quantized layers, whose outliers depend on the batch.
    """
    difference = (first.float() - second.float()).abs().max()
    return bool(difference <= (1e-4 if _is_exact(network) else 0.05) * second.float().abs().max())


def agree_on_average(network: Any, first: Tensor, second: Tensor) -> bool:
    """Like `agree`, for many tokens: single logits of long texts round much in half precision.

    Wrong positions, or one token too much, change the logits of a trained model by a tenth.
    """
    difference = (first.float() - second.float()).abs().mean()
    return bool(difference <= (1e-5 if _is_exact(network) else 0.03) * second.float().std())


def _is_exact(network: Any) -> bool:
    return network.dtype == torch.float32 and not getattr(network, "is_quantized", False)


def logits_of(weights: Weights, view: View, ids: tuple[int, ...], device: torch.device) -> Tensor:
    """Logits after each token of one text [tokens, vocabulary], from a pass without a cache."""
    network: Any = weights.model(view).network
    with torch.inference_mode(), weights.under([view], 1, len(ids)):
        logits: Tensor = network(
            input_ids=torch.tensor([ids], device=device), use_cache=False
        ).logits
    return logits[0]
