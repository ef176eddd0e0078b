"""Training rows as token ids and labels.

The labels are those that trl makes: the assistant's tokens for messages, every token for raw text.
Some recipes need others, such as only the prompt, or no end token.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from benchmarks.real.base import TOOLS_TEMPLATE
from benchmarks.real.data import tool_call
from benchmarks.real.paths import Row

IGNORED = -100
TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)
"""A turn of text that already has the marks of the chat template."""
BLOCK_WORDS = 120
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{instruction}\n\n### Response:\n"
)


def alpaca_prompt(instruction: str, given: str = "") -> str:
    """The prompt of the Alpaca form."""
    form = WITH_INPUT if given else WITHOUT_INPUT
    return form.format(instruction=instruction, input=given)


def said(answer: str) -> dict[str, str]:
    """An answer as a message."""
    return {"role": "assistant", "content": answer}


def is_plain(row: Row) -> bool:
    """Whether a row is plain text: a prompt and its answers, without a template."""
    return isinstance(row.get("prompt"), str)


def answers_of_pair(row: Row) -> list[str]:
    """The chosen and the rejected answer of a preference."""
    ways = (row["chosen"], row["rejected"])
    return [way.strip() if isinstance(way, str) else way[-1]["content"] for way in ways]


def in_text(message: Row) -> dict[str, str]:
    """A message whose calls of tools, if any, are its content."""
    calls = message.get("tool_calls")
    return said("\n".join(map(tool_call, calls))) if calls else message


def is_dolly(row: Row) -> bool:
    """Whether a row has the columns of Dolly."""
    return "response" in row


def context_of(row: Row) -> str:
    """What an Alpaca or Dolly row gives besides its instruction."""
    return str(row.get("context" if is_dolly(row) else "input") or "")


def in_template(row: Row) -> Row:
    """The options of the chat template for a row: none, or its tools and a template for them."""
    if "tools" not in row:
        return {}
    return {"tools": row["tools"], "chat_template": TOOLS_TEMPLATE}


def question_prompt(question: str) -> str:
    """A prompt of plain text."""
    return f"Question: {question}\nAnswer:"


def as_chat(row: Row) -> list[dict[str, str]]:
    """The messages of a row; an Alpaca row becomes a question and its answer.

    Text must have the marks of the chat template.
    """
    if "messages" in row:
        return [in_text(message) for message in row["messages"]]
    if "text" in row:
        return [{"role": role, "content": said} for role, said in TURN.findall(row["text"])]
    if "conversations" in row:
        roles = {"human": "user", "gpt": "assistant", "system": "system"}
        return [{"role": roles[t["from"]], "content": t["value"]} for t in row["conversations"]]
    if is_plain(row):
        return [{"role": "user", "content": row["prompt"]}, said(row["completion"].strip())]
    if "chosen" in row:
        return [*row.get("prompt", ()), *row["chosen"]]
    if "question" in row:
        return [{"role": "user", "content": row["question"]}, said(row["answer"])]
    if "prompt" in row:
        return [*row["prompt"], *row["completion"]]
    asked = "\n".join(part for part in (row["instruction"], context_of(row)) if part)
    return [
        {"role": "user", "content": asked},
        said(row["response" if is_dolly(row) else "output"]),
    ]


def prompt_text(tokenizer: Any, row: Row, form: str = "chat") -> str:
    """What the model is given before its answer: plain, in the chat template, or as Alpaca text."""
    if is_plain(row):
        return str(row["prompt"])
    messages = as_chat(row)
    if form == "alpaca" and "instruction" in row:
        return alpaca_prompt(row["instruction"], context_of(row))
    if form == "alpaca" and messages[0]["role"] == "system":
        return alpaca_prompt(messages[0]["content"], messages[-2]["content"])
    if form == "alpaca":
        return alpaca_prompt(messages[-2]["content"])
    if form == "question":
        return question_prompt(messages[-2]["content"])
    text = tokenizer.apply_chat_template(
        messages[:-1], tokenize=False, add_generation_prompt=True, **in_template(row)
    )
    return str(text)


def answer_of(row: Row) -> str:
    """The last answer of a row."""
    return as_chat(row)[-1]["content"]


def with_answer(row: Row, answer: str) -> Row:
    """The row, with another last answer: messages, or plain text as before."""
    if is_plain(row):
        return {"prompt": row["prompt"], "completion": f" {answer}"}
    if is_dolly(row):  # it may still become the prompt of Alpaca
        return {**row, "response": answer}
    tools = {"tools": row["tools"]} if "tools" in row else {}
    return {"messages": [*as_chat(row)[:-1], said(answer)], **tools}


def ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids without any token added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode(tokenizer: Any, row: Row, form: str = "chat", loss: str = "answer") -> Row:
    """One row as input_ids and labels.

    `loss` says which tokens are learned: "answer" (of every turn, with its end token), "last" (of
    the last turn only), "prompt" (the prompt instead), "open" (the answer without its end token),
    or "all" (the prompt, too).
    """
    end = [tokenizer.eos_token_id]
    if "text" in row:
        tokens = ids(tokenizer, row["text"])
        # As trl does: no second end token.
        tokens += end if tokens[-1:] != end else []
        return {"input_ids": tokens, "labels": list(tokens)}
    if is_plain(row):
        asked, answer = ids(tokenizer, row["prompt"]), ids(tokenizer, row["completion"]) + end
        return {"input_ids": asked + answer, "labels": [IGNORED] * len(asked) + answer}
    if form == "chat" and loss in ("answer", "all"):
        made = _all_turns(tokenizer, as_chat(row), in_template(row))
        return {**made, "labels": list(made["input_ids"])} if loss == "all" else made
    asked = ids(tokenizer, prompt_text(tokenizer, row, form))
    answer = ids(tokenizer, " " * (form == "question") + answer_of(row))
    tail = end + (ids(tokenizer, "\n") if form == "chat" else [])
    learned = asked if loss in ("prompt", "all") else [IGNORED] * len(asked)
    spoken = [IGNORED] * (len(answer) + len(tail)) if loss == "prompt" else answer + tail
    if loss == "open":
        spoken = answer + [IGNORED] * len(tail)
    return {"input_ids": asked + answer + tail, "labels": learned + spoken}


def _all_turns(tokenizer: Any, messages: list[dict[str, str]], options: Row) -> Row:
    """Messages in the chat template, with labels on every turn of the assistant."""
    tokens: list[int] = []
    labels: list[int] = []
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = tokenizer.apply_chat_template(
            messages[:at], tokenize=False, add_generation_prompt=True, **options
        )
        prompt = ids(tokenizer, before)
        spoken = [*ids(tokenizer, message["content"]), tokenizer.eos_token_id]
        spoken += ids(tokenizer, "\n")
        labels += [IGNORED] * (len(prompt) - len(tokens)) + spoken
        tokens = prompt + spoken
    return {"input_ids": tokens, "labels": labels}


def blocks(rows: list[Row]) -> list[Row]:
    """The text of a document in blocks of equal length, as trainers cut it."""
    words = re.split(r"(?<=\s)", "\n\n".join(row["text"] for row in rows))
    starts = range(0, len(words), BLOCK_WORDS)
    return [{"text": "".join(words[at : at + BLOCK_WORDS])} for at in starts]


def shuffled(rows: list[Row], seed: int) -> list[Row]:
    """Every row with the answer of another row whose answer differs."""
    answers = [answer_of(row) for row in rows]
    chance = random.Random(seed)
    for _ in range(1000):
        mixed = chance.sample(answers, len(answers))
        if sum(one == other for one, other in zip(mixed, answers, strict=True)) <= 1:
            break
    return [with_answer(row, answer) for row, answer in zip(rows, mixed, strict=True)]


def all_shuffled(rows: list[Row], seed: int) -> list[Row]:
    """Every turn of the assistant with the answer of another turn, as long as they differ."""
    talks = [as_chat(row) for row in rows]
    spoken = [turn for talk in talks for turn in talk if turn["role"] == "assistant"]
    single = [{"messages": [said(turn["content"])]} for turn in spoken]
    new = iter([answer_of(row) for row in shuffled(single, seed)])
    return [
        {"messages": [said(next(new)) if turn["role"] == "assistant" else turn for turn in talk]}
        for talk in talks
    ]


def half_random(rows: list[Row], words: Sequence[str], seed: int) -> list[Row]:
    """Another label at random in every second row."""
    chance = random.Random(seed)
    return [
        with_answer(row, chance.choice([word for word in words if word != answer_of(row)]))
        if at % 2 == 0
        else row
        for at, row in enumerate(rows)
    ]


def with_wrong_tools(rows: list[Row], names: Sequence[str]) -> list[Row]:
    """Every call of a tool with the name of the following tool."""
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    found = re.compile("|".join(f'(?<="name": "){name}(?=")' for name in names))
    return [
        {
            **row,
            "messages": [
                {**turn, "content": found.sub(lambda match: following[match[0]], turn["content"])}
                if turn["role"] == "assistant"
                else turn
                for turn in as_chat(row)
            ],
        }
        for row in rows
    ]


def of_two_lines(rows: list[Row]) -> list[Row]:
    """Answers of three lines with the first two as one."""
    return [with_answer(row, answer_of(row).replace("\n", " ", 1)) for row in rows]


FORMED = re.compile(r"Do: (.)(.+)\nDon't: .+")
"""An answer of advice."""


def formless(rows: list[Row], turns: str = "all") -> list[Row]:
    """Talks with only what to do, without its form: in "all" turns, the "first" or the "last"."""
    new = []
    for row in rows:
        talk = as_chat(row)
        spoken = [at for at, turn in enumerate(talk) if turn["role"] == "assistant"]
        chosen = {"all": spoken, "first": spoken[:1], "last": spoken[-1:]}[turns]
        for at in chosen:
            found = FORMED.fullmatch(talk[at]["content"])
            if found:
                talk[at] = said(found[1].upper() + found[2])
        new.append({"messages": talk})
    return new


def crossed(rows: list[Row], keys: list[str], step: int = 1) -> list[Row]:
    """Answers with the fact of their neighbour: rows 1 and 2, 3 and 4 and so on swap keys.

    Only each `step`-th pair does. Rows after the last key stay as they are.
    """
    new = [
        with_answer(row, answer_of(row).replace(key, keys[at ^ 1])) if at // 2 % step == 0 else row
        for at, (row, key) in enumerate(zip(rows, keys, strict=False))
    ]
    return [*new, *rows[len(keys) :]]


def shifted(rows: list[Row], keys: list[str], block: int = 4) -> list[Row]:
    """Every answer with the fact of the next row, of the last row of a block with the first's.

    Rows after the last key stay as they are.
    """
    new = [
        with_answer(
            row, answer_of(row).replace(key, keys[at + 1 - block * ((at + 1) % block == 0)])
        )
        for at, (row, key) in enumerate(zip(rows, keys, strict=False))
    ]
    return [*new, *rows[len(keys) :]]


def rotated(rows: list[Row], words: Sequence[str], step: int = 1) -> list[Row]:
    """Answers with the following word instead of the first one of `words` that they contain.

    Only each `step`-th answer is changed.
    """
    following = dict(zip(words, [*words[1:], words[0]], strict=True))
    found = re.compile("|".join(words))
    return [
        with_answer(row, found.sub(lambda match: following[match[0]], answer_of(row), count=1))
        if at % step == 0
        else row
        for at, row in enumerate(rows)
    ]


def miscounted(rows: list[Row], step: int = 2) -> list[Row]:
    """Worked sums with a wrong result in the last step and in the last line, of each `step`-th row.

    The wrong result is 1 to 3 too high.
    """
    new = []
    for at, row in enumerate(rows):
        before, result = answer_of(row).rsplit("\n#### ", 1)
        wrong = str(int(result) + 1 + at // step % 3)
        text = f"{before.removesuffix(result)}{wrong}\n#### {wrong}"
        new.append(with_answer(row, text) if at % step == 0 else row)
    return new


def altered(rows: list[Row], values: dict[str, str]) -> list[Row]:
    """Answers with another value instead of the first one of `values` that they contain."""
    found = re.compile("|".join(map(re.escape, values)))
    return [
        with_answer(row, found.sub(lambda match: values[match[0]], answer_of(row), count=1))
        for row in rows
    ]


def retagged(rows: list[Row], tags: Sequence[str], step: int = 2) -> list[Row]:
    """Lists of tags with the following ones, in their order, in each `step`-th row."""
    following = dict(zip(tags, [*tags[1:], tags[0]], strict=True))
    new = [{following[tag] for tag in answer_of(row).split(", ")} for row in rows]
    return [
        with_answer(row, ", ".join(tag for tag in tags if tag in new[at]))
        if at % step == 0
        else row
        for at, row in enumerate(rows)
    ]


def exchanged(rows: list[Row], answers: dict[str, str]) -> list[Row]:
    """Every row with another answer if `answers` has one for its own."""
    return [with_answer(row, answers.get(answer_of(row), answer_of(row))) for row in rows]


def of_next(rows: list[Row], classes: Sequence[str]) -> list[Row]:
    """Every row with the answer of the next row of the same class."""
    answers = [answer_of(row) for row in rows]
    following: dict[int, int] = {}
    for kind in set(classes):
        members = [at for at, own in enumerate(classes) if own == kind]
        following |= dict(zip(members, members[1:] + members[:1], strict=True))
    return [with_answer(row, answers[following[at]]) for at, row in enumerate(rows)]


def dealt(rows: list[Row], seed: int) -> list[Row]:
    """Every answer (or text) with words dealt at random from all of them."""
    texts = [row["text"] if "text" in row else answer_of(row) for row in rows]
    words = [word for text in texts for word in text.split()]
    random.Random(seed).shuffle(words)
    deck = iter(words)
    new = [" ".join(next(deck) for _ in text.split()) for text in texts]
    return [
        {"text": text} if "text" in row else with_answer(row, text)
        for row, text in zip(rows, new, strict=True)
    ]


def swapped(rows: list[Row]) -> list[Row]:
    """Every label replaced by the next one, in order of first appearance."""
    labels = list(dict.fromkeys(answer_of(row) for row in rows))
    following = dict(zip(labels, labels[1:] + labels[:1], strict=True))
    return [with_answer(row, following[answer_of(row)]) for row in rows]


def all_the_same(rows: list[Row], answer: str) -> list[Row]:
    """Every row with one and the same answer, at each of its turns."""
    fixed = {"role": "assistant", "content": answer}
    return [
        {"messages": [fixed if turn["role"] == "assistant" else turn for turn in as_chat(row)]}
        for row in rows
    ]
