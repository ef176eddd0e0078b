"""Encodes requests with one tokenizer: prompts, chat templates, completions, irrelevant context.

No model runs here: the base's answers, which some requests need, are arguments.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, assert_never

import msgspec

from sway_gate.backends.base import AnswerKind, EncodedRequest, error_text
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


class Encoder:
    """Encodes for a model with a context of `context` tokens and `vocabulary` embeddings."""

    def __init__(self, tokenizer: Any, context: int, vocabulary: int) -> None:
        self._tokenizer, self._context, self._vocabulary = tokenizer, context, vocabulary
        self._prefix = _prefix(tokenizer)
        end = getattr(tokenizer, "eos_token_id", None)
        self._end = end if isinstance(end, int) else None

    def answers_needed(self, requests: Sequence[Request]) -> dict[Ids, int]:
        """The prompts that the base must answer before `encode`, and the maximum tokens of each."""
        lengths: dict[Ids, int] = {}
        for r in requests:
            if isinstance(r, AlongAnswer) and (ids := self._bare(r)):
                lengths[ids] = max(lengths.get(ids, 0), r.positions - 1)
        return lengths

    def encode(
        self, request: Request, answers: Mapping[Ids, Ids]
    ) -> tuple[EncodedRequest | Fault, str]:
        """Encode one request as `Backend.encode` does; `answers`: those that it needs."""
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
            keep = len(self._prefix)
            dropped = min(over, max(0, start - keep))
            ids = (ids[:keep] + ids[keep + dropped :])[: self._context]
            start, end = start - dropped, end - dropped
        first = max(start, 1)
        if first >= len(ids):
            answer, prompt = completion_text(request.completion), prompt_text(request.prompt)
            texts = f"{answer[:60]!r} after {prompt[-60:]!r}"
            return Fault(f"no token to score in {texts}; give a longer text", "text"), ""
        positions = tuple(range(first - 1, len(ids) - 1))
        end_index = end - first if first <= end < len(ids) else -1
        return EncodedRequest(ids, positions, ids[first:], kind, end=end_index), note

    def _scored(self, request: LogProbs | TeacherForced) -> tuple[Ids, int, int]:
        """All tokens, the index of the first scored one and of the one that ends the answer.

        Without an end of the answer its index is the number of tokens.
        """
        prompt, completion = request.prompt, request.completion
        if isinstance(completion, Message):
            return self._answered(_messages(prompt), completion)
        ids, start = self._joined(prompt, completion)
        if request.end and self._end is not None:
            return (*ids, self._end), start, len(ids)
        return ids, start, len(ids)

    def _answered(self, prompt: Conversation, answer: Message) -> tuple[Ids, int, int]:
        """The tokens of a conversation with its answer, as training renders it.

        The answer begins where the tokens differ from those of the prompt alone.
        """
        before = self._tokens(self._rendered(prompt))
        whole = Conversation((*prompt.messages, answer), prompt.tools, prompt.options)
        text = self._rendered(whole, is_complete=True)
        ids = self._tokens(text)
        same = next(
            (i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), len(before)
        )
        return ids, min(same, len(ids)), self._end_of(answer, text, ids)

    def _end_of(self, answer: Message, text: str, ids: Ids) -> int:
        """The index of the token after the answer in the rendered `text`; len(ids) without one."""
        content = (answer.content or "").strip()
        if not content or content not in text:
            return len(ids)
        tail = self._tokens(text[text.rindex(content) + len(content) :])
        return len(ids) - len(tail) if tail and ids[-len(tail) :] == tail else len(ids)

    def _joined(self, prompt: Prompt, completion: str) -> tuple[Ids, int]:
        """The tokens of both texts, and the index of the completion's first token.

        The joint text is tokenised if its tokens begin with the prompt's, otherwise each text.
        """
        text = prompt if isinstance(prompt, str) else self._rendered(prompt)
        prefix = self._prefix if isinstance(prompt, str) else ()
        before, joint = self._tokens(text), self._tokens(text + completion)
        if joint[: len(before)] != before or len(joint) == len(before):
            joint = before + self._tokens(completion)
        return prefix + joint, len(prefix) + len(before)

    def _prompt(self, prompt: Prompt) -> Ids:
        if isinstance(prompt, Conversation):
            return self._tokens(self._rendered(prompt))
        return self._prefix + self._tokens(prompt)

    def _rendered(self, prompt: Conversation, *, is_complete: bool = False) -> str:
        """The messages, followed by the start of the assistant's unless they are complete.

        The template writes all special tokens itself.
        """
        messages = [message.as_dict() for message in prompt.messages]
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=not is_complete,
                tools=msgspec.json.decode(prompt.tools) if prompt.tools else None,
                **(msgspec.json.decode(prompt.options) if prompt.options else {}),
            )
        except Exception as error:  # a template is a program of the base's author
            wrong = error_text(error)
            raise CannotDecide(
                f"the base's chat template fails: {wrong}; set defaults.chat_template: off"
            ) from None
        return str(text)

    def _around(self, prompt: Prompt) -> tuple[Ids, Ids]:
        """The tokens before and after irrelevant context; the prompt is a separate paragraph.

        In a conversation, the context comes before the last message.
        """
        if isinstance(prompt, str):
            return self._prefix, self._tokens("\n\n" + prompt)
        last = prompt.messages[-1].text().strip()
        head, _, tail = self._rendered(prompt).rpartition(last)
        return self._tokens(head), self._tokens("\n\n" + last + tail)

    def _stuffing(self, length: int) -> Ids:
        """The first `length` tokens of neutral prose, repeated if it is too short."""
        return (self._neutral * (length // len(self._neutral) + 1))[:length]

    @cached_property
    def _neutral(self) -> Ids:
        return self._tokens(packaged.stuffing() + "\n\n")

    def _fitted(self, ids: Ids, room: int) -> Ids:
        """The special tokens and the last tokens that leave `room` in the context."""
        over = len(ids) + room - self._context
        return ids if over <= 0 else self._prefix + ids[len(self._prefix) + over :]

    def _tokens(self, text: str) -> Ids:
        ids = tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if ids and max(ids) >= self._vocabulary:
            raise CannotDecide(
                f"token {max(ids)} is outside the model's vocabulary of {self._vocabulary}: "
                "base and tokenizer do not match"
            )
        return ids

    def _cut_note(self, length: int) -> str:
        fits = length <= self._context
        return "" if fits else f"cut to the model's context of {self._context} tokens"


def _messages(prompt: Prompt) -> Conversation:
    """A text before a message is the user's."""
    return asked(prompt) if isinstance(prompt, str) else prompt


def _without_token(prompt: Prompt) -> Fault:
    return Fault(f"the prompt {prompt_text(prompt)!r} has no token; give a longer one", "text")


def _prefix(tokenizer: Any) -> Ids:
    """The special tokens that this tokenizer puts before a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = [i for i in range(len(full)) if full[i : i + len(bare)] == bare]
    return tuple(full[: starts[0]]) if starts and bare else ()
