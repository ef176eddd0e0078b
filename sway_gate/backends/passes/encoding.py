"""Requests -> rows: prompts, chat templates, completions and irrelevant context as the tokens of one tokenizer.

No model runs here. Where a divergence is read along the base's own answer, the answer is handed in.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from sway_gate.backends import adapters
from sway_gate.backends.base import EncodedRequest
from sway_gate.errors import CannotDecide
from sway_gate.measurements import Divergence, Fault, Generation, LogProbs, Request, TeacherForced
from sway_gate.training_data import packaged

Ids = tuple[int, ...]


class Encoder:
    """Of one tokenizer, for a model with a context of `context` tokens and `vocabulary` embeddings."""

    def __init__(self, tokenizer: Any, context: int, vocabulary: int) -> None:
        self._tokenizer, self._context, self._vocabulary = tokenizer, context, vocabulary
        self._prefix = _prefix(tokenizer)

    def answers_needed(self, requests: Sequence[Request]) -> dict[Ids, int]:
        """The prompts that the base must answer before `row` can be made of `requests`, and the most tokens of each
        answer that any of them reads."""
        lengths: dict[Ids, int] = {}
        for r in requests:
            if isinstance(r, Divergence) and (ids := self._bare(r)):
                lengths[ids] = max(lengths.get(ids, 0), r.positions - 1)
        return lengths

    def row(
        self, request: Request, answers: Mapping[Ids, Ids]
    ) -> tuple[EncodedRequest | Fault, str]:
        """As `Backend.encode`, of one request; `answers` as `answers_needed` asks for them."""
        match request:
            case Divergence():
                return self._divergence(request, answers)
            case LogProbs():
                return self._completion(
                    request.prompt, request.completion, request.chat, "logprobs"
                )
            case TeacherForced():
                return self._completion(request.prompt, request.completion, False, "recall")
            case Generation():
                return self._generation(request)

    def _generation(self, request: Generation) -> tuple[EncodedRequest | Fault, str]:
        length = min(request.max_new_tokens, self._context // 2)
        whole = self._prompt(request.prompt, request.chat)
        ids = self._fitted(whole, length)
        if not ids:
            return _without_token(request.prompt), ""
        return EncodedRequest(ids, (len(ids) - 1,), (), "text", length), self._cut_note(
            len(whole) + request.max_new_tokens
        )

    def _bare(self, request: Divergence) -> Ids:
        return self._fitted(self._prompt(request.prompt, request.chat), request.positions - 1)

    def _divergence(
        self, request: Divergence, answers: Mapping[Ids, Ids]
    ) -> tuple[EncodedRequest | Fault, str]:
        """The prompt with the base's greedy answer behind it, read from the prompt's last token on."""
        if not (bare := self._bare(request)):
            return _without_token(request.prompt), ""
        answer = answers[bare][: request.positions - 1]
        ids = self._prompt(request.prompt, request.chat)
        needed, shared = len(ids) + request.positions - 1, 0
        if request.context:
            head, rest = self._around(request.prompt, request.chat)
            needed = len(head) + request.context + len(rest) + request.positions - 1
            room = request.context - max(0, needed - self._context)
            if room > 0:
                shared = len(head) + room
                ids = head + self._stuffing(room) + rest
        ids = self._fitted(ids, request.positions - 1)
        positions = tuple(range(len(ids) - 1, len(ids) + len(answer)))
        row = EncodedRequest(ids + answer, positions, asks=request.divergence, shared=shared)
        return row, self._cut_note(needed)

    def _completion(
        self, prompt: str, completion: str, chat: bool, asks: Literal["logprobs", "recall"]
    ) -> tuple[EncodedRequest | Fault, str]:
        ids, start = self._joined(prompt, completion, chat)
        note = self._cut_note(len(ids))
        if over := max(0, len(ids) - self._context):
            # The prompt gives way first, from its far end; then the completion's end.
            keep = len(self._prefix)
            dropped = min(over, max(0, start - keep))
            ids = (ids[:keep] + ids[keep + dropped :])[: self._context]
            start -= dropped
        first = max(start, 1)
        if first >= len(ids):
            nothing = f"nothing to score in {completion[:60]!r} after {prompt[-60:]!r}; give a longer text"
            return Fault(nothing, "text"), ""
        return EncodedRequest(ids, tuple(range(first - 1, len(ids) - 1)), ids[first:], asks), note

    def _joined(self, prompt: str, completion: str, chat: bool) -> tuple[Ids, int]:
        """Tokens of both, and where the completion's start: of the joint text, where that begins with the prompt's."""
        text, prefix = (self._rendered(prompt), ()) if chat else (prompt, self._prefix)
        before, joint = self._tokens(text), self._tokens(text + completion)
        if joint[: len(before)] != before or len(joint) == len(before):
            joint = before + self._tokens(completion)
        return prefix + joint, len(prefix) + len(before)

    def _prompt(self, prompt: str, chat: bool) -> Ids:
        return self._tokens(self._rendered(prompt)) if chat else self._prefix + self._tokens(prompt)

    def _rendered(self, prompt: str) -> str:
        """The prompt as the user's turn of a conversation, the assistant's opened. The template writes all special
        tokens itself."""
        turn = [{"role": "user", "content": prompt}]
        try:
            text = self._tokenizer.apply_chat_template(
                turn, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a template is a program of the base's author
            wrong = adapters.one_line(error)
            raise CannotDecide(
                f"the base's chat template fails: {wrong}; set defaults.chat_template: off"
            ) from None
        return str(text)

    def _around(self, prompt: str, chat: bool) -> tuple[Ids, Ids]:
        """What stands before irrelevant context, and what after it: the prompt as a paragraph of its own."""
        if not chat:
            return self._prefix, self._tokens("\n\n" + prompt)
        head, _, tail = self._rendered(prompt).partition(prompt.strip())
        return self._tokens(head), self._tokens("\n\n" + prompt.strip() + tail)

    def _stuffing(self, length: int) -> Ids:
        """The first `length` tokens of neutral prose, told again where it ends: shorter ones begin longer ones."""
        return (self._neutral * (length // len(self._neutral) + 1))[:length]

    @cached_property
    def _neutral(self) -> Ids:
        return self._tokens(packaged.stuffing() + "\n\n")

    def _fitted(self, ids: Ids, room: int) -> Ids:
        """The special tokens and as many of the last tokens as leave `room` in the context."""
        over = len(ids) + room - self._context
        return ids if over <= 0 else self._prefix + ids[len(self._prefix) + over :]

    def _tokens(self, text: str) -> Ids:
        ids = tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if ids and max(ids) >= self._vocabulary:
            raise CannotDecide(
                f"token {max(ids)} is beyond the model's {self._vocabulary}: base and tokenizer do not match"
            )
        return ids

    def _cut_note(self, length: int) -> str:
        return (
            f"cut to the model's context of {self._context} tokens"
            if length > self._context
            else ""
        )


def _without_token(prompt: str) -> Fault:
    return Fault(f"the prompt {prompt!r} has no token to read after; give a longer one", "text")


def _prefix(tokenizer: Any) -> Ids:
    """The special tokens that this tokenizer puts in front of a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = [i for i in range(len(full)) if full[i : i + len(bare)] == bare]
    return tuple(full[: starts[0]]) if starts and bare else ()
