"""Differences between two tokenizers: special tokens, token ids and the rendered chat template."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sway_gate.backends.passes.rendering import Refused, Renderer
from sway_gate.conversation import Conversation, Message
from sway_gate.errors import CannotDecide
from sway_gate.text import cut, one_line

_TALKS = (
    Conversation((Message("user", "What is the time?"),)),
    Conversation((Message("system", "Be brief."), Message("user", "What is the time?"))),
    Conversation(
        (
            Message("user", "What is the time?"),
            Message("assistant", "Noon."),
            Message("user", "And in an hour?"),
        )
    ),
)
_REFUSED = "(refused)"
_SHOWN = 40


class Format(NamedTuple):
    """How an artefact turns conversations into tokens; None if it does not say."""

    tokenize: Callable[[str], Sequence[int]] | None = None
    """The token ids of a text whose special tokens are written out."""
    template: str | None = None
    """The chat template, "" if there is none."""
    bos: int | None = None
    eos: frozenset[int] = frozenset()


def of_tokenizer(tokenizer: Any) -> Format:
    """The format of a tokenizer of transformers."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return Format(
        lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        template or "",
        tokenizer.bos_token_id,
        frozenset(() if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)),
    )


def differences(tokenizer: Any, served: Format, texts: Sequence[str]) -> tuple[str, ...]:
    """One line per difference between the adapter's tokenizer and the artefact's format."""
    return tuple(_differences(tokenizer, served, texts))


def _differences(tokenizer: Any, served: Format, texts: Sequence[str]) -> Iterator[str]:
    trained = of_tokenizer(tokenizer)
    if trained.template and served.template == "":
        yield "it has no chat template; the adapter was trained with one"
    elif trained.template and served.template is not None:
        yield from _rendered_otherwise(tokenizer, served.template)
    if served.tokenize is not None:
        other = [text for text in texts if [*served.tokenize(text)] != [*_ids(trained, text)]]
        if other:
            yield f"it splits {len(other)} of {len(texts)} texts into other tokens"
    if served.bos is not None and trained.bos is not None and served.bos != trained.bos:
        yield f"its first token of a text is {served.bos}, not {trained.bos}"
    turn_end = Renderer(tokenizer).turn_end() if trained.template else None
    if served.eos and not served.eos & (trained.eos | {turn_end}):
        yield f"it ends answers with token {min(served.eos)}, not {min(trained.eos, default=0)}"


def _ids(trained: Format, text: str) -> Sequence[int]:
    return trained.tokenize(text) if trained.tokenize else ()


def _rendered_otherwise(tokenizer: Any, template: str) -> Iterator[str]:
    """The first place where the templates differ, if they do."""
    for talk in _TALKS:
        ours, theirs = _render(tokenizer, talk), _render(_with(tokenizer, template), talk)
        if ours != theirs:
            at = _first_difference(ours, theirs)
            there, here = _shown(theirs, at), _shown(ours, at)
            yield f"its chat template writes {there} where the adapter's writes {here}"
            return


def _first_difference(a: str, b: str) -> int:
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def _with(tokenizer: Any, template: str) -> Any:
    other = copy.copy(tokenizer)
    other.chat_template, other.template_file = template, ""
    return other


def _render(tokenizer: Any, talk: Conversation) -> str:
    try:
        return Renderer(tokenizer).text(talk)
    except (Refused, CannotDecide):
        return _REFUSED


def _shown(text: str, at: int) -> str:
    return repr(cut(one_line(text[max(0, at - 10) : at + _SHOWN]) or "nothing", _SHOWN))
