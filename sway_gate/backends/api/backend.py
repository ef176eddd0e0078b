"""Two models on a server as a backend.

It has no null adapters and no scales, and sees a part of each distribution.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from sway_gate.backends.api.bounds import Top, divergence, is_distribution, mass
from sway_gate.backends.api.client import at_once
from sway_gate.backends.api.completions import Sent, ServedModel, Support
from sway_gate.backends.api.texts import Encoded, Texts
from sway_gate.backends.api.tokens import Token
from sway_gate.backends.base import Capability, EncodedRequest, Facts, PassResult, Store
from sway_gate.conversation import Prompt, asked, prompt_text
from sway_gate.errors import CannotDecide
from sway_gate.measurements import (
    Answer,
    Divergence,
    DivergenceKind,
    Fault,
    Floats,
    LogProbs,
    Request,
    TeacherForced,
    View,
)

_ROWS = 16
"""Requests of one pass, after which the progress is reported."""
_MAX_GAP_NATS, _TIE = 0.5, 1e-9
_QUESTION, _ANSWER = "The capital of France is", " Paris."
_WRONG_TOKENS = "the server gives the log-probabilities of such a prompt to the wrong tokens"
_NO_SCORES = "the server does not score prompts"
_FIRST_ONLY = "read only at the first position after the prompt"
_Found = TypeVar("_Found")


class ApiBackend:
    """`models`: base and fine-tuned model. `support`: what both give.

    `has_template`: whether prompts can go through a chat template.
    """

    batches_views = True
    pack_limit = 0

    def __init__(
        self,
        models: tuple[ServedModel, ServedModel],
        support: Support,
        texts: Texts,
        notes: tuple[str, ...],
        *,
        has_template: bool,
    ) -> None:
        self._models = dict(zip(("base", "finetuned"), models, strict=True))
        self._support, self._texts, self._notes = support, texts, notes
        self._masses: list[float] = []
        self._names: dict[Prompt, list[str]] = {}
        self.facts = self._facts()
        forms: list[Prompt] = [_QUESTION, *([asked(_QUESTION)] if has_template else [])]
        self._scored_forms = {
            type(prompt)
            for prompt in forms
            if support.scores_prompts
            and all(self._puts_scores_on_their_tokens(model, prompt) for model in models)
        }

    @property
    def capabilities(self) -> frozenset[Capability]:
        found: set[Capability] = {"generation"}
        if self._support.top:
            found.add("divergences")
        if self._scored_forms:
            found |= {"log_probs", "teacher_forced"}
        return frozenset(found)

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        return len(rows)

    def budget(self) -> int:
        return _ROWS

    def unused_modules(self) -> tuple[str, ...]:
        return ()

    # Encoding

    def encode(self, requests: Sequence[Request], store: Store | None = None) -> list[Encoded]:
        given = [self._within_support(request) for request in requests]
        encoded = self._texts.encode(given, store, self._base_texts)
        return [
            self._or_unscored(request, found, is_cut=request != sent)
            for request, sent, found in zip(requests, given, encoded, strict=True)
        ]

    def _within_support(self, request: Request) -> Request:
        """The request; of a divergence along texts that are not scored, its first position."""
        if isinstance(request, Divergence) and not self._is_scored(request):
            return replace(request, positions=1)
        return request

    def _is_scored(self, request: Request) -> bool:
        return type(request.prompt) in self._scored_forms

    def _or_unscored(self, request: Request, encoded: Encoded, *, is_cut: bool) -> Encoded:
        if isinstance(request, LogProbs | TeacherForced) and not self._is_scored(request):
            return Fault(f"{_WRONG_TOKENS}: {prompt_text(request.prompt)!r:.80}", "text"), ""
        if is_cut:
            gives = _WRONG_TOKENS if self._support.scores_prompts else _NO_SCORES
            return encoded[0], f"{_FIRST_ONLY}: {gives}"
        return encoded

    def _base_texts(self, wanted: Sequence[tuple[Sent, int]]) -> list[str]:
        return at_once(lambda pair: self._models["base"].text(*pair), wanted)

    def _puts_scores_on_their_tokens(self, model: ServedModel, prompt: Prompt) -> bool:
        """Whether a prompt's tokens have the log-probabilities that they have when generated.

        Some servers shift them by one token.
        """
        answer = _ANSWER if isinstance(prompt, str) else _ANSWER.strip()
        [(row, _)] = self._texts.encode([LogProbs(prompt, answer)], None, self._base_texts)
        if isinstance(row, Fault):
            return False
        tokens = self._texts.measured(row, model.scored(self._texts.sent(row), 1)) or []
        self._check_names(prompt, [token.text for token in tokens])
        best = tokens[0].best if tokens else None
        generated = model.next_token(self._texts.head(row), 1).best
        return best is not None and generated is not None and abs(best - generated) < _MAX_GAP_NATS

    def _check_names(self, prompt: Prompt, names: list[str]) -> None:
        """Check that both servers write tokens in one way: they are compared by name."""
        if self._names.setdefault(prompt, names) != names:
            raise CannotDecide(
                f"{self._models['finetuned'].label} writes tokens in another way than the base's "
                "server; serve both models on one server"
            )

    # Passes

    def forward(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        base_log_probs: Sequence[Any] | None = None,
    ) -> PassResult:
        kind = rows[0].kind
        pairs = [(view, row) for view in views for row in rows]
        if kind == "text":
            return PassResult(_by_view(at_once(self._text, pairs), len(rows)))
        if kind == "logprobs" or kind == "teacher_forced":
            return PassResult(_by_view(at_once(self._scores, pairs), len(rows)))
        tops = _by_view(at_once(self._tops, pairs), len(rows))
        if base_log_probs is None:
            base_log_probs = tops[0]
            self._masses += [mass(t) for row in tops[0] if isinstance(row, list) for t in row]
            self.facts = self._facts()
        answers: list[list[Answer | Fault]] = [
            [_divergence(kind, b, own) for b, own in zip(base_log_probs, of_view, strict=True)]
            for of_view in tops
        ]
        return PassResult(answers, base_log_probs)

    def _text(self, pair: tuple[View, EncodedRequest]) -> Answer | Fault:
        view, row = pair
        return self._models[view.source].text(self._texts.sent(row), row.length)

    def _scores(self, pair: tuple[View, EncodedRequest]) -> Answer | Fault:
        """Log-probabilities of the measured tokens; teacher_forced: with matches and ends."""
        view, row = pair
        model = self._models[view.source]
        tokens = self._measured(model, row)
        if isinstance(tokens, Fault):
            return tokens
        found = [
            (token.log_prob, token.log_prob >= token.best - _TIE)
            for token in tokens
            if token.log_prob is not None and token.best is not None
        ]
        if len(found) < len(tokens):
            raise CannotDecide(f"{model.label} gives a log-probability that is not one")
        columns = np.array(found, dtype=np.float64)
        if row.kind == "logprobs":
            return columns[:, 0]
        return np.column_stack([columns, np.arange(len(columns)) == row.end])

    def _tops(self, pair: tuple[View, EncodedRequest]) -> list[Top] | Fault:
        """The most probable tokens at each measured position."""
        view, row = pair
        model = self._models[view.source]
        tokens: list[Token] | Fault
        if self._texts.is_single(row):
            tokens = [model.next_token(self._texts.head(row), self._support.top)]
        else:
            tokens = self._measured(model, row)
        if isinstance(tokens, Fault):
            return tokens
        if not all(is_distribution(token.top) for token in tokens):
            raise CannotDecide(f"{model.label} gives probabilities that cannot be ones of a token")
        return [token.top for token in tokens]

    def _measured(self, model: ServedModel, row: EncodedRequest) -> list[Token] | Fault:
        sent = self._texts.sent(row)
        found = self._texts.measured(row, model.scored(sent, self._support.top))
        if found:
            return found
        return Fault(f"the server splits a text into other tokens: {sent!r:.80}", "text")

    def _facts(self) -> Facts:
        bounds = (
            f"divergences are lower bounds: the server gives the {self._support.top} most probable "
            f"tokens, {np.mean(self._masses):.0%} of the base's probability; the others count as "
            "one outcome"
            for _ in self._masses[:1]
        )
        return Facts("server", "", "loose", (*self._notes, *bounds))


def _by_view(answers: Sequence[_Found], rows: int) -> list[list[_Found]]:
    return [list(answers[i : i + rows]) for i in range(0, len(answers), rows)]


def _divergence(
    kind: DivergenceKind, base: list[Top] | Fault, own: list[Top] | Fault
) -> Floats | Fault:
    """At each position that both models have: a text can end earlier under one of them."""
    if isinstance(base, Fault):
        return base
    if isinstance(own, Fault):
        return own
    return np.array([divergence(kind, b, o) for b, o in zip(base, own, strict=False)])
