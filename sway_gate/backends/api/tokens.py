"""Tokens of a completion with their log-probabilities, and the position of each in a text."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sway_gate.text import is_number

_LEAST_LOG_PROB, _ROUNDING_NATS = -1e6, 1e-3
_BROKEN = "\ufffd"
"""Stands for bytes of a token that are not a whole character."""


class Token(NamedTuple):
    """A token of an answer, with the log-probabilities of the most probable tokens at its place.

    `log_prob` is None and `top` empty if the server gives none, or numbers that cannot be one.
    """

    text: str
    log_prob: float | None
    top: Mapping[str, float]

    @property
    def best(self) -> float | None:
        """The log-probability of the most probable token."""
        return max(self.top.values(), default=None)


def tokens_of(answer: Any) -> list[Token] | None:
    """The tokens of a completion; None if it has no log-probabilities."""
    try:
        given = answer["choices"][0]["logprobs"]
        fields = zip(given["tokens"], given["token_logprobs"], given["top_logprobs"], strict=True)
        return [Token(str(text), log_prob(value), _top(top)) for text, value, top in fields]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def tokens_by_id(answer: Any, ids: Sequence[int]) -> list[Token] | None:
    """The tokens of the prompt `ids` in `prompt_logprobs` of vLLM; None if the answer has none."""
    try:
        given = answer["choices"][0]["prompt_logprobs"]
        found = [Token("", None, {})]  # no token predicts the first one
        for token, top in zip(ids[1:], given[1:], strict=True):
            by_id = {key: entry["logprob"] for key, entry in top.items()}
            found.append(Token("", log_prob(by_id.get(str(token))), _top(by_id)))
        return found
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def log_prob(value: object) -> float | None:
    """The value if it can be a log-probability."""
    if not is_number(value) or not _LEAST_LOG_PROB <= value <= _ROUNDING_NATS:
        return None
    return min(float(value), 0.0)


def _top(given: Mapping[str, Any] | None) -> Mapping[str, float]:
    """The most probable tokens; empty if one of the numbers cannot be a log-probability."""
    found: dict[str, float] = {}
    for text, value in (given or {}).items():
        if (checked := log_prob(value)) is None:
            return {}
        found[str(text)] = checked
    return found


def is_unclear(text: str) -> bool:
    """Whether several tokens can have this text: a special one, or bytes of a character."""
    return not text or is_broken(text)


def is_broken(text: str) -> bool:
    """Whether the text has bytes that are not a whole character."""
    return _BROKEN in text


def places(text: str, tokens: Sequence[Token]) -> list[int] | None:
    """Where each token begins in `text`, in characters, and the end; None if they do not match.

    Tokens after the end of the text are left out. A token of which bytes are missing is as long as
    its text at most; a special token before the text has no length.
    """
    found: list[int] = []
    at, width = 0, 0
    for token in tokens:
        if at == len(text) and not width:
            break
        is_first = not found and token.log_prob is None and not text.startswith(token.text)
        if is_unclear(token.text) or is_first:
            found.append(at)
            width += 0 if is_first else len(token.text)
            continue
        candidates = range(at, at + width + 1)
        start = next((i for i in candidates if text.startswith(token.text, i)), None)
        if start is None:
            break
        found.append(start)
        at, width = start + len(token.text), 0
    return [*found, len(text)] if at + width >= len(text) else None
