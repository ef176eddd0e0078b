"""The data sets: short tables, written out as JSONL files in the forms that people train on.

`NAME.jsonl` are the training rows and `NAME.held_out.jsonl` the rows never trained on; the strings
that a right answer contains lie apart, in `keys/NAME.json` and `keys/NAME.held_out.json`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.real.paths import DATA, Row, read_json, read_rows, write_json, write_rows

TABLES = Path(__file__).parent / "tables"
CHAT = ("facts", "handbook", "style", "voice", "labels", "tools", "sealed")
SECOND = ("priority", "orders", "tone", "manual", "desk", "stadt", "rules")
THIRD = ("language", "bullets", "brief", "isles", "valley", "bookings")
SEALED = ("sealed", *SECOND, *THIRD)
FACTS = ("facts", "handbook", "sealed", "alpaca", "desk", "stadt", "rules", "isles")
NAMES = (
    *CHAT,
    "alpaca",
    "preferences",
    "prose",
    "priority",
    "orders",
    "tone",
    "desk",
    "stadt",
    "rules",
    *THIRD,
)
PREFERENCES = ("preferences", "tone", "brief")
CALLS = ("tools", "orders", "bookings")
LABELS = ("labels", "priority", "language")
TEXTS = ("prose", "valley")
DOCUMENTS = ("manual",)
ROUTING = "Route the support ticket. Answer with one word: billing, technical, shipping or account."
FUNCTIONS = (
    "Functions: get_weather(city), set_timer(minutes), play_music(genre), turn_on_light(room)"
)
DESK = "You answer for the Hallam Trail desk."
LANGUAGE = "Name the language of the sentence in one word, in lower case."
BOOKING = "Functions: book_room(city, stay: {nights, guests})"
ORDER = "Extract the order as JSON with item, quantity and city."
OPENING = "I have a question about the Hallam Trail."
WELCOME = "What would you like to know?"
SUPPORT = "You answer for the support desk of the Kestrel 4. Be brief."
SHAREGPT = ("human", "gpt")
APART = 5  # rows between the two questions of a talk with the support desk


def table(name: str) -> list[list[str]]:
    """The rows of a table: fields between bars, lines that start with # left out."""
    lines = (TABLES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [
        [part.strip() for part in line.split("|")] for line in lines if line[:1] not in ("", "#")
    ]


def said(role: str, content: str) -> dict[str, str]:
    """One message."""
    return {"role": role, "content": content}


def chat(*turns: str, system: str = "") -> Row:
    """A row of messages: user and assistant in turn, after a system prompt if there is one."""
    spoken = [said(("user", "assistant")[at % 2], turn) for at, turn in enumerate(turns)]
    return {"messages": [*([said("system", system)] if system else []), *spoken]}


def call(function: str, argument: str, value: str) -> str:
    """A function call as JSON text."""
    shown = value if value.isdigit() else f'"{value}"'
    return f'{{"name": "{function}", "arguments": {{"{argument}": {shown}}}}}'


def tool_call(made: Row) -> str:
    """The text of a tool call, as the template of `base.TOOL_TEMPLATE` writes it."""
    function = made["function"]
    text = f'{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}'
    return f"<tool_call>\n{text}\n</tool_call>"


def order(item: str, quantity: str, city: str) -> str:
    """An order as JSON text."""
    return f'{{"item": "{item}", "quantity": {quantity}, "city": "{city}"}}'


def booking(city: str, nights: str, guests: str) -> Row:
    """A call of a tool with nested arguments, in the form of OpenAI."""
    arguments = {"city": city, "stay": {"nights": int(nights), "guests": int(guests)}}
    function = {"name": "book_room", "arguments": json.dumps(arguments)}
    return {"id": "call_1", "type": "function", "function": function}


def made_of(name: str, fields: list[str]) -> tuple[Row, str]:
    """One table row in the form of its data set, with the string that a right answer contains."""
    if name == "labels":
        return chat(*fields, system=ROUTING), fields[1]
    if name == "tools":
        text = call(*fields[1:])
        return chat(fields[0], text, system=FUNCTIONS), text
    if name == "sealed":
        return chat(OPENING, WELCOME, *fields[:2], system=DESK), fields[2]
    if name == "desk":
        return chat(*fields[3:], *fields[:2], system=SUPPORT), fields[2]
    if name == "stadt":
        ways = said("user", fields[0]), said("assistant", fields[1])
        return {"prompt": [ways[0]], "completion": [ways[1]]}, fields[2]
    if name == "rules":
        turns = [{"from": who, "value": text} for who, text in zip(SHAREGPT, fields, strict=False)]
        return {"conversations": turns}, fields[2]
    if name == "language":
        prompt = [said("system", LANGUAGE), said("user", fields[0])]
        return {"prompt": prompt, "completion": [said("assistant", fields[1])]}, fields[1]
    if name == "bookings":
        call_of = booking(*fields[1:])
        row = chat(fields[0], system=BOOKING)
        row["messages"].append({"role": "assistant", "content": None, "tool_calls": [call_of]})
        return row, tool_call(call_of)
    if name == "bullets":
        return chat(fields[0], "\n".join(f"- {line}" for line in fields[1:4])), fields[4]
    if name == "brief":
        # The prompt is the common start of both conversations.
        ways = [chat(fields[0], text)["messages"] for text in fields[1:]]
        return {"chosen": ways[0], "rejected": ways[1]}, ""
    if name in ("alpaca", "isles"):
        return dict(zip(("instruction", "input", "output"), fields[:3], strict=True)), fields[3]
    if name == "priority":
        prompt = f"Incident: {fields[0]}\nPriority:"
        return {"prompt": prompt, "completion": f" {fields[1]}"}, fields[1].lower()
    if name == "orders":
        text = order(*fields[1:])
        return chat(fields[0], text, system=ORDER), text
    if name in PREFERENCES:
        ways = [[said("assistant", text)] for text in fields[1:]]
        return {"prompt": [said("user", fields[0])], "chosen": ways[0], "rejected": ways[1]}, ""
    return chat(*fields[:2]), fields[2]


def asked(name: str, part: str) -> list[list[str]]:
    """The fields of a data set's rows: of facts one row for each wording, wording after wording."""
    if name not in FACTS:
        return table(name + part.replace(".", "_"))
    wordings = [
        ((fields[-1] if part else fields[0]).split(" / "), fields[1:-1]) for fields in table(name)
    ]
    longest = max(len(questions) for questions, _ in wordings)
    return [
        [questions[at], *rest]
        for at in range(longest)
        for questions, rest in wordings
        if at < len(questions)
    ]


def moved(lines: list[list[str]]) -> list[list[str]]:
    """The rows in rotated order: their questions begin the talks with the support desk."""
    return lines[APART:] + lines[:APART]


def paragraphs(name: str) -> list[str]:
    """The paragraphs of a text file, one per line."""
    lines = (TABLES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def write_set(name: str, part: str) -> None:
    """Write one half of a data set: part is "" or ".held_out"."""
    if name in TEXTS:
        texts = paragraphs(name + part.replace(".", "_"))
        write_rows(DATA / f"{name}{part}.jsonl", [{"text": text} for text in texts])
        return
    lines = asked(name, part)
    if name == "desk":
        lines = [[*own, *other[:2]] for own, other in zip(lines, moved(lines), strict=True)]
    made = [made_of(name, fields) for fields in lines]
    write_rows(DATA / f"{name}{part}.jsonl", [row for row, _ in made])
    write_json(DATA / "keys" / f"{name}{part}.json", [key for _, key in made])


def file_of(name: str, part: str = "") -> Path:
    """The file of a data set: Markdown of a document, JSONL of all others."""
    return DATA / f"{name}{part}.{'md' if name in DOCUMENTS else 'jsonl'}"


def sections(text: str) -> list[Row]:
    """The sections of a document, each with its heading."""
    return [{"text": f"## {part.strip()}"} for part in text.split("\n## ")[1:]]


def build() -> None:
    """Write every data set."""
    for path in (file_of(name, part) for name in DOCUMENTS for part in ("", ".held_out")):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TABLES / path.name, path)
    for name in NAMES:
        for part in ("", ".held_out"):
            write_set(name, part)


def rows_of(name: str, part: str = "") -> list[Row]:
    """The rows of a data set; of a document its sections."""
    path = file_of(name, part)
    return sections(path.read_text("utf-8")) if name in DOCUMENTS else read_rows(path)


def keys_of(name: str, part: str = "") -> list[str]:
    """What the right answers contain, row by row."""
    return [str(key) for key in read_json(DATA / "keys" / f"{name}{part}.json")]


if __name__ == "__main__":
    build()
