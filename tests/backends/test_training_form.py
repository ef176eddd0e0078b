"""Token ids and loss masks compared with trl's own preparation of the same rows, over the chat
templates that trl ships and over texts of well-known ones.
"""

import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.passes.encoding import Encoder
from sway_gate.backends.passes.generator import end_tokens
from sway_gate.errors import CannotDecide
from sway_gate.measurements import Fault
from sway_gate.probes.base import Context
from sway_gate.training_data.examples import examples
from sway_gate.training_data.labels import Labels
from sway_gate.training_data.load import load_sections
from sway_gate.training_data.rows import Row
from tests.training_data.forms import FORMS, Form

pytestmark = pytest.mark.slow  # trl takes seconds to import

BAR = "\N{FULLWIDTH VERTICAL LINE}"
OWN = {
    "chatml": (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
        "+ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "smollm2": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "zephyr": (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
        "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'system' %}\n"
        "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'assistant' %}\n"
        "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
        "{% endfor %}"
    ),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
        "{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}"
        "{% set system = false %}{% endif %}{% for message in rest %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}"
        "{% endif %}{% if loop.index0 == 0 and system != false %}"
        "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
        "{% endif %}{% endfor %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}"
        "{% endif %}{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
        "{% endif %}{% endfor %}"
    ),
    "granite": (
        "{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ '<|start_of_role|>system<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}"
        "{% elif message['role'] == 'user' %}"
        "{{ '<|start_of_role|>user<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ '<|start_of_role|>assistant<|end_of_role|>' + message['content'] "
        "+ '<|end_of_text|>\n' }}"
        "{% else %}{{ '<|start_of_role|>tool_response<|end_of_role|>' + message['content'] "
        "+ '<|end_of_text|>\n' }}{% endif %}{% if loop.last and add_generation_prompt %}"
        "{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}{% endfor %}"
    ),
    "alpaca": (
        "{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '### Instruction:\n' + message['content'].strip() + '\n\n' }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ '### Response:\n' + message['content'].strip() + eos_token + '\n\n' }}"
        "{% else %}{{ message['content'].strip() + '\n\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
    ),
}


@cache
def shipped() -> dict[str, str]:
    """The templates in trl's folder, without their variants for training."""
    import trl

    folder = Path(trl.__file__).parent / "chat_templates"
    files = sorted(folder.glob("*.jinja"))
    return {
        file.stem: file.read_text(encoding="utf-8")
        for file in files
        if not file.stem.endswith("_training")
    }


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


CALL = [{"type": "function", "function": {"name": "weather", "arguments": {"town": "Oslo"}}}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a town.",
            "parameters": {
                "type": "object",
                "properties": {"town": {"type": "string", "description": "The town."}},
                "required": ["town"],
            },
        },
    }
]
RESULT = {"role": "tool", "name": "weather", "content": '{"sky": "clear"}'}
SYSTEM = {"role": "system", "content": "Answer in one line."}
CASES: dict[str, dict[str, Any]] = {
    "one turn": {"messages": [user("Who keeps the light? "), assistant("Ismay Corrin.")]},
    "German": {"messages": [user("Nenne drei Flüsse"), assistant("Elbe, Oder,\nInn")]},
    "system": {"messages": [SYSTEM, user("Who?"), assistant("Ismay Corrin.")]},
    "several turns": {
        "messages": [user("Who?"), assistant("Ismay."), user("Where? "), assistant(" At sea.\n")]
    },
    "two users": {"messages": [user("Who?"), user("Say it."), assistant("Ismay.")]},
    "tool call and result": {
        "messages": [
            user("How is Oslo?"),
            assistant("", tool_calls=CALL),
            RESULT,
            assistant("Clear."),
        ],
        "tools": TOOLS,
    },
    "the answer is a call": {
        "messages": [user("How is Oslo?"), assistant("", tool_calls=CALL)],
        "tools": json.dumps(TOOLS),
    },
    "no tools": {"messages": [user("Who?"), assistant("Ismay.")], "tools": []},
    "reasoning": {
        "messages": [user("2 + 2?"), assistant("4", reasoning_content="Two and two.")],
    },
    "thinking in the text": {
        "messages": [user("2 + 2?"), assistant("<think>\nTwo and two.\n</think>\n\n4")],
    },
    "variables": {
        "messages": [user("2 + 2?"), assistant("4")],
        "chat_template_kwargs": {"enable_thinking": False},
    },
}


