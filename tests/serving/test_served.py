"""Verdicts on servers that serve another model than its name states."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from sway_gate.cli import main
from tests.helpers.models import byte_tokenizer, save_adapter, save_base
from tests.serving.test_parity import merged, rounded
from tests.serving.test_server import Reply, serving

pytest.importorskip("httpx")
pytest.importorskip("tenacity")


def completions(models: dict[str, Path]) -> Callable[[str, dict[str, Any], Any], Reply]:
    """A server of the models, by name, that gives the log-probabilities of a prompt."""
    loaded: dict[str, Any] = {
        name: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        for name, path in models.items()
    }
    tokenizer = byte_tokenizer()

    def answer(path: str, body: dict[str, Any], headers: Any) -> Reply:
        ids = tokenizer(body["prompt"])["input_ids"]
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
        return 200, {"choices": [{"logprobs": logprobs}]}

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
