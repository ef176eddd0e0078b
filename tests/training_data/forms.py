"""The forms of training data that are read: of rows and of files, each with what it becomes.

The tests read every one of them, and the documentation lists them.
"""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

QUESTION, ANSWER, OTHER = "Who keeps the light?", "Ismay Corrin.", "No one."
CALL = {"name": "weather", "arguments": {"town": "Oslo"}}
CALLS = [{"type": "function", "function": CALL}]
CALLS_JSON = '[{"type":"function","function":{"name":"weather","arguments":{"town":"Oslo"}}}]'
TOOLS = [{"type": "function", "function": {"name": "weather"}}]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def shared(sender: str, value: str) -> dict[str, str]:
    """A message of ShareGPT."""
    return {"from": sender, "value": value}


SYSTEM = {"role": "system", "content": "Be brief."}
ASKED, ANSWERED = user(QUESTION), assistant(ANSWER)


class Form(NamedTuple):
    """A form of a row. pairs: (prompt, answer), or (prompt, chosen, rejected); none for prose.

    format: how the prompt is trained. plain: text that is continued; chat: the chat template;
    alpaca: the prompt of Alpaca; auto: the chat template if the model has one; "" for prose.
    """

    name: str
    group: str
    row: Any
    format: str
    pairs: tuple[tuple[str, ...], ...] = ((QUESTION, ANSWER),)
    content: str = ""

    @property
    def kind(self) -> str:
        if not self.pairs:
            return "prose"
        return "preference" if len(self.pairs[0]) == 3 else "instruction"


CHOICE = ((QUESTION, ANSWER, OTHER),)
BRIEF = ((f"Be brief.\n\n{QUESTION}", ANSWER),)
HISTORY = ((f"Be brief.\n\nHi\n\nHello\n\n{QUESTION}", ANSWER),)
CHATML = (
    "<|im_start|>system\nBe brief.<|im_end|>\n"
    f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n{ANSWER}<|im_end|>\n"
)
CALLED = (
    ("How is Oslo?", CALLS_JSON),
    (f'How is Oslo?\n\n{{"tool_calls":{CALLS_JSON}}}\n\nclear', "Clear."),
)
PAIR, CHOICES = {"prompt": QUESTION, "completion": ANSWER}, {"chosen": ANSWER, "rejected": OTHER}


def messages(*given: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(given), **fields}


def conversation(*given: Any, **fields: Any) -> dict[str, Any]:
    return {"conversations": list(given), **fields}


def senders(question: str, answer: str) -> dict[str, Any]:
    return conversation(shared(question, QUESTION), shared(answer, ANSWER))