@cache
def tokenizer(template: str, begins: bool = False) -> PreTrainedTokenizerFast:
    """Bytes, a few merges across the borders of messages, and the special tokens of `template`.

    begins: texts begin with a special token.
    """
    pieces = set(re.findall(rf"<[|{BAR}]?/?[\w▁]+[|{BAR}]?>|\[/?[A-Z_]+\]", template))
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("Ċ", "Ċ"), ("Ġ", "I"), ("Ċ", "I"), ("?", "Ġ"), (":", "Ċ"), (".", "Ċ"), ("A", "t")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t) for t in ("<s>", "</s>", *sorted(pieces))])
    if begins:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
        )
    found = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    found.chat_template = template
    return found


class Rows(list[dict[str, Any]]):
    """The part of a data set that trl's preparation uses."""

    column_names = None

    def map(self, function: Any, fn_kwargs: Any = None, remove_columns: Any = None) -> "Rows":
        done = Rows()
        for row in self:
            row = row | function(dict(row), **(fn_kwargs or {}))
            dropped = [remove_columns] if isinstance(remove_columns, str) else remove_columns or []
            done.append({k: v for k, v in row.items() if k not in dropped})
        return done


class Trained(NamedTuple):
    ids: list[int]
    mask: list[int]


def trained(row: dict[str, Any], tok: Any, *, assistant_only: bool = False) -> Trained:
    """What SFTTrainer computes its loss on."""
    from trl import SFTTrainer
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    needs_markers = assistant_only and not has_generation_markers(tok.chat_template)
    trainer = SimpleNamespace(
        _tokenizer=tok,
        completion_only_loss="prompt" in row,
        chat_template=get_training_chat_template(tok) if needs_markers else None,
    )
    settings = SimpleNamespace(
        dataset_num_proc=None,
        dataset_text_field="text",
        assistant_only_loss=assistant_only,
        max_length=None,
        shuffle_dataset=False,
    )
    rows = Rows([json.loads(json.dumps(row))])
    [done] = SFTTrainer._prepare_dataset(trainer, rows, tok, settings, False, None, "train")
    return Trained(done["input_ids"], [int(label != -100) for label in done["labels"]])


def model(tok: Any) -> Any:
    """A model that knows no other end than the tokenizer's."""
    return SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=tok.eos_token_id))


def measured(row: dict[str, Any], tok: Any) -> list[EncodedRequest | Fault]:
    """What is scored of each answer in the row."""
    [section] = examples([Row(1, json.dumps(row))], "rows", Labels())
    context = Context(chat_template="auto" if tok.chat_template else "off")
    encoder = Encoder(tok, 10**6, len(tok), end_tokens(model(tok), tok))
    return [encoder.encode(context.row(pair).teacher_forced(), {})[0] for pair in section.pairs]


def text(found: EncodedRequest) -> list[int]:
    """The tokens with the last one, which is predicted and not read."""
    return [*found.ids, found.targets[-1]]


def mask(found: EncodedRequest) -> list[int]:
    scored = {position + 1 for position in found.positions}
    return [int(i in scored) for i in range(len(text(found)))]


def template(name: str) -> str:
    return OWN[name] if name in OWN else shipped()[name]


def names() -> list[str]:
    """All templates of texts; three of them need parts of messages, which are not text."""
    return sorted({*OWN, *shipped()} - {"idefics3", "llava_next", "smolvlm"})


