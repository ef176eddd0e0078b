"""Logits -> log-probabilities of targets, or divergences from the base, in nats."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sway_gate.backends.base import EncodedRequest
from sway_gate.measurements import DivergenceKind

_CACHED_FLOATS, _FLOATS = 2**18, 2**28


def of_targets(rows: Sequence[EncodedRequest], logits: Tensor, entries: Tensor) -> Tensor:
    """Log-probabilities of the rows' targets: [V, D, vocabulary] -> [V, P].

    `entries` [P]: where each target's logits are among the D different ones. kind teacher_forced:
    [V, P, 3], with 1 if the target is the argmax, otherwise 0, and 1 if it ends the answer,
    otherwise 0.
    """
    targets = torch.tensor([t for row in rows for t in row.targets], device=logits.device)
    totals = torch.stack([_in_blocks(_total, x) for x in logits])
    logs = logits[:, entries, targets].float() - totals[:, entries]
    if rows[0].kind == "logprobs":
        return logs
    is_argmax = (logits.argmax(-1)[:, entries] == targets).float()
    ends = [float(i == row.end) for row in rows for i in range(len(row.targets))]
    is_end = torch.tensor(ends, device=logits.device).expand_as(logs)
    return torch.stack([logs, is_argmax, is_end], -1)


def log_probs(logits: Tensor) -> Tensor:
    """Log-probabilities in float32: [P, vocabulary] -> [P, vocabulary]."""
    found = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    size = _positions(logits)
    for part, x in zip(torch.split(found, size), torch.split(logits, size), strict=True):
        torch.log_softmax(x.float(), -1, out=part)
    return found


def divergences(kind: DivergenceKind, log_base: Tensor, logits: Tensor) -> Tensor:
    """Divergence from the base: [P, vocabulary], [V, P, vocabulary] -> [V, P]."""
    divergence = {"js": js, "kl": kl, "log_ratio": log_ratio, "argmax": argmax}[kind]

    def of_block(x: Tensor, log_p: Tensor) -> Tensor:
        return divergence(log_p, x.log_softmax(-1))

    return torch.stack([_in_blocks(of_block, x, log_base) for x in logits])


def _total(logits: Tensor) -> Tensor:
    """The logarithm of the sum of exponentials over the last axis."""
    return logits.logsumexp(-1)


def _in_blocks(reduce: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
    """`reduce` of the logits in float32 and the `others` [P, vocabulary], for each position [P].

    A few positions at a time: float32 copies of all logits would be the largest tensors of a pass.
    """
    size = _positions(logits)
    blocks = zip(*(torch.split(x, size) for x in (logits, *others)), strict=True)
    return torch.cat([reduce(x.float(), *rest) for x, *rest in blocks])


def _positions(logits: Tensor) -> int:
    """Positions at a time: on a CPU as many as stay in its cache."""
    is_on_cpu = logits.device.type == "cpu"
    return max(1, (_CACHED_FLOATS if is_on_cpu else _FLOATS) // logits.shape[-1])


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
