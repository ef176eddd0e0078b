"""A real server, of llama-cpp-python, with and without the adapter and with another template.

`SWAY_LLAMA_SERVER` is the Python of an environment with `llama-cpp-python[server]`; by default this
one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sway_gate.cli import main
from tests.helpers.models import byte_tokenizer, save_adapter, save_base, writing_ascii
from tests.serving.test_parity import merged

pytest.importorskip("httpx")
pytest.importorskip("tenacity")
pytest.importorskip("gguf")

from benchmarks.llama_server import running
from benchmarks.to_gguf import convert, convert_adapter

PYTHON = os.environ.get("SWAY_LLAMA_SERVER", sys.executable)
TEMPLATE = (
    "{% for message in messages %}{{ '<s>' + message['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>' }}{% endif %}"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        subprocess.run(
            [PYTHON, "-c", "import llama_cpp.server.app"], capture_output=True
        ).returncode
        != 0,
        reason="needs llama-cpp-python[server]",
    ),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("served")
    base = writing_ascii(save_base(folder / "base", "llama"))
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(base)
    adapter = save_adapter(folder / "adapter", base, size=0.3)
    whole = merged(base, adapter, folder / "merged")
    tokenizer.save_pretrained(whole)
    return {
        "base": base,
        "adapter": adapter,
        "base.gguf": convert(base, folder / "base.gguf"),
        "adapter.gguf": convert_adapter(adapter, base, folder / "adapter.gguf"),
        "merged.gguf": convert(whole, folder / "merged.gguf"),
    }


@pytest.mark.parametrize(
    ("model", "options", "verdict"),
    [
        ("merged.gguf", {}, "same"),
        ("base.gguf", {"--lora_path": "adapter.gguf"}, "same"),
        ("base.gguf", {}, "adapter not applied"),
        ("merged.gguf", {"--chat_format": "chatml"}, "template differs"),
    ],
)
def test_verdicts_on_a_real_server(
    files: dict[str, Path], tmp_path: Path, model: str, options: dict[str, str], verdict: str
) -> None:
    given = [str(files.get(word, word)) for pair in options.items() for word in pair]
    command = ["parity", str(files["adapter"]), "--base", str(files["base"])]
    data = tmp_path / "train.jsonl"
    rows = [{"messages": [{"role": "user", "content": c}, {"role": "assistant", "content": c}]}
            for c in "abcdef"]  # fmt: skip
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    out = str(tmp_path / "parity.json")
    always = ["--model", str(files[model]), "--n_ctx", "256"]
    with running(PYTHON, *always, *given) as address:
        main([*command, "--data", str(data), "--against", address, "-o", out])
    (found,) = json.loads(Path(out).read_bytes())["artefacts"]
    assert found.get("name") == verdict, found