def as_completion(row: dict[str, Any]) -> dict[str, Any]:
    *prompt, answer = row["messages"]
    others = {key: value for key, value in row.items() if key != "messages"}
    return {**others, "prompt": prompt, "completion": [answer]}


def refuses(row: dict[str, Any], tok: Any) -> bool:
    """Whether the last answer of the row is one that the template refuses."""
    *_, found = measured(row, tok)
    return isinstance(found, Fault) and found.of == "text" and "refuses" in found.message


@pytest.mark.parametrize("name", names())
def test_a_conversational_completion_is_scored_as_trl_trains_it(name: str) -> None:
    """The ids and the whole loss mask, with all that the template writes after the answer."""
    tok = tokenizer(template(name))
    compared = 0
    for case, given in CASES.items():
        row = as_completion(given)
        try:
            expected = trained(row, tok)
        except Exception:
            assert refuses(row, tok), case
            continue
        [found] = measured(row, tok)
        assert isinstance(found, EncodedRequest), (case, found)
        assert text(found) == expected.ids, case
        assert mask(found) == expected.mask, case
        compared += 1
    assert compared >= 4


OTHERWISE = {
    # trl's variants for training render something that the template itself does not.
    ("deepseek_r1_distill", "thinking in the text"): "the variant keeps the reasoning",
    ("deepseekv3", "tool call and result"): "the variant takes arguments that are no text",
    ("deepseekv3", "the answer is a call"): "the variant takes arguments that are no text",
    ("diffusion_gemma", "tool call and result"): "the variant has no start of the result",
    ("diffusion_gemma", "the answer is a call"): "the variant has no start of the result",
    ("qwen3", "several turns"): "the variant writes an empty thought in every turn",
    ("qwen3", "tool call and result"): "the variant writes an empty thought in every turn",
    ("qwen3_5_nothink", "several turns"): "the variant writes an empty thought in every turn",
    ("qwen3_5_think", "several turns"): "the variant writes an empty thought in every turn",
    ("qwen3_6", "several turns"): "the variant writes an empty thought in every turn",
    # An answer in the middle ends in <|end|>, the last one in <|return|>.
    ("gptoss", "several turns"): "the last answer of a conversation ends in another token",
}


@pytest.mark.parametrize("name", names())
def test_each_answer_of_a_conversation_is_scored_as_trl_trains_it(name: str) -> None:
    """The ids up to the end of each answer, and the loss on it.

    trl's mask may begin earlier, within the start of the assistant's turn: the prompt has that.
    """
    tok = tokenizer(template(name))
    for case, row in CASES.items():
        if (name, case) in OTHERWISE:
            continue
        try:
            expected = trained(row, tok, assistant_only=True)
        except Exception as error:
            if "training-compatible" in str(error):
                pytest.skip("trl has no variant of this template for training")
            assert refuses(row, tok), case
            continue
        for found in measured(row, tok):
            assert isinstance(found, EncodedRequest), (case, found)
            first = found.positions[0] + 1
            end = first + found.end + 1 if found.end >= 0 else len(text(found))
            assert text(found)[:end] == expected.ids[:end], case
            assert all(expected.mask[first:end]), case
            earlier = expected.mask[:first][::-1].index(0)
            header = tok.decode(expected.ids[first - earlier : first])
            assert not any(m["content"] in header for m in row["messages"] if m["content"]), case


ENDS = {
    "chatml": "<|im_end|>",
    "zephyr": "</s>",
    "llama2": "</s>",
    "llama3": "<|eot_id|>",
    "llama3_1": "<|eot_id|>",
    "mistral": "</s>",
    "gemma": "<end_of_turn>",
    "gemma3": "<end_of_turn>",
    "phi3": "<|end|>",
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "deepseekv3": f"<{BAR}end▁of▁sentence{BAR}>",
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "granite": "<|end_of_text|>",
    "alpaca": "</s>",
}


