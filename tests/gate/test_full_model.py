"""The gate on a fine-tuned model without an adapter, from a spec or a command to a verdict."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from sway_gate import cache, cli
from sway_gate.errors import AdapterError, CannotDecide, UsageError
from sway_gate.gate.diff import with_adapter
from sway_gate.gate.identity import verdict_key
from sway_gate.gate.resolve import Options, check_unchanged, prepare
from sway_gate.gate.run import run_gate
from sway_gate.judge.diagnosis import TABLE, about_full_model
from sway_gate.model_files import digest
from sway_gate.reports import json_v1, markdown, terminal
from sway_gate.spec.load import parse_spec
from sway_gate.static.check import check_model
from sway_gate.suites.check import CheckInputs, check_suite
from tests.helpers import results

SUITE = """
suite:
  - {name: nulls, kind: null_adapter, runs: 3}
  - {name: moved, kind: delta_kl, prompts: [one, two words, and three], assert_mean_gte: 0.0}
"""


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: Any) -> Path:
    """A low-rank change in one direction, much larger than random ones of its spectrum."""
    folder = tmp_path_factory.mktemp("tuned")
    model = AutoModelForCausalLM.from_pretrained(base)
    model.lm_head.weight.data[65] += 3 * model.model.norm.weight.data
    model.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))


def spec(base: Path, tuned: Path, fields: str = "") -> Any:
    models = f"models:\n  base: {{base: {base}}}\n  ft: {{base: {tuned}{fields}}}\n"
    return parse_spec(models + SUITE, "sway.yaml", ".")


def test_a_verdict_from_a_spec(base, tuned):
    result = run_gate(spec(base, tuned))
    assert result.adapter.path == str(tuned)
    assert result.adapter.is_full
    assert not result.base.is_full
    assert result.probes[0].n_null == 3
    assert f"fine-tuned model {tuned}" in terminal.render(result, color=False)
    assert f"fine-tuned model: {tuned}" in markdown.render(result).replace("\\", "")
    report = json.loads(json_v1.to_json(result))
    assert (report["adapter"]["is_full"], report["base"]["is_full"]) == (True, False)
    assert json_v1.from_json(json_v1.to_json(result)).adapter == result.adapter
    assert run_gate(spec(base, tuned)).cached


def test_other_weights_are_another_verdict(base, tuned, tmp_path):
    run_gate(spec(base, tuned))
    other = Path(shutil.copytree(tuned, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors["lm_head.weight"] += 0.1
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    assert not run_gate(spec(base, other)).cached


@pytest.mark.parametrize("age", [0, 3600 * 10**9], ids=["settled files", "young files"])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer_config.json"])
def test_a_model_that_changes_while_it_is_measured_is_seen(
    base, tuned, tmp_path, monkeypatch, name, age
):
    monkeypatch.setattr(digest, "_SETTLED_NS", age)
    own = Path(shutil.copytree(tuned, tmp_path / "own"))
    job = prepare(spec(base, own), Options())
    check_unchanged(job)
    time.sleep(0.02)  # the resolution of a file's times
    with open(own / name, "ab") as file:
        file.write(b" ")
    with pytest.raises(CannotDecide, match="own changed while it was measured"):
        check_unchanged(job)


def test_a_cached_verdict_does_not_hide_a_broken_model(base, tuned, tmp_path):
    own = Path(shutil.copytree(tuned, tmp_path / "own"))
    with open(own / "model.safetensors", "ab") as file:
        file.write(b"more")
    report = msgspec.json.encode(results.sick())
    assert cache.store_verdict(verdict_key(prepare(spec(base, own), Options())), report)
    with pytest.raises(AdapterError, match="4 bytes after the last tensor belong to no tensor"):
        run_gate(spec(base, own))


def test_a_model_given_as_an_adapter(tuned, capsys):
    assert cli.main(["check", str(tuned)]) == 2
    assert "judge it with sway check --model" in capsys.readouterr().err


def test_a_copy_of_the_base_fails(base, tmp_path):
    copy = shutil.copytree(base, tmp_path / "copy")
    result = run_gate(spec(base, copy))
    assert result.verdict == "fail"
    assert "adapter" not in result.diagnosis.sentence + result.diagnosis.advice


def test_two_models_side_by_side(base, tuned):
    loaded = parse_spec(
        f"models: {{base: {{base: {base}}}, ft: {{kind: hf, base: {tuned}}}}}\n"
        "defaults: {differential: false}" + SUITE,
        "sway.yaml",
        ".",
    )
    result = run_gate(loaded, Options(cache=False))
    assert result.probes[0].n_null == 0
    assert result.probes[0].raw > 0


def test_each_model_has_its_own_revision(base):
    loaded = spec(base, Path("org/tuned"), ", revision: main")
    assert (loaded.models.base.revision, loaded.models.ft.revision) == (None, "main")


def test_an_adapter_replaces_the_model(base, tuned, tmp_path):
    models = with_adapter(spec(base, tuned), str(tmp_path)).models
    assert not models.is_full
    assert (models.ft.base, models.ft.adapter) == (str(base), str(tmp_path))


def test_check_judges_a_model(base, tuned, capsys):
    cli.main(["check", "--model", str(tuned), "--base", str(base), "--quiet"])
    output = capsys.readouterr()
    assert not output.err
    assert output.out.split()[0] in ("MOVED", "UNCLEAR", "FAIL")
    assert "adapter" not in output.out.replace("null adapters", "")


ARGUMENTS = {
    "nothing": ((None, "org/b", None), {}, "give an adapter, or a fine-tuned model with --model"),
    "both": (("org/a", "org/b", None), {"model": "org/m"}, "either an adapter or --model"),
    "no base": ((None, None, None), {"model": "org/m"}, "--model requires --base"),
    "quantization": (
        (None, "org/b", None),
        {"model": "org/m", "quantization": "nf4"},
        "--quantization requires an adapter",
    ),
}


@pytest.mark.parametrize(("given", "more", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_wrong_arguments(given, more, message):
    with pytest.raises(UsageError, match=message):
        check_suite(CheckInputs(*given, **more))


def test_quantization_is_part_of_the_suite():
    models = check_suite(CheckInputs("org/a", "org/b", quantization="nf4")).models
    assert models.ft.quantization == "nf4"


def edited(tuned: Path, folder: Path, edit: Any) -> Path:
    shutil.copytree(tuned, folder)
    edit(folder)
    return folder


def with_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][0] = torch.nan
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "../b.safetensors", "c": 1}}
FILES = {
    "healthy": (lambda f: None, {}, 0),
    "NaN": (with_nan, {"non-finite": "verdict"}, 1),
    "an adapter": (
        lambda f: (f / "adapter_config.json").write_text("{}"),
        {"model-is-adapter": "broken"},
        2,
    ),
    "a GGUF model": (
        lambda f: (
            (f / "model.safetensors").unlink(),
            (f / "a.gguf").write_bytes(b"GGUF"),
        ),
        {"not-a-model": "broken"},
        2,
    ),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        {"model-weights-missing": "broken"},
        2,
    ),
    "a missing shard": (
        lambda f: (
            (f / "model.safetensors").unlink(),
            (f / "model.safetensors.index.json").write_text(json.dumps(INDEX)),
        ),
        {"model-shard-missing": "broken"},
        2,
    ),
    "damaged": (
        lambda f: (f / "model.safetensors").write_bytes(b"short file"),
        {"weights-truncated": "broken"},
        2,
    ),
}


@pytest.mark.parametrize(("edit", "found", "code"), FILES.values(), ids=FILES)
def test_the_static_check_of_a_model(tuned, tmp_path, edit, found, code):
    report = check_model(edited(tuned, tmp_path / "model", edit))
    assert {f.id: f.level for f in report.findings} == found
    assert report.exit_code == code


def test_nan_fails_without_a_load(base, tuned, tmp_path):
    result = run_gate(spec(base, edited(tuned, tmp_path / "model", with_nan)))
    assert (result.verdict, result.device) == ("fail", "")
    assert result.findings[0].path == str(tmp_path / "model" / "model.safetensors")


@pytest.mark.parametrize("symptom", TABLE)
def test_a_diagnosis_speaks_of_the_model(symptom):
    entry = TABLE[symptom]
    text = about_full_model(f"{entry.sentence} {entry.advice}")
    assert not any(word in text for word in ("adapter", "lora_alpha", "rank"))
