"""Compares a server with the adapter by what both write: for servers without log-probabilities.

Samples show less than scores. They pass only if the same number of samples excludes the base: if
the server serves the base, that happens with probability `LEVEL` at most, and if it serves the
adapter, a difference is found with probability `LEVEL` at most.
"""

from functools import cached_property
from typing import NamedTuple

from sway_gate.backends.loading import Source
from sway_gate.backends.plain_model import PlainModel
from sway_gate.errors import CannotDecide
from sway_gate.serving.mmd import Samples, two_sample
from sway_gate.serving.reference import Reference
from sway_gate.serving.server import Server
from sway_gate.serving.verdict import Name
from sway_gate.static.mlx import is_mlx

LEVEL = 0.01
_EACH, _TOKENS = 8, 16
_CHARACTERS = 2 * _TOKENS
"""The beginning that is compared: shorter than a text of `_TOKENS`, which servers can count in
another way."""


class Sampled(NamedTuple):
    """The comparison of one server by samples.

    `p`, `p_of_base`: of the two-sample tests against the adapter and against the base. `reason`:
    why scores are not compared. `formats`: what differs in template and tokenizer.
    """

    name: Name
    p: float
    p_of_base: float
    prompts: int
    each: int
    reason: str
    formats: tuple[str, ...] = ()


class Drawn:
    """Samples of the adapter and of its base, drawn once."""

    def __init__(self, source: Source, reference: Reference) -> None:
        self._source, self.reference = source, reference

    @cached_property
    def models(self) -> tuple[Samples, Samples]:
        """The adapter's and the base's. Raises CannotDecide."""
        if is_mlx(self._source.adapter):
            raise CannotDecide("an MLX adapter cannot be compared by samples; save it with peft")
        model = PlainModel(self._source)
        base = self._samples(model, 1)
        model.merge(self._source)
        return self._samples(model, 2), base

    def _samples(self, model: PlainModel, seed: int) -> Samples:
        prompts = [passage.ids[: passage.start] for passage in self.reference.passages]
        texts = model.sample(prompts, _EACH, _TOKENS, self.reference.tokenizer, seed)
        return _beginnings(texts)


def by_samples(server: Server, drawn: Drawn, reason: str) -> Sampled:
    """Compare a server's samples with the adapter's and the base's. Raises CannotDecide."""
    passages = drawn.reference.passages
    served = _beginnings(server.samples(passages, _EACH, _TOKENS))
    if not _varies(served) and _varies(drawn.models[0]):
        raise CannotDecide(
            f"{server.label} writes the same text at each request; "
            "let it draw texts at temperature 1"
        )
    p, p_of_base = (two_sample(served, own).p for own in drawn.models)
    name = verdict(p, p_of_base)
    formats = server.notes(drawn.reference.tokenizer, passages)
    if formats and name == "same by samples":
        name = "template differs"
    return Sampled(name, p, p_of_base, len(passages), _EACH, reason, formats)


def verdict(p: float, p_of_base: float) -> Name:
    """The verdict of the two tests."""
    if p > LEVEL:
        return "same by samples" if p_of_base <= LEVEL else "undecided"
    return "different by samples" if p_of_base <= LEVEL else "adapter not applied"


def _varies(texts: Samples) -> bool:
    return any(len(set(of_prompt)) > 1 for of_prompt in texts)


def _beginnings(texts: Samples) -> Samples:
    """Without outer white space and an unfinished character, which some servers remove."""
    return [[t.rstrip("\ufffd").strip()[:_CHARACTERS] for t in own] for own in texts]
