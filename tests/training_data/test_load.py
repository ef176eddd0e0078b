"""Training data: the sections of each format, the message of each mistake, and omissions."""

import gzip
import json
import os
import pickle
import sys
from collections import Counter
from hashlib import sha256

import pytest

from sway_gate.conversation import Conversation, Message
from sway_gate.errors import CannotDecide, SpecError
from sway_gate.spec.schema import Reserve
from sway_gate.training_data import files, forms, json_rows, text
from sway_gate.training_data.collected import thinned
from sway_gate.training_data.files import Line
from sway_gate.training_data.load import load_sections
from tests.helpers.property import HealthCheck, given, settings, st
from tests.helpers.simulation import one_fast

MAP = "name its fields with --map prompt=FIELD,answer=FIELD or in `data_map:`"
REMEDY = "; give examples of prompts with answers, or prose"
NO_TEXT = "contains no usable text" + REMEDY
WORDS = " ".join(f"word{i}" for i in range(text.MIN_WORDS))


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def load(folder, name, content):
    return load_sections([write(folder, name, content)])


def mistakes(folder, name, content):
    """The lines of the error, without the folder."""
    with pytest.raises(SpecError) as caught:
        load(folder, name, content)
    return [problem.replace(f"{folder}{os.sep}", "") for problem in caught.value.problems]


def rows_of(*found):
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in found)


def write_arrow(path, table):
    """Write Parquet, or an Arrow stream."""
    import pyarrow as pa
    from pyarrow import parquet

    if path.suffix == ".parquet":
        parquet.write_table(table, path)
        return
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


def said(section):
    """Kind and texts, without the names of fields."""
    texts = ("prompt", "gold", "chosen", "rejected")
    pairs = [
        tuple(getattr(pair, field) for field in texts if hasattr(pair, field))
        for pair in section.pairs
    ]
    return section.kind, section.content or pairs


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


SYSTEM = {"role": "system", "content": "S"}
TALK = [SYSTEM, user("q"), assistant("a"), user("r"), assistant("b")]
PAIR = ("instruction", [("q", "a")])
PREFERENCE = ("preference", [("q", "a", "b")])
PROMPTED = {"prompt": "q", "completion": "a"}

