"""Encodes requests with one tokenizer: prompts, chat templates, completions, irrelevant context.

No model runs here: the base's answers, which some requests need, are arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Any, assert_never

import numpy as np

from sway_gate.backends.base import AnswerKind, EncodedRequest, Store
from sway_gate.backends.passes.rendering import Refused, Renderer
from sway_gate.conversation import (
    Conversation,
    Message,
    Prompt,
    asked,
    completion_text,
    prompt_text,
)
from sway_gate.errors import CannotDecide
from sway_gate.measurements import (
    BASE,
    AlongAnswer,
    Divergence,
    Fault,
    Generation,
    LogProbs,
    Request,
    TeacherForced,
)
from sway_gate.training_data import packaged

Ids = tuple[int, ...]
_KEPT_TEXTS = 8192
"""Requests share texts, and so do the adapters of a base that use its tokenizer."""


def with_stored(
    lengths: Mapping[Ids, int],
    store: Store | None,
    generate: Callable[[Mapping[Ids, int]], Mapping[Ids, Ids]],
) -> dict[Ids, Ids]:
    """The base's answer to each prompt, with at most `lengths[prompt]` tokens.

    Answers that `store` lacks are generated and added to it.
    """
    if store is None:
        return dict(generate(lengths))
    keys = {prompt: f"base answer of {n} tokens to {prompt}" for prompt, n in lengths.items()}
    found = {prompt: store.get(str(BASE), key) for prompt, key in keys.items()}
    known = {prompt: tuple(map(int, ids)) for prompt, ids in found.items() if ids is not None}
    new = generate({prompt: n for prompt, n in lengths.items() if prompt not in known})
    for prompt, answer in new.items():
        store.put(str(BASE), keys[prompt], np.array(answer, dtype=np.float64))
    return {**known, **new}


class Encoder:
    """Encodes for a model with a context of `context` tokens and `vocabulary` embeddings.

    `ends`: the tokens that end an answer.
    """

    def __init__(
        self, tokenizer: Any, context: int, vocabulary: int, ends: frozenset[int] = frozenset()
    ) -> None:
        self._tokenizer, self._context, self._vocabulary = tokenizer, context, vocabulary
        self._ends, self._renderer = ends | {tokenizer.eos_token_id}, Renderer(tokenizer)
        self.prefix = _prefix(tokenizer)

    def answers_needed(self, requests: Sequence[Request]) -> dict[Ids, int]:
        """The prompts that the base must answer before `encode`, and the maximum tokens of each."""
        lengths: dict[Ids, int] = {}
        for r in requests:
            if isinstance(r, AlongAnswer):
                with suppress(Refused):  # `encode` reports it
                    ids = self._bare(r)
                    lengths[ids] = max(lengths.get(ids, 0), r.positions - 1)
        lengths.pop((), None)
        return lengths

    def encode(
        self, request: Request, answers: Mapping[Ids, Ids]
    ) -> tuple[EncodedRequest | Fault, str]:
        """Encode one request as `Backend.encode` does; `answers`: those that it needs."""
        try:
            return self._encoded(request, answers)
        except Refused as refused:
            return Fault(str(refused), "text"), ""

    def _encoded(
        self, request: Request, answers: Mapping[Ids, Ids]
    ) -> tuple[EncodedRequest | Fault, str]:
        match request:
            case Divergence():
                return self._along_answer(request, request.divergence, answers)
            case LogProbs():
                return self._completion(request, "logprobs")
            case TeacherForced():
                return self._completion(request, "teacher_forced")
            case Generation():
                return self._generation(request)
            case _:
                assert_never(request)

    def _generation(self, request: Generation) -> tuple[EncodedRequest | Fault, str]:
        length = min(request.max_new_tokens, self._context // 2)
        whole = self._prompt(request.prompt)
        ids = self._fitted(whole, length)
        if not ids:
            return _without_token(request.prompt), ""
        note = self._cut_note(len(whole) + request.max_new_tokens)
        return EncodedRequest(ids, (len(ids) - 1,), (), "text", length), note

    def _bare(self, request: AlongAnswer) -> Ids:
        return self._fitted(self._prompt(request.prompt), request.positions - 1)

    def _along_answer(
        self, request: AlongAnswer, kind: AnswerKind, answers: Mapping[Ids, Ids]
    ) -> tuple[EncodedRequest | Fault, str]:
        """The prompt and the base's greedy answer, measured from the prompt's last token on."""
        if not (bare := self._bare(request)):
            return _without_token(request.prompt), ""
        answer = answers[bare][: request.positions - 1]
        ids = self._prompt(request.prompt)
        needed, prefix_len = len(ids) + request.positions - 1, 0
        if request.context:
            head, rest = self._around(request.prompt)
            needed = len(head) + request.context + len(rest) + request.positions - 1
            room = request.context - max(0, needed - self._context)
            if room > 0:
                prefix_len = len(head) + room
                ids = head + self._stuffing(room) + rest
        ids = self._fitted(ids, request.positions - 1)
        positions = tuple(range(len(ids) - 1, len(ids) + len(answer)))
        row = EncodedRequest(ids + answer, positions, kind=kind, prefix_len=prefix_len)
        return row, self._cut_note(needed)

    def _completion(
        self, request: LogProbs | TeacherForced, kind: AnswerKind
    ) -> tuple[EncodedRequest | Fault, str]:
        ids, start, end = self._scored(request)
        note = self._cut_note(len(ids))
        if over := max(0, len(ids) - self._context):
            # The beginning of the prompt is cut first, then the end of the completion.
            keep = len(self.prefix)
            dropped = min(over, max(0, start - keep))
            ids = (ids[:keep] + ids[keep + dropped :])[: self._context]
            start, end = start - dropped, end - dropped
        first = max(start, 1)
        if first >= len(ids):
            return _nothing_to_score(request), ""
        positions = tuple(range(first - 1, len(ids) - 1))
        end_index = end - first if first <= end < len(ids) else -1
        # No token is predicted after the last one.
        return EncodedRequest(ids[:-1], positions, ids[first:], kind, end=end_index), note

    def _scored(self, request: LogProbs | TeacherForced) -> tuple[Ids, int, int]:
        """All tokens, the index of the first scored one and of the one that ends the answer.

        As in trl's SFTTrainer, the answer begins at the first token that differs from the prompt's
        tokens, and includes all tokens after it. Without an end of the answer its index is the
        number of tokens.
        """
        before, ids = self._with_answer(request)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(before, ids, strict=False))
        start = sum(1 for _ in same)
        is_ended = request.end or isinstance(request.completion, Message)
        return ids, start, self._end_of(ids, start) if is_ended else len(ids)

    def _with_answer(self, request: LogProbs | TeacherForced) -> tuple[Ids, Ids]:
        """The tokens of the prompt, and of the prompt with its answer."""
        prompt, answer = request.prompt, request.completion
        if isinstance(answer, Message):
            prompt = asked(prompt) if isinstance(prompt, str) else prompt
            whole = Conversation((*prompt.messages, answer), prompt.tools, prompt.options)
            return self._prompt(prompt), self._tokens(self._renderer.text(whole, is_complete=True))
        end = str(getattr(self._tokenizer, "eos_token", None) or "") if request.end else ""
        answer += "" if answer.endswith(end) else end
        if isinstance(prompt, str):
            read = self._trained if request.end else self._prompt
            return read(prompt), read(prompt + answer)
        text = self._renderer.text(prompt)
        return self._tokens(text), self._tokens(text + answer)

    def _end_of(self, ids: Ids, start: int) -> int:
        """The index of the first end token of those that, with white space, end `ids`."""
        end = len(ids)
        for i in reversed(range(start, len(ids))):
            if ids[i] in self._ends:
                end = i
            elif self._tokenizer.decode([ids[i]]).strip():
                break
        return end

    def _prompt(self, prompt: Prompt) -> Ids:
        if isinstance(prompt, Conversation):
            return self._tokens(self._renderer.text(prompt))
        return self.prefix + self._tokens(prompt)

    def _trained(self, text: str) -> Ids:
        """Plain text with all special tokens that the tokenizer adds, as in training."""
        return self._checked(_token_ids(self._tokenizer, text, special=True))

    def _around(self, prompt: Prompt) -> tuple[Ids, Ids]:
        """The tokens before and after irrelevant context; the prompt is a separate paragraph.

        In a conversation, the context comes before the last message.
        """
        if isinstance(prompt, str):
            return self.prefix, self._tokens("\n\n" + prompt)
        head, rest = self._renderer.around(prompt)
        return self._tokens(head), self._tokens("\n\n" + rest)

    def _stuffing(self, length: int) -> Ids:
        """The first `length` tokens of neutral prose, repeated if it is too short."""
        return (self._neutral * (length // len(self._neutral) + 1))[:length]

    @cached_property
    def _neutral(self) -> Ids:
        return self._tokens(packaged.stuffing() + "\n\n")

    def _fitted(self, ids: Ids, room: int) -> Ids:
        """The special tokens and the last tokens that leave `room` in the context."""
        over = len(ids) + room - self._context
        return ids if over <= 0 else self.prefix + ids[len(self.prefix) + over :]

    def _tokens(self, text: str) -> Ids:
        return self._checked(_token_ids(self._tokenizer, text, special=False))

    def _checked(self, ids: Ids) -> Ids:
        if ids and max(ids) >= self._vocabulary:
            raise CannotDecide(
                f"token {max(ids)} is outside the model's vocabulary of {self._vocabulary}: "
                "base and tokenizer do not match"
            )
        return ids

    def _cut_note(self, length: int) -> str:
        fits = length <= self._context
        return "" if fits else f"cut to the model's context of {self._context} tokens"


@lru_cache(_KEPT_TEXTS)
def _token_ids(tokenizer: Any, text: str, *, special: bool) -> Ids:
    return tuple(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])


def _nothing_to_score(request: LogProbs | TeacherForced) -> Fault:
    answer, prompt = completion_text(request.completion)[:60], prompt_text(request.prompt)[-60:]
    if isinstance(request.completion, Message) and not answer:
        return Fault(
            f"the chat template writes no end of turn after an empty answer to {prompt!r}; "
            "let it end each answer, or set defaults.chat_template: off in a spec",
            "text",
        )
    return Fault(f"no token to score in {answer!r} after {prompt!r}; give a longer text", "text")


def _without_token(prompt: Prompt) -> Fault:
    return Fault(f"the prompt {prompt_text(prompt)!r} has no token; give a longer one", "text")


def _prefix(tokenizer: Any) -> Ids:
    """The special tokens that this tokenizer puts before a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = [i for i in range(len(full)) if full[i : i + len(bare)] == bare]
    return tuple(full[: starts[0]]) if starts and bare else ()
