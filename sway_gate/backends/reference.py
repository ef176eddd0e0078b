"""peft's own answer to a short text: the adapter's view must give the same log-probabilities."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sway_gate.errors import CannotDecide
from sway_gate.training_data import packaged

_TOKENS, _CHARACTERS = 32, 500
# In nats. Merging rounds each weight, an adapter on its own does not.
_ROUNDING = {torch.float32: 1e-3, torch.float16: 0.1}
_COARSE_ROUNDING = 0.5


class Reference(NamedTuple):
    """Token ids [1, T] and the log-probabilities [T - 1] that peft's model gives to them."""

    ids: Tensor
    log_probs: Tensor

    def difference(self, network: Any) -> float:
        """The largest difference of the model's log-probabilities, in nats.

        Raises CannotDecide if it is larger than rounding.
        """
        largest = float((log_probs(network, self.ids) - self.log_probs).abs().max())
        if not largest <= _ROUNDING.get(network.dtype, _COARSE_ROUNDING):
            raise CannotDecide(
                f"the adapter's log-probabilities differ from peft's by {largest:.2g} nats; "
                "report this adapter to sway-gate"
            )
        return largest


def of(network: Any, ids: Tensor) -> Reference | None:
    """The reference by peft's model; None if it computes NaN or Inf, which a run reports."""
    expected = log_probs(network, ids)
    return Reference(ids, expected) if torch.isfinite(expected).all() else None


def text(tokenizer: Any) -> list[int]:
    """Token ids of a few dozen tokens of ordinary text."""
    ids: list[int] = tokenizer(packaged.stuffing()[:_CHARACTERS])["input_ids"][:_TOKENS]
    return ids


def log_probs(network: Any, ids: Tensor) -> Tensor:
    """The log-probability of each token after the first one [T - 1], on the CPU."""
    with torch.inference_mode():
        logits: Tensor = network(input_ids=ids, use_cache=False).logits[0, :-1].double().cpu()
        return logits.log_softmax(-1).gather(-1, ids[0, 1:, None].cpu())[:, 0]
