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
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.passes.encoding import Encoder
from sway_gate.backends.passes.generator import end_tokens
from sway_gate.errors import CannotDecide
from sway_gate.measurements import Fault
from sway_gate.probes.base import Context
from sway_gate.training_data.examples import examples
from sway_gate.training_data.files import Line

pytestmark = pytest.mark.slow  # trl takes seconds to import

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
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
        "{% endif %}{% endfor %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}"
        "{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
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
        "{{ '<|start_of_role|>assistant<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}"
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
def tokenizer(template: str) -> PreTrainedTokenizerFast:
    """Bytes, a few merges across the borders of messages, and the special tokens of `template`."""
    pieces = set(re.findall(r"<[|｜][^<>'\"{}\s]*[|｜]>|</?[a-z_]+>|\[/?[A-Z_]+\]", template))
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("Ċ", "Ċ"), ("Ġ", "I"), ("Ċ", "I"), ("?", "Ġ"), (":", "Ċ"), (".", "Ċ"), ("A", "t")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t) for t in ("<s>", "</s>", *sorted(pieces))])
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


def measured(row: dict[str, Any], tok: Any) -> list[EncodedRequest | Fault]:
    """What is scored of each answer in the row."""
    [section] = examples([Line(1, json.dumps(row))], "rows")
    context = Context(chat_template="auto" if tok.chat_template else "off")
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=tok.eos_token_id))
    encoder = Encoder(tok, 10**6, len(tok), end_tokens(model, tok))
    return [encoder.encode(context.row(pair).teacher_forced(), {})[0] for pair in section.pairs]


def mask(found: EncodedRequest) -> list[int]:
    scored = {position + 1 for position in found.positions}
    return [int(i in scored) for i in range(len(found.ids))]


def template(name: str) -> str:
    return OWN[name] if name in OWN else shipped()[name]


def names() -> list[str]:
    try:
        return [*OWN, *shipped()]
    except ImportError:
        return [*OWN]


def as_completion(row: dict[str, Any]) -> dict[str, Any]:
    *prompt, answer = row["messages"]
    return {**row, "prompt": prompt, "completion": [answer], "messages": None}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", names())
def test_a_conversational_completion_is_scored_as_trl_trains_it(name: str, case: str) -> None:
    tok = tokenizer(template(name))
    row = {k: v for k, v in as_completion(CASES[case]).items() if v is not None}
    try:
        expected = trained(row, tok)
    except Exception:
        [found] = measured(row, tok)
        assert isinstance(found, Fault)
        assert found.of == "text"
        return
    [found] = measured(row, tok)
    assert isinstance(found, EncodedRequest), found
    assert list(found.ids) == expected.ids
    assert mask(found) == expected.mask
