"""`sway parity` on servers that give no log-probabilities: verdicts by samples."""

import json
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from sway_gate.backends.api import sampling
from sway_gate.backends.api.client import Client, Refused
from sway_gate.backends.api.sampling import completions, draw
from sway_gate.cli import main
from sway_gate.errors import CannotDecide
from sway_gate.serving import samples
from tests.helpers.models import byte_tokenizer, save_adapter, save_base, writing_ascii
from tests.helpers.served import Reply, serving
from tests.serving.test_parity import merged

pytest.importorskip("httpx")
pytest.importorskip("tenacity")

TEMPLATE = "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}<s>"


class Sampling:
    """A server that draws texts and gives no log-probabilities. `paths`: what it answers to."""

    def __init__(self, models: dict[str, Path], *paths: str) -> None:
        self._loaded: dict[str, Any] = {
            name: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
            for name, path in models.items()
        }
        self._tokenizer, self._paths, self._lock = byte_tokenizer(), paths, Lock()
        self._tokenizer.chat_template = TEMPLATE

    def __call__(self, path: str, body: dict[str, Any], headers: Any) -> Reply:
        if path not in self._paths:
            return 404, {}
        ids = body.get("prompt")
        if ids is None:
            ids = self._tokenizer.apply_chat_template(body["messages"], return_dict=False)
        if isinstance(ids, str):
            return 400, {}
        with self._lock:
            torch.manual_seed(body.get("seed", 0))
            config = GenerationConfig(
                max_new_tokens=body["max_tokens"],
                do_sample=body["temperature"] > 0,
                top_k=0,
                eos_token_id=self._tokenizer.eos_token_id,
                pad_token_id=0,
            )
            new = self._loaded[body["model"]].generate(torch.tensor([ids]), config)[0, len(ids) :]
        text = self._tokenizer.decode(new, skip_special_tokens=True)
        return 200, {"choices": [{"text": text, "message": {"content": text}}]}


def save_sure_base(out: Path) -> Path:
    """A base that is not almost undecided between all bytes."""
    base = writing_ascii(save_base(out, "llama"))
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    model.get_output_embeddings().weight.data *= 30
    model.save_pretrained(base)
    return base


VERDICTS = {
    "merged": "same by samples",
    "dropped": "adapter not applied",
    "other": "different by samples",
}


@pytest.mark.parametrize(
    ("path", "names"), [("/v1/completions", [*VERDICTS]), ("/v1/chat/completions", ["merged"])]
)
def test_verdicts_by_samples(
    path: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_TOKENS", 3)
    base = save_sure_base(tmp_path / "base")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(base)
    adapter, other = (
        save_adapter(tmp_path / str(seed), base, seed=seed, size=1.0) for seed in (0, 5)
    )
    models = {
        "merged": merged(base, adapter, tmp_path / "merged"),
        "dropped": base,
        "other": merged(base, other, tmp_path / "another"),
    }
    rows = [{"messages": [{"role": "user", "content": c}, {"role": "assistant", "content": c}]}
            for c in "abcdef"]  # fmt: skip
    data, out = tmp_path / "train.jsonl", tmp_path / "parity.json"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with serving(Sampling(models, path)) as address:
        files = [str(adapter), "--base", str(base), "--data", str(data), "-o", str(out)]
        code = main(["parity", *files, "--against", *(f"{address}#{name}" for name in names)])
    found = json.loads(out.read_bytes())["artefacts"]
    assert [one["name"] for one in found] == [VERDICTS[name] for name in names]
    assert found[0]["p"] > samples.LEVEL >= found[0]["p_of_base"]
    assert code == (len(names) > 1)


def test_settings_that_a_strict_server_does_not_know_are_left_out() -> None:
    bodies: list[dict[str, Any]] = []

    def strict(path: str, body: dict[str, Any], headers: Any) -> Reply:
        bodies.append(body)
        return (400, {}) if "top_k" in body else (200, {"choices": [{"text": "x"}]})

    with serving(strict) as address:
        assert draw(Client(address, "s"), "m", [completions(["a", "b"])], 2, 3) == [["x"] * 2] * 2
    drawn = bodies[-4:]
    assert len({body["seed"] for body in drawn}) == 4
    assert {body["temperature"] for body in drawn} == {1.0}


def test_transformers_serve_draws_from_the_whole_distribution(tmp_path: Path) -> None:
    base = save_sure_base(tmp_path / "base")
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    ids = torch.tensor([byte_tokenizer()("ab")["input_ids"]])

    def drawn(**settings: Any) -> list[int]:
        torch.manual_seed(0)
        found = model.generate(ids, GenerationConfig(max_new_tokens=40, pad_token_id=0, **settings))
        return [int(token) for token in found[0]]

    whole = drawn(do_sample=True, top_k=0)
    model.generation_config.update(
        temperature=0.3, top_k=2, top_p=0.3, min_p=0.4, typical_p=0.3,
        repetition_penalty=3.0, no_repeat_ngram_size=1,
    )  # fmt: skip
    (sent,) = (s["generation_config"] for s in sampling._SETTINGS if "generation_config" in s)
    assert drawn(**json.loads(str(sent))) == whole
    assert drawn(do_sample=True, top_k=0) != whole


def test_a_model_that_no_path_has_is_an_error() -> None:
    answer = serving(lambda path, *_: (404, {"error": f"no model at {path}"}))
    with answer as address, pytest.raises(Refused, match="no model at /v1/completions"):
        draw(Client(address, "s"), "m", [completions(["a"])], 2, 3)


def test_a_server_that_decodes_greedily_is_not_compared() -> None:
    reference = SimpleNamespace(passages=[None] * 9)
    drawn: Any = SimpleNamespace(reference=reference, models=([["a", "b"]] * 9, [["c", "d"]] * 9))
    server: Any = SimpleNamespace(label="s", samples=lambda *_: [["a", "a"]] * 9)
    with pytest.raises(CannotDecide, match="writes the same text at each request"):
        samples.by_samples(server, drawn, "")


def test_texts_differ_neither_by_outer_space_nor_by_half_a_character() -> None:
    assert samples._beginnings([["ab \ufffd", " ab"], ["\ufffdb", ""]]) == [
        ["ab", "ab"],
        ["\ufffdb", ""],
    ]