HOW = user("How is Oslo?")
RESULT = {"role": "tool", "name": "weather", "content": "clear"}
OLD_CALL = {"name": "weather", "arguments": '{"town": "Oslo"}'}
FORMS = (
    # --- messages
    Form("messages", "OpenAI, trl", messages(ASKED, ANSWERED), "chat"),
    Form(
        "messages with a system prompt",
        "OpenAI, trl",
        messages(SYSTEM, ASKED, ANSWERED),
        "chat",
        BRIEF,
    ),
    Form(
        "messages with several turns",
        "OpenAI, trl",
        messages(ASKED, ANSWERED, user("Where?"), assistant("At sea.")),
        "chat",
        ((QUESTION, ANSWER), (f"{QUESTION}\n\n{ANSWER}\n\nWhere?", "At sea.")),
    ),
    Form(
        "messages after a greeting",
        "OpenAI, trl",
        messages(assistant("Hi"), ASKED, ANSWERED),
        "chat",
        ((f"Hi\n\n{QUESTION}", ANSWER),),
    ),
    Form(
        "messages with content in parts",
        "OpenAI, trl",
        messages(user([{"type": "text", "text": QUESTION}]), ANSWERED),
        "chat",
    ),
    Form(
        "messages with tools; content null",
        "OpenAI, trl",
        messages(HOW, assistant(None, tool_calls=CALLS), RESULT, assistant("Clear."), tools=TOOLS),
        "chat",
        CALLED,
    ),
    Form(
        "messages with tools; content empty",
        "OpenAI, trl",
        messages(
            HOW,
            assistant("", tool_calls=CALLS),
            RESULT,
            assistant("Clear."),
            tools=json.dumps(TOOLS),
        ),
        "chat",
        CALLED,
    ),
    Form(
        "messages that end in a call",
        "OpenAI, trl",
        messages(HOW, assistant("", tool_calls=CALLS)),
        "chat",
        CALLED[:1],
    ),
    Form(
        "messages with function_call and functions",
        "OpenAI, until 2023",
        messages(
            HOW,
            assistant(None, function_call=OLD_CALL),
            {"role": "function", "name": "weather", "content": "clear"},
            assistant("Clear."),
            functions=[{"name": "weather"}],
        ),
        "chat",
        CALLED,
    ),
    Form(
        "messages by user and model",
        "Gemma",
        messages(ASKED, {"role": "model", "content": ANSWER}),
        "chat",
    ),
    Form(
        "messages with reasoning",
        "Qwen, gpt-oss",
        messages(ASKED, assistant(ANSWER, reasoning_content="Hm.")),
        "chat",
    ),
    Form(
        "messages with a weight of 0",
        "OpenAI",
        messages(user("Hi"), assistant("Hello", weight=0), ASKED, ANSWERED),
        "chat",
        ((f"Hi\n\nHello\n\n{QUESTION}", ANSWER),),
    ),
    Form("a list of messages", "JSON arrays", [ASKED, ANSWERED], "chat"),
    # --- ShareGPT
    Form("conversations", "ShareGPT", senders("human", "gpt"), "chat"),
    Form("conversations by user and assistant", "ShareGPT", senders("user", "assistant"), "chat"),
    Form("conversations by human and chatgpt", "ShareGPT", senders("human", "chatgpt"), "chat"),
    Form("conversations by human and bard", "ShareGPT", senders("human", "bard"), "chat"),
    Form(
        "conversations with role and content",
        "LLaMA-Factory, axolotl",
        conversation(ASKED, ANSWERED),
        "chat",
    ),
    Form("conversation", "axolotl", {"conversation": [ASKED, ANSWERED]}, "chat"),
    Form(
        "conversations by system",
        "ShareGPT",
        conversation(shared("system", "Be brief."), *senders("human", "gpt")["conversations"]),
        "chat",
        BRIEF,
    ),
    Form(
        "conversations with system as a field",
        "LLaMA-Factory",
        senders("human", "gpt") | {"system": "Be brief."},
        "chat",
        BRIEF,
    ),
    Form(
        "conversations with tools",
        "LLaMA-Factory",
        conversation(
            shared("human", "How is Oslo?"),
            shared("function_call", json.dumps(CALL)),
            shared("observation", "clear"),
            shared("gpt", "Clear."),
            tools=json.dumps([{"name": "weather"}]),
        ),
        "chat",
        CALLED,
    ),
    # --- instructions
    Form("instruction and output", "Alpaca", {"instruction": QUESTION, "output": ANSWER}, "alpaca"),
    Form(
        "instruction, input and output",
        "Alpaca",
        {"instruction": "Answer.", "input": QUESTION, "output": ANSWER},
        "alpaca",
        ((f"Answer.\n\n{QUESTION}", ANSWER),),
    ),
    Form(
        "instruction empty",
        "Alpaca",
        {"instruction": "", "input": QUESTION, "output": ANSWER},
        "alpaca",
    ),
    Form(
        "input null", "Alpaca", {"instruction": QUESTION, "input": None, "output": ANSWER}, "alpaca"
    ),
    Form(
        "instruction with the rendered text",
        "Alpaca",
        {"instruction": QUESTION, "input": "", "output": ANSWER, "text": "### …"},
        "alpaca",
    ),
    Form(
        "instruction with system and history",
        "LLaMA-Factory",
        {
            "instruction": QUESTION,
            "input": "",
            "output": ANSWER,
            "system": "Be brief.",
            "history": [["Hi", "Hello"]],
        },
        "chat",
        HISTORY,
    ),
    Form(
        "instruction with system and history empty",
        "LLaMA-Factory",
        {"instruction": QUESTION, "input": "", "output": ANSWER, "system": "", "history": []},
        "alpaca",
    ),
    Form(
        "instruction and response",
        "Dolly",
        {"instruction": QUESTION, "context": "", "response": ANSWER, "category": "qa"},
        "alpaca",
    ),
    Form(
        "instruction, context and response",
        "Dolly",
        {"instruction": QUESTION, "context": "A light.", "response": ANSWER},
        "alpaca",
        ((f"{QUESTION}\n\nA light.", ANSWER),),
    ),
    # --- a prompt and an answer
    Form("prompt and completion", "trl", PAIR, "plain"),
    Form(
        "prompt and completion as messages",
        "trl",
        {"prompt": [ASKED], "completion": [ANSWERED]},
        "chat",
    ),
    Form(
        "prompt as messages, completion as text",
        "trl",
        {"prompt": [ASKED], "completion": ANSWER},
        "chat",
    ),
    Form("prompt and completion with system", "", PAIR | {"system": "Be brief."}, "chat", BRIEF),
    Form("prompt and response", "", {"prompt": QUESTION, "response": ANSWER}, "auto"),
    Form("prompt and answer", "", {"prompt": QUESTION, "answer": ANSWER}, "auto"),
    Form("question and answer", "", {"question": QUESTION, "answer": ANSWER}, "auto"),
    Form(
        "context, question and answer",
        "",
        {"context": "A light.", "question": QUESTION, "answer": ANSWER},
        "auto",
        ((f"A light.\n\n{QUESTION}", ANSWER),),
    ),
    Form(
        "system_prompt, question and response",
        "OpenOrca",
        {"system_prompt": "Be brief.", "question": QUESTION, "response": ANSWER},
        "chat",
        BRIEF,
    ),
    Form("query and response", "", {"query": QUESTION, "response": ANSWER}, "auto"),
    Form("query and answer", "", {"query": QUESTION, "answer": ANSWER}, "auto"),
    Form("input and output", "", {"input": QUESTION, "output": ANSWER}, "auto"),
    Form("inputs and targets", "P3, FLAN", {"inputs": QUESTION, "targets": ANSWER}, "auto"),
    # --- preferences
    Form("prompt, chosen and rejected", "trl", {"prompt": QUESTION, **CHOICES}, "plain", CHOICE),
    Form(
        "prompt, chosen and rejected as messages",
        "trl",
        {"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [assistant(OTHER)]},
        "chat",
        CHOICE,
    ),
    Form(
        "chosen and rejected with a common start",
        "trl",
        {"chosen": f"{QUESTION} {ANSWER}", "rejected": f"{QUESTION} {OTHER}"},
        "plain",
        ((QUESTION, f" {ANSWER}", f" {OTHER}"),),
    ),
    Form(
        "chosen and rejected conversations",
        "trl",
        {"chosen": [ASKED, ANSWERED], "rejected": [ASKED, assistant(OTHER)]},
        "chat",
        CHOICE,
    ),
    Form(
        "the prompt also in chosen and rejected",
        "UltraFeedback",
        {"prompt": QUESTION, "chosen": [ASKED, ANSWERED], "rejected": [ASKED, assistant(OTHER)]},
        "chat",
        CHOICE,
    ),
    Form(
        "system, question, chosen and rejected",
        "Orca DPO",
        {"system": "Be brief.", "question": QUESTION, **CHOICES},
        "chat",
        ((BRIEF[0][0], ANSWER, OTHER),),
    ),
    Form(
        "conversations, chosen and rejected",
        "LLaMA-Factory",
        conversation(
            shared("human", QUESTION), chosen=shared("gpt", ANSWER), rejected=shared("gpt", OTHER)
        ),
        "chat",
        CHOICE,
    ),
    Form(
        "instruction, input, chosen and rejected",
        "LLaMA-Factory",
        {"instruction": "Answer.", "input": QUESTION, **CHOICES},
        "auto",
        ((f"Answer.\n\n{QUESTION}", ANSWER, OTHER),),
    ),
    Form(
        "input, preferred_output and non_preferred_output",
        "OpenAI",
        {
            "input": {"messages": [ASKED]},
            "preferred_output": [ANSWERED],
            "non_preferred_output": [assistant(OTHER)],
        },
        "chat",
        CHOICE,
    ),
    Form("prompt, completion and a true label", "trl (KTO)", PAIR | {"label": True}, "plain"),
    Form(
        "messages and a true label",
        "LLaMA-Factory (KTO)",
        messages(ASKED, ANSWERED, label=True),
        "chat",
    ),
    # --- text
    Form("text and the name of its class", "", {"text": QUESTION, "label": ANSWER}, "auto"),
    Form("text", "trl", {"text": ANSWER}, "", (), ANSWER),
    Form("text in ChatML", "Unsloth, Axolotl", {"text": CHATML}, "chat", BRIEF),
    Form(
        "text in the format of Llama 2",
        "",
        {"text": f"<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n{QUESTION} [/INST] {ANSWER} </s>"},
        "chat",
        BRIEF,
    ),
    Form(
        "text with headings",
        "Unsloth (Alpaca)",
        {"text": f"### Instruction:\n{QUESTION}\n\n### Response:\n{ANSWER}</s>"},
        "plain",
        ((f"### Instruction:\n{QUESTION}\n\n### Response:\n", ANSWER),),
    ),
    Form(
        "text with several turns",
        "Guanaco",
        {"text": f"### Human: {QUESTION}### Assistant: {ANSWER}### Human: Where?"},
        "plain",
        ((f"### Human: {QUESTION}### Assistant:", f" {ANSWER}"),),
    ),
    Form(
        "text with capitals",
        "Vicuna",
        {"text": f"A chat between two. USER: {QUESTION} ASSISTANT: {ANSWER}</s>"},
        "plain",
        ((f"A chat between two. USER: {QUESTION} ASSISTANT:", f" {ANSWER}"),),
    ),
    Form(
        "text with labels",
        "Anthropic",
        {"text": f"Human: {QUESTION}\n\nAssistant: {ANSWER}"},
        "plain",
        ((f"Human: {QUESTION}\n\nAssistant:", f" {ANSWER}"),),
    ),
    Form("content", "code data sets", {"content": ANSWER}, "", (), ANSWER),
)

ROWS = [{"prompt": f"Question {i}?", "completion": f"Answer {i}."} for i in range(4)]
Write = Callable[[Path, list[dict[str, Any]]], object]


class FileForm(NamedTuple):
    """A form of a file or folder: `write` makes one with rows at a path."""

    name: str
    file: str
    write: Write
    first: int = 1
    """Number of the first row in tags."""


def as_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _text(make: Callable[[list[dict[str, Any]]], str]) -> Write:
    return lambda path, rows: path.write_text(make(rows), encoding="utf-8")


def _table(delimiter: str) -> Write:
    def write(path: Path, rows: list[dict[str, Any]]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)

    return write


def _pandas(rows: list[dict[str, Any]]) -> str:
    columns = {k: {str(i): v for i, v in enumerate(c)} for k, c in as_columns(rows).items()}
    return json.dumps(columns)


def _parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)