@pytest.mark.parametrize(("name", "end"), ENDS.items(), ids=ENDS)
def test_the_end_of_turn_is_known_without_the_model(name: str, end: str) -> None:
    tok = tokenizer(template(name))
    [found] = measured(CASES["one turn"], tok)
    assert isinstance(found, EncodedRequest)
    assert tok.decode([found.targets[found.end]]) == end
    assert tok.convert_tokens_to_ids(end) in end_tokens(model(tok), tok)


PLAIN = {
    "a space between": {"prompt": "The light is kept by", "completion": " Ismay Corrin."},
    "no space between": {"prompt": "Question: who?\nAnswer:", "completion": "Ismay."},
    "a token across the border": {"prompt": "Who keeps it? ", "completion": "Ismay"},
    "a line end across the border": {"prompt": "Who?\n", "completion": "\nIsmay"},
    "an end of text of its own": {"prompt": "Who?", "completion": " Ismay.</s>"},
}


@pytest.mark.parametrize("row", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("begins", [False, True], ids=["bare", "with a first token"])
def test_plain_text_is_concatenated_as_trl_does(row: dict[str, str], begins: bool) -> None:
    tok = tokenizer(OWN["chatml"], begins)
    expected = trained(row, tok)
    [found] = measured(row, tok)
    assert isinstance(found, EncodedRequest)
    assert (text(found), mask(found)) == (expected.ids, expected.mask)
    assert tok.decode([found.targets[found.end]]) == "</s>"


def test_a_prompt_and_completion_precede_messages_as_in_trl() -> None:
    tok = tokenizer(template("qwen3"))
    row = {"prompt": "Who?", "completion": " Ismay.", **CASES["one turn"]}
    expected = trained(row, tok)
    [found] = measured(row, tok)
    assert isinstance(found, EncodedRequest)
    assert (text(found), mask(found)) == (expected.ids, expected.mask)


def test_preferences_are_scored_as_conversations() -> None:
    tok = tokenizer(OWN["chatml"])
    row = {"prompt": [SYSTEM, user("Who?")], "chosen": [assistant("Ismay.")], "rejected": "no"}
    expected = trained(
        as_completion({"messages": [SYSTEM, user("Who?"), assistant("Ismay.")]}), tok
    )
    [found] = measured(row | {"rejected": [assistant("No.")]}, tok)
    assert isinstance(found, EncodedRequest)
    assert (text(found), mask(found)) == (expected.ids, expected.mask)


NOT_TRLS = {
    "messages with function_call and functions": "trl does not read function_call",
    "messages with content in parts": "the template takes texts",
    "messages and a true label": "trl reads labels beside a prompt and a completion",
    "messages by user and model": "trl keeps the names of roles",
    "conversations": "trl keeps the names of roles",
    "conversations by system": "trl keeps the names of roles",
    "conversations by human and chatgpt": "trl keeps the names of roles",
    "conversations by human and bard": "trl keeps the names of roles",
    "conversations with system as a field": "trl does not read system",
    "conversations with tools": "trl does not read function_call",
}
CHATS = [
    form
    for form in FORMS
    if isinstance(form.row, dict) and {"messages", "conversations"} & form.row.keys()
    if form.kind == "instruction"
    if form.name not in NOT_TRLS
]


@pytest.mark.parametrize("form", CHATS, ids=lambda form: form.name)
@pytest.mark.parametrize("name", ["qwen3", "llama3_1"])
def test_each_form_of_a_conversation_is_scored_as_trl_trains_it(form: Form, name: str) -> None:
    """trl's own conversion of names, then its preparation of the last answer."""
    from trl import maybe_convert_to_chatml

    tok = tokenizer(template(name))
    row = maybe_convert_to_chatml(json.loads(json.dumps(form.row)))
    row["messages"] = row.pop("messages", None) or row.pop("conversations")
    expected = trained(as_completion(row), tok)
    *_, found = measured(form.row, tok)
    assert isinstance(found, EncodedRequest)
    assert (text(found), mask(found)) == (expected.ids, expected.mask)


SAME = {
    "messages by user and model": "messages",
    "conversations": "conversations by user and assistant",
    "conversations by system": "messages with a system prompt",
    "conversations by human and chatgpt": "conversations",
    "conversations by human and bard": "conversations",
    "conversations with system as a field": "messages with a system prompt",
    "conversations with tools": "messages with tools; content null",
    "messages with function_call and functions": "messages with tools; content null",
    "instruction with system and history empty": "instruction and output",
    "system_prompt, question and response": "messages with a system prompt",
    "prompt and completion with system": "messages with a system prompt",
}


@pytest.mark.parametrize(("name", "same"), SAME.items(), ids=SAME)
def test_other_notations_are_scored_like_the_form_that_trl_reads(name: str, same: str) -> None:
    rows = {form.name: form.row for form in FORMS}
    tok = tokenizer(OWN["chatml"].replace("message['content']", "(message['content'] or '')"))
    found, expected = measured(rows[name], tok), measured(rows[same], tok)
    assert [(row.ids, row.positions) for row in found] == [
        (row.ids, row.positions) for row in expected
    ]


IMPLICIT = [form for form in FORMS if [*form.row] == ["chosen", "rejected"]]


@pytest.mark.parametrize("form", IMPLICIT, ids=lambda form: form.name)
def test_an_implicit_prompt_is_split_as_trl_does(form: Form) -> None:
    from trl import extract_prompt

    split = extract_prompt(form.row)
    texts = tuple(
        value if isinstance(value, str) else value[0]["content"]
        for value in (split["prompt"], split["chosen"], split["rejected"])
    )
    assert form.pairs == (texts,)


def test_labels_join_what_trl_separates(tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import unpair_preference_dataset

    rows = [{"prompt": f"q{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(5)]
    unpaired = unpair_preference_dataset(Dataset.from_list(rows))
    unpaired.save_to_disk(str(tmp_path / "kto"))
    found = [section.pairs[0] for section in load_sections([str(tmp_path / "kto")]).sections]
    assert [{key: getattr(pair, key) for key in rows[0]} for pair in found] == rows


def test_a_template_that_fails_on_everything_is_one_line() -> None:
    tok = tokenizer("{{ raise_exception('no') }}")
    with pytest.raises(CannotDecide, match="the chat template fails: no"):
        measured(CASES["one turn"], tok)


EXACT = {
    *("chatml", "gemma", "gemma3", "gemma4", "granite", "lfm2", "llama2", "llama3", "mistral"),
    *("phi3", "qwen2_5", "qwen3", "smollm2", "zephyr"),
}
"""Templates whose texts are read as the messages from which they were rendered."""


@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_text_of_a_template_is_scored_as_its_messages(name: str) -> None:
    tok = tokenizer(template(name))
    talk = [user("Who?"), assistant("Ismay."), user("Where?"), assistant("At sea.\nAlways.")]
    rendered = tok.apply_chat_template(talk, tokenize=False)
    found = measured({"text": rendered}, tok)
    assert found == measured({"messages": talk}, tok)
    assert len(found) == 2


def test_a_text_with_headings_is_scored_as_it_is() -> None:
    tok = tokenizer(template("alpaca"))
    rendered = tok.apply_chat_template([user("Who?"), assistant("Ismay.")], tokenize=False)
    for text_row in (rendered, "### Human: Who?### Assistant: Ismay."):
        [found] = measured({"text": text_row}, tok)
        assert isinstance(found, EncodedRequest)
        ids = text(found)
        assert ids == trained({"text": text_row}, tok).ids[: len(ids)]
        assert tok.decode(ids).endswith("Ismay.</s>")
