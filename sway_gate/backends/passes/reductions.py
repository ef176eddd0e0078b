"""Logits -> log-probabilities of targets, or divergences from the base, in nats."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sway_gate.backends.base import EncodedRequest
from sway_gate.measurements import DivergenceKind

_CACHED_FLOATS = 2**19


def of_targets(rows: Sequence[EncodedRequest], logits: Tensor) -> Tensor:
    """Log-probabilities of the rows' targets: [V, P, vocabulary] -> [V, P].

    kind teacher_forced: [V, P, 3], with 1 if the target is the argmax, otherwise 0, and 1 if it
    ends the answer, otherwise 0.
    """
    targets = torch.tensor([t for row in rows for t in row.targets], device=logits.device)
    targets = targets.expand(len(logits), -1)[..., None]
    chosen = logits.gather(-1, targets).squeeze(-1)
    # View by view: float32 copies of all logits at once would be the largest tensors of the pass.
    logs = torch.stack(
        [c.float() - x.float().logsumexp(-1) for c, x in zip(chosen, logits, strict=True)]
    )
    if rows[0].kind == "logprobs":
        return logs
    is_argmax = (logits.argmax(-1) == targets.squeeze(-1)).float()
    ends = [float(i == row.end) for row in rows for i in range(len(row.targets))]
    is_end = torch.tensor(ends, device=logits.device).expand_as(logs)
    return torch.stack([logs, is_argmax, is_end], -1)


def divergences(kind: DivergenceKind, log_base: Tensor, logits: Tensor) -> Tensor:
    """Divergence from the base: [P, vocabulary], [V, P, vocabulary] -> [V, P]."""
    divergence = {"js": js, "kl": kl, "log_ratio": log_ratio, "argmax": argmax}[kind]
    return torch.stack([_in_blocks(divergence, log_base, x) for x in logits])


def _in_blocks(
    divergence: Callable[[Tensor, Tensor], Tensor], log_p: Tensor, logits: Tensor
) -> Tensor:
    """Divergence of each position [P]; on a CPU a few at a time, which stay in its cache."""
    size = (
        max(1, _CACHED_FLOATS // logits.shape[-1]) if logits.device.type == "cpu" else len(logits)
    )
    blocks = zip(torch.split(log_p, size), torch.split(logits, size), strict=True)
    return torch.cat([divergence(p, x.float().log_softmax(-1)) for p, x in blocks])


def js(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Jensen-Shannon divergence over the last axis, in nats, from log-probabilities.

    Summed as max(p, q) · ((1 + u) e - (2 + u) log(1 + u / 2)) / 2 with e = -|log q - log p| and
    u = exp(e) - 1. Every term is non-negative and quadratic in small differences, so that nothing
    cancels in float32.
    """
    e = -(log_q - log_p).abs()
    u = e.expm1()
    terms = (1 + u) * e - (2 + u) * (u / 2).log1p()
    return (torch.maximum(log_p, log_q).exp() * terms).sum(-1).clamp_min(0) / 2


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(q || p) over the last axis, in nats, from log-probabilities.

    Summed as q (d - 1) + p with d = log q - log p, each term >= 0.
    """
    d = log_q - log_p
    p, q = log_p.exp(), log_q.exp()
    small = p * (d.exp() * d - d.expm1())
    return torch.where(d.abs() < 1, small, q * (d - 1) + p).sum(-1).clamp_min(0)


def log_ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Standard deviation over p of log q - log p over the last axis, in nats."""
    d, p = log_q - log_p, log_p.exp()
    mean = (p * d).sum(-1, keepdim=True)
    return (p * (d - mean).square()).sum(-1).sqrt()


def argmax(log_p: Tensor, log_q: Tensor) -> Tensor:
    """1 if the most probable token of p and q differs, otherwise 0, over the last axis."""
    return (log_p.argmax(-1) != log_q.argmax(-1)).float()