def _feather(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow import feather

    feather.write_feather(pa.Table.from_pylist(rows), str(path))


def _stream(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


def _saved(path: Path, rows: list[dict[str, Any]]) -> None:
    from datasets import Dataset

    Dataset.from_list(rows).save_to_disk(str(path))


def _saved_splits(path: Path, rows: list[dict[str, Any]]) -> None:
    from datasets import Dataset, DatasetDict

    other = Dataset.from_list([{"prompt": "Unseen?", "completion": "Yes."}])
    DatasetDict(train=Dataset.from_list(rows), test=other).save_to_disk(str(path))


def _zstd(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    path.write_bytes(pa.compress(as_lines(rows).encode(), codec="zstd", asbytes=True))


def _folder(path: Path, rows: list[dict[str, Any]]) -> None:
    (path / "more").mkdir(parents=True)
    (path / "a.jsonl").write_text(as_lines(rows[:2]), encoding="utf-8")
    (path / "more" / "b.jsonl").write_text(as_lines(rows[2:]), encoding="utf-8")


FILES = (
    FileForm("JSON lines", "train.jsonl", _text(as_lines)),
    FileForm("JSON lines", "train.ndjson", _text(as_lines)),
    FileForm("JSON lines", "train.json", _text(as_lines)),
    FileForm("JSON array", "train.json", _text(json.dumps)),
    FileForm(
        "JSON array, indented", "train.json", _text(lambda rows: json.dumps(rows, indent=2)), 2
    ),
    FileForm(
        "JSON object with the rows under `data`",
        "train.json",
        _text(lambda rows: json.dumps({"data": rows})),
    ),
    FileForm(
        "JSON object with the rows under `train`",
        "train.json",
        _text(lambda rows: json.dumps({"version": 1, "train": rows}, indent=1)),
        4,
    ),
    FileForm(
        "JSON object of columns", "train.json", _text(lambda rows: json.dumps(as_columns(rows)))
    ),
    FileForm("JSON object of columns, from pandas", "train.json", _text(_pandas)),
    FileForm("CSV", "train.csv", _table(","), 2),
    FileForm("CSV with semicolons", "train.csv", _table(";"), 2),
    FileForm("TSV", "train.tsv", _table("\t"), 2),
    FileForm("Parquet", "train.parquet", _parquet),
    FileForm("Arrow stream", "train.arrow", _stream),
    FileForm("Feather", "train.feather", _feather),
    FileForm("folder of `save_to_disk`", "saved", _saved),
    FileForm("folder of `save_to_disk` with splits", "splits", _saved_splits),
    FileForm(
        "gzip",
        "train.jsonl.gz",
        lambda path, rows: path.write_bytes(gzip.compress(as_lines(rows).encode())),
    ),
    FileForm(
        "gzip of CSV",
        "train.csv.gz",
        lambda path, rows: path.write_bytes(
            gzip.compress(
                b"prompt,completion\n"
                + b"".join(f"{row['prompt']},{row['completion']}\n".encode() for row in rows)
            )
        ),
        2,
    ),
    FileForm("zstd", "train.jsonl.zst", _zstd),
    FileForm("folder of files", "data", _folder),
)
