"""Verdicts on servers that serve another model than its name states."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from sway_gate.cli import main
from tests.helpers.models import byte_tokenizer, save_adapter, save_base, writing_ascii
from tests.helpers.served import Reply, serving
from tests.serving.test_parity import merged, rounded

pytest.importorskip("httpx")
pytest.importorskip("tenacity")


def completions(
    models: dict[str, Path], *, takes_ids: bool = False, adds_start: bool = False
) -> Callable[[str, dict[str, Any], Any], Reply]:
    """A server of the models, by name, that gives the log-probabilities of a prompt.

    `adds_start`: it adds the first token to each text.
    """
    loaded: dict[str, Any] = {
        name: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        for name, path in models.items()
    }
    tokenizer = byte_tokenizer()

    def answer(path: str, body: dict[str, Any], headers: Any) -> Reply:
        ids = body.get("prompt")
        if path != "/v1/completions" or (isinstance(ids, list) and not takes_ids):
            return 400, {}
        if isinstance(ids, str):
            ids = adds_start * [tokenizer.bos_token_id] + tokenizer(ids)["input_ids"]
        used = {"prompt_tokens": len(ids)}
        with torch.inference_mode():
            rows = loaded[body["model"]](torch.tensor([ids])).logits[0].log_softmax(-1)
        best = int(rows[-1].argmax())
        first = 1 if body.get("echo") else len(ids)
        ids, tops = [*ids, best], rows.max(-1).values
        chosen = [None if i < first else float(rows[i - 1, ids[i]]) for i in range(len(ids))]
        logprobs = {
            "tokens": [tokenizer.decode([i]) for i in ids],
            "token_logprobs": chosen,
            "top_logprobs": [
                None if i < first else {"x": float(tops[i - 1])} for i in range(len(ids))
            ],
        }
        if not body.get("echo"):
            logprobs = {name: values[-1:] for name, values in logprobs.items()}
        return 200, {"choices": [{"logprobs": logprobs}], "usage": used}

    return answer


def test_verdicts_on_servers(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "adapter", base, size=0.3)
    coarse = merged(rounded(base, tmp_path / "rounded"), adapter, tmp_path / "coarse")
    models = {
        "merged": merged(base, adapter, tmp_path / "merged"),
        "dropped": base,
        "quantized": coarse,
    }
    with serving(completions(models)) as address:
        against = [f"{address}#{name}" for name in models]
        out = tmp_path / "parity.json"
        code = main(
            ["parity", str(adapter), "--base", str(base), "--json", str(out), "--against", *against]
        )
    found = [one["name"] for one in json.loads(out.read_bytes())["artefacts"]]
    assert found == ["same", "adapter not applied", "precision not stated"]
    assert code == 1


FORMS: dict[str, dict[str, bool]] = {
    "texts": {},
    "texts to which it adds the first token": {"adds_start": True},
    "ids": {"takes_ids": True, "adds_start": True},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_first_token_is_never_doubled(tmp_path: Path, form: dict[str, bool]) -> None:
    base = writing_ascii(save_base(tmp_path / "base", "llama"))
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}<s>"
    tokenizer.save_pretrained(base)
    adapter = save_adapter(tmp_path / "adapter", base, size=0.3)
    models = {"merged": merged(base, adapter, tmp_path / "merged")}
    rows = [{"messages": [{"role": "user", "content": c}, {"role": "assistant", "content": c}]}
            for c in "abcd"]  # fmt: skip
    data = tmp_path / "train.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    out = tmp_path / "parity.json"
    with serving(completions(models, **form)) as address:
        files = [str(adapter), "--base", str(base), "--data", str(data), "-o", str(out)]
        code = main(["parity", *files, "--against", f"{address}#merged"])
    (found,) = json.loads(out.read_bytes())["artefacts"]
    assert (found["name"], code) == ("same", 0)
    assert found["error"] < 0.001