EXAMPLES = {
    "prompt and completion": ({"prompt": "q", "completion": "a"}, PAIR),
    "conversational completion": ({"prompt": [user("q")], "completion": [assistant("a")]}, PAIR),
    "mixed completion": ({"prompt": [user("q")], "completion": "a"}, PAIR),
    "messages": ({"messages": [user("q"), assistant("a")]}, PAIR),
    "messages of Cohere": (
        {"messages": [{"role": "User", "content": "q"}, {"role": "Chatbot", "content": "a"}]},
        PAIR,
    ),
    "content in parts": (
        {"messages": [user([{"type": "text", "text": "q"}]), assistant("a")]},
        PAIR,
    ),
    "an empty system message": (
        {"messages": [SYSTEM | {"content": ""}, user("q"), assistant("a")]},
        PAIR,
    ),
    "a greeting": (
        {"messages": [assistant("hi"), user("q"), assistant("a")]},
        ("instruction", [("hi\n\nq", "a")]),
    ),
    "a call of a tool": (
        {
            "messages": [
                user("q"),
                assistant(None),
                {"role": "tool", "content": "t"},
                assistant("a"),
            ]
        },
        ("instruction", [("q\n\nt", "a")]),
    ),
    "turns": ({"messages": TALK}, ("instruction", [("S\n\nq", "a"), ("S\n\nq\n\na\n\nr", "b")])),
    "turns after a prompt": (
        {"prompt": TALK[:4], "completion": TALK[4:]},
        ("instruction", [("S\n\nq\n\na\n\nr", "b")]),
    ),
    "preference": ({"prompt": "q", "chosen": "a", "rejected": "b"}, PREFERENCE),
    "conversational preference": (
        {"prompt": [user("q")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
        PREFERENCE,
    ),
    "implicit prompt": (
        {"chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
        PREFERENCE,
    ),
    "prompt said twice": (
        {
            "prompt": "q",
            "chosen": [user("q"), assistant("a")],
            "rejected": [user("q"), assistant("b")],
        },
        PREFERENCE,
    ),
    "shared first turn": (
        {"prompt": [user("q")], "chosen": TALK[2:], "rejected": [*TALK[2:4], assistant("c")]},
        ("preference", [("q\n\na\n\nr", "b", "c")]),
    ),
    "instruction": ({"instruction": "q", "output": "a"}, PAIR),
    "instruction with input": (
        {"instruction": "q", "input": "i", "output": "a"},
        ("instruction", [("q\n\ni", "a")]),
    ),
    "instruction with text": (
        {"instruction": "q", "input": "", "output": "a", "text": "### q ### a"},
        PAIR,
    ),
    "text": ({"text": " t\n"}, ("prose", " t\n")),
    "null fields": (
        {"text": "t", "prompt": None, "completion": None, "intent": None},
        ("prose", "t"),
    ),
    "further fields": ({"text": "t", "score": 1.5, "meta": {"a": [None]}}, ("prose", "t")),
}


@pytest.mark.parametrize(("row", "expected"), EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("form", ["line", "array"])
def test_examples(tmp_path, row, expected, form):
    line = json.dumps(row)
    content = f"\n{line}\r\n \n" if form == "line" else f"\ufeff[\n{line} ]\n"
    (section,) = load(tmp_path, "train.jsonl" if form == "line" else "train.json", content).sections
    assert said(section) == expected
    assert section.tag.endswith(f" (train.json{'l' * (form == 'line')}:2)")


CALLS = [{"type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": 2}}}]
CALLS_JSON = '[{"type":"function","function":{"name":"f","arguments":{"b":1,"a":2}}}]'


def pairs(folder, row):
    (section,) = load(folder, "a.jsonl", json.dumps(row)).sections
    return section.pairs


FORMS = {
    "messages": ({"messages": TALK}, "chat"),
    "conversational completion": ({"prompt": [user("q")], "completion": "a"}, "chat"),
    "plain completion": ({"prompt": "Nenne drei Flüsse", "completion": "a"}, "plain"),
    "conversational preference": ({"prompt": "q", "chosen": [assistant("a")],
                                   "rejected": [assistant("b")]}, "chat"),
    "plain preference": ({"prompt": "q", "chosen": "a", "rejected": "b"}, "plain"),
    "instruction": ({"instruction": "q", "input": "i", "output": "a"}, "alpaca"),
}  # fmt: skip


@pytest.mark.parametrize(("row", "form"), FORMS.values(), ids=FORMS)
def test_the_shape_of_a_row_is_the_form_of_its_prompt(tmp_path, row, form):
    pair = pairs(tmp_path, row)[0]
    assert (pair.form, pair.conversation is not None) == (form, form == "chat")


def test_an_instruction_keeps_its_input(tmp_path):
    (pair,) = pairs(tmp_path, {"instruction": "q", "input": "i", "output": "a"})
    assert pair.input == "i"


def test_messages_keep_their_roles_and_fields(tmp_path):
    call = assistant(None) | {"tool_calls": CALLS}
    result = {"role": "tool", "content": "t", "name": "f", "tool_call_id": "1"}
    last = assistant("a") | {"reasoning_content": "Two and two.", "refusal": None}
    row = {
        "messages": [SYSTEM, user("q"), call, result, last],
        "tools": [{"name": "f"}],
        "chat_template_kwargs": {"enable_thinking": False},
    }
    called, told = pairs(tmp_path, row)
    assert called.answer == Message("assistant", None, f'{{"tool_calls":{CALLS_JSON}}}')
    assert (called.prompt, called.gold) == ("S\n\nq", CALLS_JSON)
    assert told.answer == Message("assistant", "a", '{"reasoning_content":"Two and two."}')
    assert told.conversation == Conversation(
        (
            Message("system", "S"),
            Message("user", "q"),
            called.answer,
            Message("tool", "t", '{"name":"f","tool_call_id":"1"}'),
        ),
        '[{"name":"f"}]',
        '{"enable_thinking":false}',
    )


def test_spaces_around_the_names_of_columns_do_not_count(tmp_path):
    [found] = load(tmp_path, "a.csv", "prompt , completion\nq, a\n").sections
    assert (found.pairs[0].prompt, found.pairs[0].gold) == ("q", " a")


def test_tools_may_be_text(tmp_path):
    row = {"messages": [user("q"), assistant("a")], "tools": '[{"name": "f"}]'}
    assert pairs(tmp_path, row)[0].conversation.tools == '[{"name":"f"}]'


def test_messages_may_be_text(tmp_path):
    rows = ({"messages": TALK}, {"messages": json.dumps(TALK), "images": []})
    as_list, as_text = (load(tmp_path, "a.jsonl", json.dumps(row)).sections for row in rows)
    assert as_list == as_text


def test_names_of_other_formats(tmp_path):
    talk = [("system", "S"), ("human", "q"), ("gpt", "a"), ("human", "r"), ("gpt", "b")]
    row = {"conversations": [{"from": who, "value": text} for who, text in talk]}
    assert pairs(tmp_path, row) == pairs(tmp_path, {"messages": TALK})


@pytest.mark.parametrize("untrained", [{"weight": 0}, {"train": False}, {"weight": 0.0}])
def test_a_message_outside_the_loss_is_no_answer(tmp_path, untrained):
    talk = [user("q"), assistant("a") | untrained, user("r"), assistant("b") | {"weight": 1}]
    (pair,) = pairs(tmp_path, {"messages": talk})
    assert (pair.gold, pair.answer) == ("b", Message("assistant", "b"))


def test_a_preference_keeps_its_messages(tmp_path):
    row = {"chosen": TALK, "rejected": [*TALK[:4], assistant("c")]}
    (found,) = pairs(tmp_path, row)
    assert [message.role for message in found.conversation.messages] == [
        "system", "user", "assistant", "user",
    ]  # fmt: skip
    assert (found.chosen, found.rejected) == ("b", "c")


ODD = {
    "byte order mark": b'\xef\xbb\xbf{"text": "t"}',
    "no final line end": b'{"text": "t"}',
    "duplicate keys": b'{"text": "u", "text": "t"}',
    "a surrogate pair in another field": b'{"text": "t", "x": "\\ud83d\\ude00"}',
    "NaN": b'{"text": "t", "x": [NaN, -Infinity]}',
    "huge numbers": b'{"text": "t", "x": [1e999, ' + b"9" * 9999 + b"]}",
    "huge numbers beside NaN": b'{"text": "t", "x": [NaN, 1e999, ' + b"9" * 9999 + b"]}",
    "spaces": b' \t{"text": "t"} \n\n \n',
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_lines_are_read(tmp_path, content):
    assert [s.content for s in load(tmp_path, "train.ndjson", content).sections] == ["t"]


def test_ids_are_those_of_inline_sections_and_intent_is_kept(tmp_path):
    rows = '{"text": "t", "intent": "memorize"}\n{"prompt": "q", "completion": "a"}'
    prose, pair = load(tmp_path, "a.jsonl", rows).sections
    assert (prose.id, prose.intent) == (sha256(b'["prose","t",[]]').hexdigest()[:16], "memorize")
    assert (pair.id, pair.intent) == (
        sha256(b'["instruction","",[["q","a"]]]').hexdigest()[:16],
        "generalize",
    )


ACCEPTED = "name its fields with --map prompt=FIELD,answer=FIELD or in `data_map:`"
BAD_ROWS = {
    "empty prompt": ('{"prompt": " ", "completion": "a"}', "prompt: must not be empty"),
    "empty completion": ('{"prompt": "q", "completion": ""}', "completion: must not be empty"),
    "empty list": ('{"prompt": [], "completion": "a"}', "prompt: must not be empty"),
    "empty messages": ('{"messages": []}', "messages: must not be empty"),
    "empty answer": (
        json.dumps({"messages": [user("q"), assistant("")]}),
        "messages: must contain an assistant message after a prompt",
    ),
    "empty rejected": (
        '{"prompt": "q", "chosen": "a", "rejected": ""}',
        "rejected: must not be empty",
    ),
    "empty output": ('{"instruction": "q", "output": "\\n"}', "output: must not be empty"),
    "empty text": ('{"text": ""}', "text: must not be empty"),
    "one message of a conversation": (
        '{"message_id": 1, "role": "prompter", "text": "q"}',
        "field role ('prompter'): a row must be a whole conversation; join its messages under "
        "`messages`",
    ),
    "number": (
        '{"prompt": "q", "completion": 4}',
        "completion: must be text or a list of messages, got int",
    ),
    "number in a part": (
        '{"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}',
        "messages[0].content[0].text: must be text, got int",
    ),
    "type beside NaN": ('{"text": 1, "x": NaN}', "text: must be text, got int"),
    "no role": (
        '{"messages": [{"content": "q"}]}',
        "messages[0]: a message needs the fields role and content, got 'content'",
    ),
    "an object instead of a text": (
        '{"prompt": {"text": "q"}, "completion": {"text": "a"}}',
        "prompt: a message needs the fields role and content, got 'text'",
    ),
    "number in a message without a list": (
        '{"prompt": {"role": "user", "content": 1}, "completion": "a"}',
        "prompt.content: must be text or list, got int",
    ),
    "role": (
        '{"messages": [{"role": "bot\\n", "content": "q"}]}',
        "messages[0].role: must be one of system, developer, user, assistant, tool, got 'bot\\n'",
    ),
    "image": (
        '{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
        "messages[0].content[0]: only text is supported, got type 'image_url'",
    ),
    "images beside the messages": (
        json.dumps({"messages": TALK, "images": ["a.png"]}),
        "images: only text is supported; remove the row, or a field not trained on",
    ),
    "messages in another notation": (
        json.dumps({"messages": str(TALK)}),
        "messages: must be a list, or a list as JSON",
    ),
    "no answer": (
        json.dumps({"messages": [user("q")]}),
        "messages: must contain an assistant message after a prompt",
    ),
    "no prompt": (
        json.dumps({"messages": [assistant("q")]}),
        "messages: must contain an assistant message after a prompt",
    ),
    "completion by the user": (
        json.dumps({"prompt": "q", "completion": [user("a")]}),
        "completion: must contain an assistant message after a prompt",
    ),
    "no common start": (
        '{"chosen": "a", "rejected": "b"}',
        "prompt: must be given, or be the common start of chosen and rejected",
    ),
    "no rejected answer": (
        json.dumps({"prompt": "q", "chosen": "a", "rejected": [user("b")]}),
        "rejected: must contain an assistant message",
    ),
    "unknown form": (
        '{"topic": 1, "an\\nswer": 2}',
        f"unknown format of example: fields 'topic'; {ACCEPTED}",
    ),
    "half a form": (
        '{"prompt": "q", "completion": null}',
        "has the field prompt, but no answer; add it as completion or response or answer, "
        f"or {MAP}",
    ),
    "an answer alone": (
        '{"output": "a", "system": "s"}',
        f"has the field output, but no prompt; add it as instruction or input, or {MAP}",
    ),
    "a sentence as a field": (
        '{"What is made here?": "t", "It makes pots.": "u"}',
        f"unknown format of example: fields 'It makes pots.'; {ACCEPTED}; the first line of a "
        "table must name its columns",
    ),
    "no field": ("{}", f"unknown format of example: fields (no known field); {ACCEPTED}"),
    "rows under another key": (
        json.dumps({"items": [{"prompt": "q", "completion": "a"}]}),
        "field 'items' is a list of objects; name a list of rows train, data, rows, examples or "
        "instances, or the messages of a row with --map messages=FIELD",
    ),
    "many fields": (
        json.dumps({f"f{i}": i for i in range(9)}),
        "unknown format of example: fields "
        f"{', '.join(repr(f'f{i}') for i in range(8))} …; {ACCEPTED}",
    ),
    "a text": ('"q"', "a row must be a JSON object, got text"),
    "cut off": ('{"text": "t"', "not valid JSON: Input data was truncated"),
    "two values": ('{"text": "t"} {}', "not valid JSON: trailing characters (byte 15)"),
    "deep": ('{"text": "t", "x": ' + "[" * 50_000, "not valid JSON: nested too deep"),
    "deep messages": (
        '{"messages": ' + '[{"role": "user", "content": ' * 20_000,
        "not valid JSON: nested too deep",
    ),
    "half a surrogate": (
        '{"text": "\\ud800"}',
        "contains an unpaired surrogate, which is not valid text; save it as UTF-8",
    ),
    "no trained answer": (
        json.dumps({"messages": [user("q"), assistant("a") | {"weight": 0}]}),
        "messages: must contain an assistant message after a prompt",
    ),
    "sender": (
        '{"conversations": [{"from": "narrator", "value": "q"}]}',
        "conversations[0].role: must be one of system, developer, user, assistant, tool, "
        "got 'narrator'",
    ),
    "tools": (
        '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], '
        '"tools": "f"}',
        "tools: must be a list, or a list as JSON",
    ),
    "a parameter of the rendering": (
        '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], '
        '"chat_template_kwargs": {"tokenize": true}}',
        "chat_template_kwargs.tokenize: is not a variable of the chat template",
    ),
    "half a surrogate in a field": (
        '{"messages": [{"role": "user", "content": "q", "name": "\\ud800"}, '
        '{"role": "assistant", "content": "a"}]}',
        "contains an unpaired surrogate, which is not valid text; save it as UTF-8",
    ),
    "a part of the prompt in no format": (
        '{"instruction": "i", "question": "q", "answer": "a"}',
        f"instruction: is not part of the format question and answer; {ACCEPTED}",
    ),
    "equal answers": (
        '{"prompt": "q", "chosen": "a", "rejected": "a"}',
        "chosen and rejected: must differ",
    ),
    "two system prompts": (
        json.dumps({"messages": TALK, "system": "other"}),
        "system: the messages begin with another system message",
    ),
    "history": (
        '{"instruction": "q", "output": "a", "history": [["q"]]}',
        "history[0]: must be list of length 2, got 1",
    ),
}


@pytest.mark.parametrize(("row", "expected"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_every_bad_line_is_named(tmp_path, row, expected):
    sound = '{"text": "sound"}'
    found = mistakes(tmp_path, "a.jsonl", f"{sound}\n{row}\n\n{row}\n{sound}")
    assert found == [f"a.jsonl: rows 2, 4: {expected}"]


def test_mistakes_of_all_files_at_once_up_to_a_limit(tmp_path):
    paths = [
        write(tmp_path, "a.jsonl", "".join(f'{{"f{i}": 1, "g": 2}}\n' for i in range(30))),
        str(tmp_path / "none"),
        write(tmp_path, "b.jsonl", "{}\n" * 1030),
    ]
    with pytest.raises(SpecError) as caught:
        load_sections(paths)
    problems = [problem.replace(f"{tmp_path}{os.sep}", "") for problem in caught.value.problems]
    assert problems[10:12] == ["a.jsonl: and 20 more mistakes", "none: no such file"]
    assert len(problems) == 13
    assert problems[-1].startswith("b.jsonl: rows 1, 2, 3, 4, 5, … (1,030 rows): unknown format")


AS_TEXT = "convert it to text, Markdown or JSONL"
BAD_FILES = {
    "empty": ("a.jsonl", b"", "a.jsonl: " + NO_TEXT),
    "blank": ("a.txt", b" \n\r\n", "a.txt: " + NO_TEXT),
    "headings alone": ("a.md", b"# A\n## B\n", "a.md: " + NO_TEXT),
    "empty array": ("a.json", b" [ ] ", "a.json: " + NO_TEXT),
    "pickle": (
        "a.jsonl",
        pickle.dumps({"a": 1}),
        "a.jsonl: is a pickle, which is never loaded; "
        "convert it to JSONL with one example per line",
    ),
    "zip": (
        "a.jsonl",
        b"PK\3\4",
        "a.jsonl: is compressed; unpack it, or compress it with gzip or zstd",
    ),
    "cut gzip": (
        "a.jsonl",
        gzip.compress(b"{}" * 99)[:-4],
        "a.jsonl: cannot be unpacked: Compressed file ended before the end-of-stream marker "
        "was reached",
    ),
    "broken gzip": (
        "a.jsonl",
        gzip.compress(b"{}")[:10] + b"\xff\xff",
        "a.jsonl: cannot be unpacked: Error -3 while decompressing data: invalid block type",
    ),
    "notebook": ("a.ipynb", b"{}", "a.ipynb: is a notebook; save it as Markdown"),
    "workbook": ("a.xlsx", b"PK\3\4", "a.xlsx: is a workbook; save its sheet as CSV"),
    "PDF": ("a.txt", b"%PDF-1.4\n", f"a.txt: is a PDF; {AS_TEXT}"),
    "RTF": ("a.txt", b"{\\rtf1 a}", f"a.txt: is a document in RTF; {AS_TEXT}"),
    "Office": (
        "a.txt",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        f"a.txt: is a document of Microsoft Office; {AS_TEXT}",
    ),
    "Word": ("a.docx", b"PK\3\4", f"a.docx: is a text document; {AS_TEXT}"),
    "web page": ("a.HTML", b"<p>A text.</p>", f"a.HTML: is a web page; {AS_TEXT}"),
    "image": ("a.png", b"\x89PNG", "a.png: is an image; give data as text"),
    "weights": ("a.safetensors", b"{}", "a.safetensors: is a file of weights; give data"),
    "archive": ("a.tar.gz", gzip.compress(b"{}"), "a.tar.gz: is an archive; unpack it"),
    "YAML": ("a.yaml", b"- a", "a.yaml: is YAML; convert it to JSONL with one example per line"),
    "LFS": (
        "a.md",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a.md: is a Git LFS pointer; run `git lfs pull`",
    ),
    "Parquet": (
        "a.parquet",
        b"PAR1\x15\x04",
        "a.parquet: not a readable Parquet or Arrow file (ArrowInvalid); write it again",
    ),
    "Arrow": (
        "a.arrow",
        b"{}",
        "a.arrow: not a readable Parquet or Arrow file (ArrowInvalid); write it again",
    ),
    "CSV without rows": ("a.csv", b"q,a\n", "a.csv: " + NO_TEXT),
    "CSV with other fields": (
        "a.csv",
        b"topic,note\n1,2\n",
        f"a.csv:2: unknown format of example: fields 'topic', 'note'; {ACCEPTED}",
    ),
    "CSV with a column twice": (
        "a.csv",
        b"text,text\n1,2\n",
        "a.csv:1: columns 1 and 2 have the same name; rename one of them",
    ),
    "CSV with an open quotation mark": (
        "a.csv",
        b'text\n"' + b"a\n" * 2**20,
        "a.csv:2: not valid CSV (field larger than field limit (1048576)); "
        "look for a quotation mark that is not closed",
    ),
    "CSV with a million columns": (
        "a.csv",
        b"text" + b",a" * 500_000,
        "a.csv:1: has more than 1,000 columns; keep the ones that are used",
    ),
    "one long value": (
        "a.json",
        b'{"text": "' + b"a" * 2**20 + b'"}',
        "a.json:1: longer than 1 MiB",
    ),
    "dlm": (
        "a.dlm",
        b"---\n",
        "a.dlm: is a .dlm document; run `sway autogen` on it, or set dlm_source to it in the spec",
    ),
    "binary": (
        "a.txt",
        b"a\nb\0c",
        "a.txt:2: binary data or UTF-16 text; save the file as UTF-8",
    ),
    "binary array": (
        "a.json",
        b'[\n"\0"]',
        "a.json:2: binary data or UTF-16 text; save the file as UTF-8",
    ),
    "zeros": (
        "a.jsonl",
        bytes(files.MAX_LINE_BYTES + 2),
        "a.jsonl:1: binary data or UTF-16 text; save the file as UTF-8",
    ),
    "UTF-16": (
        "a.jsonl",
        "{}".encode("utf-16"),
        "a.jsonl:1: binary data or UTF-16 text; save the file as UTF-8",
    ),
    "Latin-1": ("a.md", b"a\nb\n\xe9", "a.md:3: not UTF-8 text; save the file as UTF-8"),
    "Latin-1 array": (
        "a.json",
        b'[\n\n"\xe9"]',
        "a.json:3: not UTF-8 text; save the file as UTF-8",
    ),
    "long lines": (
        "a.txt",
        b"a" * (files.MAX_LINE_BYTES + 1),
        "a.txt: contains no usable text; lines longer than 1 MiB are left out (1)" + REMEDY,
    ),
}


@pytest.mark.parametrize(("name", "content", "expected"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_that_cannot_be_read(tmp_path, name, content, expected):
    assert mistakes(tmp_path, name, content) == [expected]


INDENTED = json.dumps({"prompt": "q", "completion": "a"}, indent=2)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_indented_objects_are_one_mistake(tmp_path, name):
    lines = "the first object extends over 4 lines; write one object per line, for example with"
    assert mistakes(tmp_path, name, f"\n{INDENTED}\n{INDENTED}\n") == [
        f"{name}: {lines} `jq -c . FILE`"
    ]
    (tmp_path / name).write_text(INDENTED, encoding="utf-8")
    assert len(load_sections([str(tmp_path / name)]).sections) == 1


BAD_ARRAYS = {
    "cut off": (
        '[\n{"text": "t"}',
        "2: not valid JSON: expected a comma, "
        "or the end of the array and of the file after this example",
    ),
    "more": (
        '[{"text": "t"}] []',
        "1: not valid JSON: expected a comma, "
        "or the end of the array and of the file after this example",
    ),
    "broken": (
        '[{"text": "t"},\n\n{"text"}]',
        "3: not valid JSON; the rest of the array cannot be read",
    ),
    "trailing comma": (
        '[{"text": "t"},\n]',
        "2: not valid JSON; the rest of the array cannot be read",
    ),
    "deep": ("[" * 50_000, "1: not valid JSON; the rest of the array cannot be read"),
    "wrong elements": ("[\n\n3]", "3: a row must be a JSON object, got int"),
}


def test_rows_of_an_array_in_one_line_are_counted(tmp_path):
    found = mistakes(tmp_path, "a.json", '[{"text": "t"}, 3, 4, {"text": "u"}]\n')
    assert found[0] == "a.json: rows 2, 3: a row must be a JSON object, got int"


@pytest.mark.parametrize("name", ["part-00000", "train.jsonl.1", "train.txt", "train.txt.gz"])
def test_json_lines_are_rows_under_any_name(tmp_path, name):
    content = b"\xef\xbb\xbf" + rows_of(PROMPTED, {"text": "t"}).encode()
    packed = gzip.compress(content) if name.endswith(".gz") else content
    assert [said(section) for section in load(tmp_path, name, packed).sections] == [
        PAIR,
        ("prose", "t"),
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
@pytest.mark.parametrize("content", ["{x} is a set.", "[1]\nA note.", "{\n}\ncode", "{", "1\n{}"])
def test_text_that_begins_like_json_is_text(tmp_path, name, content):
    (found,) = load(tmp_path, name, content).sections
    assert said(found) == ("prose", content)


@pytest.mark.parametrize(("content", "expected"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_cannot_be_read(tmp_path, content, expected):
    assert mistakes(tmp_path, "a.json", content) == [f"a.json:{expected}"]


def refusal(path):
    with pytest.raises(SpecError) as caught:
        load_sections([path])
    return caught.value.problems[0]


def test_folders_and_odd_names(tmp_path):
    assert refusal(str(tmp_path)).startswith(f"{tmp_path}: has no data file; accepted: .jsonl, ")
    assert refusal("a\nb") == "'a\\nb': no such file"
    assert refusal("a\0b") == "'a\\x00b': cannot be read: its name contains a NUL character"


@pytest.mark.skipif(os.name == "nt", reason="POSIX files")
def test_pipes_devices_and_loops_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(str(tmp_path / "pipe")).endswith(
        "pipe: is not a regular file; save its output to a file"
    )
    assert refusal("/dev/zero") == "/dev/zero: is not a regular file; save its output to a file"
    assert "loop: cannot be read: " in refusal(str(tmp_path / "loop"))


# ---------------------------------------------------------------------------------------- omissions


def rows(number):
    return "".join(f'{{"prompt": "q{i}", "completion": "a"}}\n' for i in range(number))


def place(section):
    """Name and line in the tag."""
    return section.tag.rpartition(" (")[2].removesuffix(")")


def bare(section):
    """The tag, without first words before a name and line."""
    return place(section) if ":" in place(section) else section.tag


@pytest.mark.parametrize("number", [48, 49, 767, 768, 5000])
def test_examples_are_spread_evenly(tmp_path, number):
    loaded = load(tmp_path, "a.jsonl", rows(number))
    lines = [int(place(section).split(":")[1]) for section in loaded.sections]
    gaps = [b - a for a, b in zip(lines, [*lines[1:], number + 1], strict=True)]
    assert (len(lines), lines == sorted(lines)) == (48, True)
    assert max(lines[0], *gaps) <= 2.2 * number / 48 + 1
    noted = (f"a.jsonl: 48 of {number:,} examples are used, evenly spread",) if number > 48 else ()
    more = "; up to 192 if they leave a probe open" if number > 95 else ""
    assert loaded.notes == tuple(note + more for note in noted)


@pytest.mark.parametrize("turn", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("number", [60, 96, 1000, 5000])
def test_labels_that_take_turns_are_all_in_the_sample(tmp_path, number, turn):
    lines = (f'{{"prompt": "q{i}", "completion": "label {i % turn}"}}\n' for i in range(number))
    loaded = load(tmp_path, "a.jsonl", "".join(lines))
    pairs = [pair for section in loaded.sections for pair in section.pairs]
    found = [counted(pairs) for pairs in (pairs, thinned(pairs, 40))]
    assert [len(counts) for counts in found] == [turn, turn]


def counted(pairs):
    """Number of each answer."""
    return Counter(pair.gold for pair in pairs)


@pytest.mark.parametrize(
    ("number", "samples"), [(48, 0), (95, 0), (96, 1), (143, 1), (144, 2), (192, 3), (5000, 3)]
)
def test_the_reserve_has_full_samples_of_other_rows(tmp_path, number, samples):
    loaded = load(tmp_path, "a.jsonl", rows(number))
    lines = [
        [int(place(section).split(":")[1]) for section in sample]
        for sample in (loaded.sections, *loaded.reserve.samples)
    ]
    assert [len(sample) for sample in lines[1:]] == [48] * samples
    assert len({line for sample in lines for line in sample}) == sum(map(len, lines))
    assert loaded.reserve.rows == number
    for sample in lines:
        gaps = [b - a for a, b in zip(sample, [*sample[1:], number + 1], strict=True)]
        assert max(sample[0], *gaps) <= 2 * number / 48 + 2


def test_preferences_have_no_reserve(tmp_path):
    row = '{"prompt": "q%d", "chosen": "a", "rejected": "b"}\n'
    loaded = load(tmp_path, "a.jsonl", "".join(row % i for i in range(200)))
    assert (len(loaded.sections), loaded.reserve) == (48, Reserve())


def test_kinds_are_counted_apart(tmp_path):
    loaded = load(
        tmp_path,
        "a.jsonl",
        rows(60) + '{"text": "t"}\n{"prompt": "q", "chosen": "a", "rejected": "b"}\n',
    )
    kinds = [section.kind for section in loaded.sections]
    assert kinds == ["instruction"] * 48 + ["prose", "preference"]


def test_doubles_are_left_out_across_files(tmp_path):
    first, second = (
        write(tmp_path, "a.jsonl", rows(3) + rows(1)),
        write(tmp_path, "b.jsonl", rows(4)),
    )
    loaded = load_sections([first, second, second])
    assert [place(section) for section in loaded.sections] == [
        "a.jsonl:1",
        "a.jsonl:2",
        "a.jsonl:3",
        "b.jsonl:4",
    ]
    doubles = [
        "a.jsonl: duplicates are left out (1)",
        *(f"b.jsonl: duplicates are left out ({n})" for n in (3, 4)),
    ]
    assert list(loaded.notes) == doubles


def test_only_the_first_answers_of_a_conversation_count(tmp_path):
    talk = [user("q"), assistant("a")] * 12_000
    (section,) = load(tmp_path, "a.jsonl", json.dumps({"messages": talk})).sections
    assert [len(pair.prompt.split()) for pair in section.pairs] == [1, 3, 5, 7]


def test_lines_may_be_conversations(tmp_path):
    line = json.dumps([user("q"), assistant("a")])
    other = json.dumps([user("r"), assistant("a")])
    loaded = load(tmp_path, "a.jsonl", f"{line}\n{other}\n")
    assert [place(section) for section in loaded.sections] == ["a.jsonl:1", "a.jsonl:2"]


def test_a_broken_first_line_is_one_bad_row(tmp_path):
    loaded = load(tmp_path, "a.jsonl", '{"text": "t"\n' + rows(1))
    assert (len(loaded.sections), place(loaded.sections[0])) == (1, "a.jsonl:2")


def test_long_lines_are_bad_rows(tmp_path):
    long_line = '{"text": "' + "a" * files.MAX_LINE_BYTES * 3 + '"}\n'
    loaded = load(tmp_path, "a.jsonl", long_line + rows(1))
    assert place(loaded.sections[0]) == "a.jsonl:2"
    assert loaded.notes == (
        "left out: a.jsonl:1: longer than 1 MiB",
        "a.jsonl: 1 of 2 rows are left out because of mistakes",
    )


def test_bytes_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    content = "".join(f"{i} {WORDS}\n\n" for i in range(10_000))
    assert load(tmp_path, "a.txt", content).notes[0] == "a.txt: only the first 1 MiB are read"
    packed = gzip.compress(rows(30_000).encode())
    assert "a.jsonl.gz: only the first 1 MiB are read" in load(tmp_path, "a.jsonl.gz", packed).notes
    monkeypatch.setattr(json_rows, "MAX_DOCUMENT_BYTES", 2**20)
    expected = (
        "a.json: one JSON value larger than 1 MiB; convert it to JSONL with one example per line"
    )
    assert mistakes(tmp_path, "a.json", "[" + " " * 2**20 + "]") == [expected]


def test_the_line_limit_ends_a_file_within_a_long_line(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**21)
    loaded = load(tmp_path, "a.txt", b"start\n" + b"a" * 2**23)
    assert loaded.notes == ("a.txt: only the first 2 MiB are read",)


BAD = '{"prompt": "q"}\n'


@pytest.mark.parametrize(("good", "bad"), [(1, 1), (20, 1), (190, 10), (400, 20)])
def test_few_bad_rows_are_left_out_and_listed(tmp_path, good, bad):
    loaded = load(tmp_path, "a.jsonl", rows(good) + BAD * bad)
    assert len(loaded.sections) == min(good, 48)
    (listed,) = [note for note in loaded.notes if note.startswith("left out: a.jsonl")]
    assert f":{good + 1}: " in listed if bad == 1 else f" ({bad} rows): " in listed
    summary = f"a.jsonl: {bad} of {good + bad} rows are left out because of mistakes"
    assert summary in loaded.notes


@pytest.mark.parametrize(("good", "bad"), [(0, 1), (2, 2), (189, 10), (379, 20)])
def test_many_bad_rows_refuse_the_file(tmp_path, good, bad):
    found = mistakes(tmp_path, "a.jsonl", rows(good) + BAD * bad)
    assert "has the field prompt, but no answer; add it as completion" in found[0]
    assert len(found) == 1 + (good > bad)
    rule = f"a.jsonl: {bad} of {good + bad} rows have mistakes, more than 5%; "
    assert found[-1].startswith(rule) == (good > bad)


# ------------------------------------------------------------------------------------------ samples


def as_array(lines):
    return "[" + lines.strip().replace("\n", ",\n") + "]"


@pytest.mark.parametrize("name", one_fast("a.jsonl", "a.json", "a.csv"))
def test_a_large_file_is_sampled_over_its_whole_length(tmp_path, name):
    number = 40_000
    content = {
        "a.jsonl": rows,
        "a.json": lambda n: as_array(rows(n)),
        "a.csv": lambda n: "prompt,completion\n" + "".join(f"q{i},a\n" for i in range(n)),
    }[name](number)
    path = write(tmp_path, name, content)
    loaded, again, other = (load_sections([path], seed=seed) for seed in (0, 0, 1))
    found = [int(section.pairs[0].prompt[1:]) for section in loaded.sections]
    gaps = [b - a for a, b in zip(found, [*found[1:], number], strict=True)]
    assert (len(found), found == sorted(found), loaded == again) == (48, True, True)
    assert max(found[0], *gaps) <= 2.2 * number / 48
    assert [s.id for s in other.sections] != [s.id for s in loaded.sections]
    assert loaded.notes == (
        f"{name}: a sample of 16,384 of 40,000 rows is read (seed 0)",
        f"{name}: 48 of 16,384 examples are used, evenly spread; "
        "up to 192 if they leave a probe open",
    )
    assert loaded.reserve.rows == number
    offset = {"a.jsonl": 1, "a.json": 1, "a.csv": 2}[name]
    assert place(loaded.sections[9]) == f"{name}:{found[9] + offset}"


def test_only_the_sample_is_parsed(tmp_path, monkeypatch):
    read = []
    parse = forms.content
    monkeypatch.setattr(forms, "content", lambda row: read.append(1) or parse(row))
    load(tmp_path, "a.jsonl", rows(20_000))
    assert len(read) == 16_384


def test_parquet_is_sampled(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    number = 50_000
    table = pa.table({"prompt": [f"q{i}" for i in range(number)], "completion": ["a"] * number})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=1500)
    loaded = load_sections([str(tmp_path / "a.parquet")])
    found = [int(section.pairs[0].prompt[1:]) for section in loaded.sections]
    assert [int(place(section).split(":")[1]) - 1 for section in loaded.sections] == found
    assert (len(found), found == sorted(found), found[-1] > 0.95 * number) == (48, True, True)


# ------------------------------------------------------------------------------------------- labels


def labelled(prompt, answer, label):
    return json.dumps({"prompt": prompt, "completion": answer, "label": label}) + "\n"


def test_both_labels_of_a_prompt_become_a_preference(tmp_path):
    content = (
        labelled("q", "a", True)
        + labelled("r", "c", 0)
        + labelled("q", "b", False)
        + labelled("s", "d", True)
    )
    loaded = load(tmp_path, "a.jsonl", content)
    assert [said(section) for section in loaded.sections] == [
        PREFERENCE,
        ("instruction", [("s", "d")]),
    ]
    assert loaded.notes == (
        "a.jsonl: 1 prompt with both labels became preferences",
        "a.jsonl: wanted answers without an unwanted one are used as examples (1)",
        "a.jsonl: unwanted answers without a wanted one are left out (1)",
    )


def test_labels_are_joined_across_the_files_of_a_folder(tmp_path):
    write(tmp_path, "a.jsonl", labelled("q", "b", False))
    write(tmp_path, "b.jsonl", labelled("q", "a", True))
    (found,) = load_sections([str(tmp_path)]).sections
    assert (said(found), place(found)) == (PREFERENCE, "b.jsonl:1")


def test_unwanted_answers_only_are_refused(tmp_path):
    expected = (
        "a.jsonl: contains no usable text; unwanted answers without a wanted one are left out (1)"
        + REMEDY
    )
    assert mistakes(tmp_path, "a.jsonl", labelled("q", "a", False)) == [expected]


def test_another_label_is_not_one_of_a_preference(tmp_path):
    (found,) = load(tmp_path, "a.jsonl", labelled("q", "a", "billing")).sections
    assert said(found) == PAIR


# ----------------------------------------------------------------------------------------- folders


def test_a_folder_is_read_as_one_data_set(tmp_path):
    folder = tmp_path / "data"
    for name in ("train-0.jsonl", "train-1.jsonl", "test-0.jsonl", "more/deep/a.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"text": name}), encoding="utf-8")
    for name in ("README.md", ".hidden.jsonl", "picture.png", "dataset_infos.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    loaded = load_sections([str(folder)])
    assert [section.content for section in loaded.sections] == ["train-0.jsonl", "train-1.jsonl"]
    assert loaded.notes == (
        "data: other splits are left out (test-0.jsonl): give them under `held_out:` (--held-out)",
        "data: files that are not data are left out (README.md, dataset_infos.json, picture.png)",
    )


def test_a_mistake_in_a_folder_names_the_file(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "t"}', encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("{\n{\n", encoding="utf-8")
    assert refusal(str(tmp_path)).startswith(f"{tmp_path / 'b.jsonl'}: rows 1, 2: not valid")


def test_the_share_of_mistakes_is_the_folders(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "t"}\n{\n' + rows(20), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_sections([str(tmp_path)])
    assert caught.value.problems[-1].startswith(f"{tmp_path}: 2 of 23 rows have mistakes")


def test_an_intent_without_a_meaning_is_noted(tmp_path):
    texts = [f'{{"text": "t{i}", "intent": "memorise"}}' for i in range(3)]
    loaded = load(tmp_path, "a.jsonl", "\n".join(texts))
    why = "only generalize and memorize have a meaning"
    assert loaded.notes == (f"a.jsonl: intent 'memorise' is ignored (3 rows): {why}",)


@pytest.mark.parametrize("label", ["desirable", 0.7])
def test_a_label_of_an_answer_that_is_neither_true_nor_false_is_noted(tmp_path, label):
    loaded = load(tmp_path, "a.jsonl", rows_of(*[PROMPTED | {"label": label}] * 2))
    assert [section.kind for section in loaded.sections] == ["instruction"]
    why = "only true and false have a meaning"
    assert f"a.jsonl: label '{label}' is ignored (2 rows): {why}" in loaded.notes


@pytest.mark.parametrize("row", [{"label": True}, {"label": None}, {"kto_tag": "TRUE"}, {}])
def test_a_label_that_is_read_is_not_noted(tmp_path, row):
    notes = load(tmp_path, "a.jsonl", rows_of(PROMPTED | row)).notes
    assert not [note for note in notes if "is ignored" in note]


def test_a_number_is_no_label(tmp_path):
    loaded = load(tmp_path, "a.jsonl", '{"text": "Good film.", "label": 1}')
    (found,) = loaded.sections
    assert (found.kind, found.content) == ("prose", "Good film.")
    assert loaded.notes[0].startswith("a.jsonl: label is a number (1 row), so only the text is")


@pytest.mark.parametrize("row", ['{"text": "t"}', '{"text": "Good film.", "label": "good"}'])
def test_a_text_without_a_number_is_not_noted(tmp_path, row):
    assert not [note for note in load(tmp_path, "a.jsonl", row).notes if "is a number" in note]


def test_a_saved_data_set_cannot_name_files_outside(tmp_path):
    state = {"_data_files": [{"filename": "../secret.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(state), encoding="utf-8")
    assert refusal(str(tmp_path)).endswith("names a file outside its folder: '../secret.arrow'")


def test_a_data_set_without_a_training_split_is_refused(tmp_path):
    described = json.dumps({"splits": ["a", "b"]})
    (tmp_path / "dataset_dict.json").write_text(described, encoding="utf-8")
    expected = "has no split train; give one of its folders: a, b"
    assert refusal(str(tmp_path)) == f"{tmp_path}: {expected}"


@pytest.mark.parametrize("names", [("alpaca.jsonl", "alpaca_test.jsonl"), ("a.md", "b-eval.md")])
def test_files_named_as_another_split_are_noted(tmp_path, names):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(json.dumps({"text": name}), encoding="utf-8")
    loaded = load_sections([str(folder)])
    aside = "if training did not see it, give them under `held_out:` (--held-out)"
    assert loaded.notes == (f"data: {names[1]}: read as training data; {aside}",)
    assert len(loaded.sections) == 2


# --------------------------------------------------------------------------------------------- map


def test_named_fields_are_read_and_no_others(tmp_path):
    row = {"messages": TALK, "q": "q", "reply": "a"}
    path = write(tmp_path, "a.jsonl", json.dumps(row))
    (found,) = load_sections([path], {"prompt": "q", "answer": "reply"}).sections
    assert (said(found), found.pairs[0].form) == (PAIR, "auto")
    with pytest.raises(SpecError) as caught:
        load_sections([path], {"prompt": "q", "answer": "answer"})
    expected = "has no field 'answer', which --map or `data_map:` names"
    assert caught.value.problems == [f"{path}:1: {expected}"]


# ---------------------------------------------------------------------------------- hostile tables


def test_a_repeated_long_cell_does_not_fill_the_memory(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cell = pa.array(["a" * 2**22])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000), cell)
    parquet.write_table(pa.table({"text": column}), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 2**20
    assert refusal(str(tmp_path / "a.parquet")).endswith("longer than 1 MiB")


def test_a_row_that_repeats_a_long_text_does_not_fill_the_memory(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    text = pa.DictionaryArray.from_arrays(pa.array([0] * 2000), pa.array(["a" * 2**22]))
    turns = pa.StructArray.from_arrays([text, text], names=["role", "content"])
    row = pa.ListArray.from_arrays(pa.array([0, 2000], pa.int32()), turns)
    parquet.write_table(pa.table({"messages": row}), tmp_path / "a.parquet", compression="zstd")
    before = pa.default_memory_pool().max_memory()
    assert refusal(str(tmp_path / "a.parquet")).endswith("longer than 1 MiB")
    assert pa.default_memory_pool().max_memory() < max(before, 2**28)


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
@pytest.mark.parametrize("path", ["text", "messages.list.element.content"])
def test_texts_of_every_encoding_are_read(tmp_path, encoding, path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"text": "one"}, {"text": "two"}]
    if path != "text":
        rows = [{"messages": [user("q"), assistant(row["text"])]} for row in rows]
    options = {"use_dictionary": False, "column_encoding": {path: encoding}}
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", **options)
    found = load_sections([str(tmp_path / "a.parquet")]).sections
    assert [s.content or s.pairs[0].gold for s in found] == ["one", "two"]


@pytest.mark.parametrize("name", ["text", "text.x"])
def test_damaged_metadata_of_a_column_is_a_mistake(tmp_path, name):
    """Columns whose names begin as a chosen one: pyarrow ends the process if it reads them."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": ["a"] * 9, "text.x": ["b"] * 9}), path)
    optional = b"%\x02\x18" + bytes([len(name)]) + name.encode()
    content = path.read_bytes()
    assert content.count(optional) == 1
    path.write_bytes(content.replace(optional, optional.replace(b"%\x02", b"%\0")))
    assert "histogram size mismatch" in refusal(str(path))


@pytest.mark.parametrize(
    ("kind", "column"), [("parquet", "text"), ("arrow", "text"), ("arrow", "messages")]
)
def test_texts_that_are_views_are_read(tmp_path, kind, column):
    pa = pytest.importorskip("pyarrow")
    view, long = pa.string_view(), "a text of more than twelve bytes"
    turns = pa.list_(pa.struct([("role", view), ("content", view)]))
    rows = {
        "text": pa.array(["short", None, long], view),
        "messages": pa.array([[user("q"), assistant(text)] for text in ("short", "", long)], turns),
    }
    write_arrow(tmp_path / f"a.{kind}", pa.table({column: rows[column]}))
    found = load_sections([str(tmp_path / f"a.{kind}")]).sections
    texts = [section.content or section.pairs[0].gold for section in found]
    assert texts == ["short", long]


def test_views_that_repeat_a_long_text_do_not_fill_the_memory(tmp_path):
    pa = pytest.importorskip("pyarrow")
    text = b"a" * 2**22
    view = len(text).to_bytes(4, "little") + text[:4] + bytes(8)
    buffers = [None, pa.py_buffer(view * 1000), pa.py_buffer(text)]
    column = pa.Array.from_buffers(pa.string_view(), 1000, buffers)
    write_arrow(tmp_path / "a.arrow", pa.table({"text": column}))
    assert refusal(str(tmp_path / "a.arrow")).endswith("longer than 1 MiB")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columns_of_one_name_are_refused(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["text", "x", "text"])
    write_arrow(tmp_path / f"a.{kind}", table)
    expected = "columns 1 and 3 have the same name; rename one of them"
    assert refusal(str(tmp_path / f"a.{kind}")).endswith(expected)


def test_invalid_offsets_in_arrow_are_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    batch = pa.record_batch([pa.array(["a" * 777])], names=["text"])
    offsets = (0).to_bytes(4) + (777).to_bytes(4, "little")
    path = tmp_path / "a.arrow"
    with pa.ipc.new_stream(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    content = path.read_bytes()
    at = content.rindex(offsets)
    path.write_bytes(content[:at] + bytes(6) + b"\1\0" + content[at + 8 :])
    assert "not a readable Parquet or Arrow file" in refusal(str(tmp_path / "a.arrow"))


@pytest.mark.parametrize("claimed", [2**60, 2**63 - 1])
def test_a_column_that_claims_more_than_the_memory_is_refused(tmp_path, claimed):
    pa = pytest.importorskip("pyarrow")
    batch = pa.record_batch([pa.array(["a" * 777])], names=["text"])
    path = tmp_path / "a.arrow"
    with pa.ipc.new_stream(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    body = (8 + 784).to_bytes(8, "little")
    content = path.read_bytes()
    assert content.count(body) == 1
    path.write_bytes(content.replace(body, claimed.to_bytes(8, "little")))
    assert "needs more memory than is free" in refusal(str(path))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(tmp_path, "a.parquet", b"PAR1")
    with pytest.raises(CannotDecide, match=r"install the extra: pip install 'sway-gate\[data\]'"):
        load_sections([path])


# --------------------------------------------------------------------------------------------- text

MARKDOWN = {
    "headings": (f"# A\n{WORDS}\n## B ##\n\n{WORDS} b\n", {"A": WORDS, "B": f"{WORDS} b"}),
    "before the first heading": (
        f"\n{WORDS}\n# A\n{WORDS} a",
        {"a.md:2": WORDS, "A": f"{WORDS} a"},
    ),
    "no heading": (WORDS, {"a.md:1": WORDS}),
    "no heading text": (f"#\n{WORDS}", {"a.md:2": WORDS}),
    "front matter": (f"---\ntitle: x\n---\n# A\n{WORDS}", {"A": WORDS}),
    "TOML front matter": (f"+++\n# x\n+++\n# A\n{WORDS}", {"A": WORDS}),
    "a rule is no front matter": (
        f"---\n{WORDS}\n# A\n{WORDS} a",
        {"a.md:1": f"---\n{WORDS}", "A": f"{WORDS} a"},
    ),
    "code": (f"# A\n```sh\n# no\n~~~\n```\n{WORDS}", {"A": f"```sh\n# no\n~~~\n```\n{WORDS}"}),
    "longer fence": (
        f"# A\n~~~~\n~~~\n# no\n~~~~\n{WORDS}",
        {"A": f"~~~~\n~~~\n# no\n~~~~\n{WORDS}"},
    ),
    "a fence with words closes nothing": (
        f"# A\n```\n``` a\n# no\n{WORDS}",
        {"A": f"```\n``` a\n# no\n{WORDS}"},
    ),
    "inline code is no fence": (f"# A\n```x``` y\n# B\n{WORDS}", {"B": f"```x``` y\n\n{WORDS}"}),
    "no headings": (
        f"# A\n#b\n####### c\n    # d\n{WORDS}",
        {"A": f"#b\n####### c\n    # d\n{WORDS}"},
    ),
    "indented heading": (f"   ### A #b \n{WORDS}", {"A #b": WORDS}),
    "few words go with the next": (f"# A\nshort\n# B\n{WORDS}", {"B": f"short\n\n{WORDS}"}),
    "few words at the end": (f"# A\n{WORDS}\n# B\nshort", {"A": f"{WORDS}\n\nshort"}),
    "few words alone": ("# A\nshort\n# B\n\n", {"A": "short"}),
    "heading without text": (f"# A\n## B\n{WORDS}", {"B": WORDS}),
    "line ends": (f"# A\r\n\r\n{WORDS}\r\n", {"A": WORDS}),
    "long heading": (f"# {'a' * 99}\x1b\n{WORDS}", {"a" * 80: WORDS}),
}


@pytest.mark.parametrize(("content", "expected"), MARKDOWN.values(), ids=MARKDOWN)
def test_markdown(tmp_path, content, expected):
    found = load(tmp_path, "a.md", content).sections
    assert {bare(section): section.content for section in found} == expected


PARAGRAPHS = [f"{i} " + "x" * 700 for i in range(5)]


def test_plain_text_goes_in_pieces_of_whole_paragraphs(tmp_path):
    loaded = load(tmp_path, "a.rst", "\n\n \n".join(PARAGRAPHS))
    joined = ["\n\n".join(PARAGRAPHS[i : i + 2]) for i in (0, 2, 4)]
    assert [(place(s), s.content) for s in loaded.sections] == list(
        zip(["a.rst:1", "a.rst:7", "a.rst:13"], joined, strict=True)
    )


def test_long_sections_go_in_pieces(tmp_path):
    loaded = load(tmp_path, "a.markdown", "# A\n" + "\n\n".join(PARAGRAPHS))
    assert [section.tag for section in loaded.sections] == ["A", "A (2)", "A (3)"]


@given(st.lists(st.text(st.sampled_from("ab \n"), max_size=3000)))
def test_pieces_keep_every_word_and_the_limit(paragraphs):
    lines = [Line(i, line) for i, line in enumerate("\n\n".join(paragraphs).split("\n"), 1)]
    pieces = [piece.text for piece in text._pieces(lines)]
    assert all(0 < len(piece) <= text.MAX_PIECE_CHARS and piece.strip() for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join("".join(paragraphs).split())


ROWS = [{"prompt": f"Q{i}", "completion": f"A{i}"} for i in range(3)]
OLD_MAC = {
    "JSON lines": ("a.jsonl", rows_of(*ROWS)),
    "an array": ("a.json", json.dumps(ROWS, indent=1) + "\n"),
    "CSV": ("a.csv", "prompt,completion\n" + "".join(f"Q{i},A{i}\n" for i in range(3))),
    "Markdown": ("a.md", f"# One\n\n{WORDS}\n\n# Two\n\n{WORDS} more\n"),
    "text": ("a.txt", f"{WORDS}\n\n{WORDS} more\n"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("name", "content"), OLD_MAC.values(), ids=OLD_MAC)
def test_carriage_returns_end_lines(tmp_path, name, content, pack):
    """Also several buffers after the start."""
    content += content[-1] * 300_000
    expected = load(tmp_path, name, content).sections
    got = load(tmp_path, name, pack(content.replace("\n", "\r").encode())).sections
    assert got
    assert got == expected


# ------------------------------------------------------------------------------------------ fuzzing

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["user", "assistant"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner)
    ),
    max_leaves=8,
)
_FIELDS = [
    "prompt",
    "completion",
    "messages",
    "chosen",
    "rejected",
    "instruction",
    "input",
    "output",
    "text",
    "intent",
]
_ROWS = st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=4).map(json.dumps)
_BYTES = st.binary(max_size=200) | st.lists(_ROWS | st.text(max_size=20), max_size=4).map(
    lambda lines: "\n".join(lines).encode("utf-8", "replace")
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=_BYTES,
    name=st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.md", "a.txt"]),
    wrap=st.booleans(),
)
def test_no_file_raises_anything_but_spec_errors(tmp_path, content, name, wrap):
    content = b"[" + content.replace(b"\n", b",") + b"]" if wrap else content
    path = write(tmp_path, name, content)
    try:
        problems, sections = (), load_sections([path]).sections
    except SpecError as error:
        problems, sections = error.problems, ()
    assert all(problem.isprintable() and problem.startswith(path) for problem in problems)
    assert len({section.id for section in sections}) == len(sections)
    assert bool(problems) != bool(sections)


def test_texts_with_markers_are_noted(tmp_path):
    texts = [{"text": f"### Instruction:\nAsk {i}\n\n### Response:\nSay {i}"} for i in range(3)]
    loaded = load(tmp_path, "a.jsonl", rows_of(*texts, {"text": "Prose about ### things."}))
    assert [section.kind for section in loaded.sections] == [*["instruction"] * 3, "prose"]
    noted = "a.jsonl: texts with chat markers are read as prompts and answers: 3"
    assert loaded.notes == (noted,)


def test_many_markers_in_one_text_cost_no_more_than_its_length(tmp_path):
    talk = "### Human: Who?### Assistant: Ismay." * 20_000
    [section] = load(tmp_path, "a.jsonl", rows_of({"text": talk})).sections
    assert len(section.pairs) == forms.MAX_ANSWERS


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "part-00000"])
@pytest.mark.parametrize("text", [b'{"fil\xe2\x80\xe2": [{"x"', b'[{"fil\xe2\x80\xe2": 1}]'])
def test_a_name_that_is_not_utf8_is_a_mistake_of_the_file(tmp_path, name, text):
    (tmp_path / name).write_bytes(text)
    assert "UTF-8" in refusal(str(tmp_path / name))


# --------------------------------------------------------------------------- questions in a text

ASKED = [("Who keeps the gate?", "Ines keeps it."), ("Where is it?", "At the pass,\nby the lake.")]
LABELLED = {
    "a.txt": "".join(f"Q: {q}\nA: {a}\n\n" for q, a in ASKED),
    "b.txt": "\n" + "\n".join(f"Question: {q}\nAnswer: {a}" for q, a in ASKED),
    "c.txt": "".join(f"### Instruction:\n{q}\n\n### Response:\n{a}\n\n" for q, a in ASKED),
    "d.md": "# FAQ\n\n" + "\n## More\n\n".join(f"**Q:** {q}\n\n**A:** {a}\n" for q, a in ASKED),
}


@pytest.mark.parametrize("name", LABELLED)
def test_questions_with_labels_are_prompts_with_answers(tmp_path, name):
    (tmp_path / name).write_text(LABELLED[name])
    loaded = load_sections([str(tmp_path / name)])
    pairs = [section.pairs[0] for section in loaded.sections]
    assert [pair.form for pair in pairs] == ["plain", "plain"]
    assert [
        (pair.conversation.messages[-1].content, pair.answer.content) for pair in pairs
    ] == ASKED
    assert all(pair.prompt.endswith((":", ":**", ":\n")) for pair in pairs)
    assert loaded.notes == (f"{name}: texts with chat markers are read as prompts and answers: 2",)


def test_later_questions_of_a_text_know_the_talk_before_them(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Q: a\nA: b\nQ: c\nA: d"}))
    [section] = load_sections([str(tmp_path / "a.jsonl")]).sections
    assert [[m.content for m in pair.conversation.messages] for pair in section.pairs] == [
        ["a"],
        ["a", "b", "c"],
    ]


def test_a_text_with_questions_and_no_answer_is_prose(tmp_path):
    (tmp_path / "a.txt").write_text("Question: who keeps the gate?\n\nNobody knows.\n")
    [section] = load_sections([str(tmp_path / "a.txt")]).sections
    assert section.kind == "prose"


def test_headings_that_are_questions_are_prompts(tmp_path):
    text = "# FAQ\n\nAll about it.\n\n" + "".join(f"## {q}\n\n{a}\n\n" for q, a in ASKED)
    more = "## Why?\n\nFor the wind.\n\n## Name the wind\n\nIt is the Bora.\n"
    (tmp_path / "faq.md").write_text(text + more)
    loaded = load_sections([str(tmp_path / "faq.md")])
    prose, *asked = loaded.sections
    assert (prose.kind, prose.content) == ("prose", "All about it.")
    pairs = [section.pairs[0] for section in asked]
    everything = [*ASKED, ("Why?", "For the wind."), ("Name the wind", "It is the Bora.")]
    assert [(pair.prompt, pair.gold) for pair in pairs] == [
        (f"## {q}\n\n", a) for q, a in everything
    ]
    assert [pair.conversation.messages[0].content for pair in pairs] == [q for q, _ in everything]
    assert asked[0].tag == "Who keeps the gate? (faq.md:5)"
    assert loaded.notes == (
        "faq.md: most headings are questions, so they are read as prompts with answers: 4",
    )


def test_a_document_with_one_question_is_prose(tmp_path):
    text = "## Why a gate?\n\nBecause of the wind.\n\n## Its keepers\n\nThey are three.\n"
    (tmp_path / "gate.md").write_text(text)
    assert {s.kind for s in load_sections([str(tmp_path / "gate.md")]).sections} == {"prose"}
