"""The gate from a spec file to a verdict, on synthetic models."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from msgspec import structs
from safetensors.numpy import load_file, save_file

from sway_gate import cli
from sway_gate.backends import null_adapters
from sway_gate.gate import resolve
from sway_gate.gate.prefetch import prefetch
from sway_gate.gate.resolve import Options, load_options
from sway_gate.gate.run import run_gate
from sway_gate.spec.load import load_spec, parse_spec
from sway_gate.spec.probes import MINILM, PINNED, DeltaKL
from sway_gate.spec.schema import ModelRef, Models, Spec

SUITE: list[dict[str, Any]] = [
    {"name": "nulls", "kind": "null_adapter", "runs": 8},
    {
        "name": "moved",
        "kind": "delta_kl",
        "prompts": ["one", "two words", "and three words"],
        "assert_mean_gte": 0.0,
    },
    {"name": "learned", "kind": "section_internalization", "max_prose_chars": 60},
    {"name": "curve", "kind": "adapter_ablation", "prompts": ["one", "two words"]},
]
SECTIONS = [
    {"kind": "prose", "content": "the old mill by the river grinds corn"},
    {"kind": "prose", "content": "x y z"},
]


@pytest.fixture
def panicking(base: Path, tmp_path: Path) -> Path:
    """A base whose tokenizer has a pattern that backtracks for ever on a long run of x."""
    folder = shutil.copytree(base, tmp_path / "panicking")
    fields = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    split = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated"}
    steps = [{**split, "invert": False}, fields["pre_tokenizer"]]
    fields["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    (folder / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))


def write_spec(
    folder: Path, base: Path, adapter: Path, suite: list[dict[str, Any]] = SUITE, **fields: Any
) -> str:
    document = {
        "version": 1,
        "models": {"base": {"base": str(base)}, "ft": {"base": str(base), "adapter": str(adapter)}},
        "suite": suite,
        "sections": SECTIONS,
        "control": "plain words about nothing",
    }
    path = folder / "sway.yaml"
    path.write_text(yaml.safe_dump(document | fields), encoding="utf-8")
    return str(path)


def run(path: str, **options: Any) -> Any:
    return run_gate(load_spec(path), Options(**options))


def as_null(adapter: Path, folder: Path, scale: float) -> Path:
    """The same adapter with random directions in every module: an exact null."""
    shutil.copytree(adapter, folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    for name in [n for n in tensors if "lora_A" in n]:
        partner = name.replace("lora_A", "lora_B")
        delta = null_adapters.LowRank(tensors[name], tensors[partner])
        draw = null_adapters.low_rank(
            f"elsewhere {name}", delta, null_adapters.NullSettings(runs=1, seed_base=77)
        )
        tensors[name], tensors[partner] = (
            draw.a[0],
            np.ascontiguousarray(draw.b[0] * np.float32(scale)),
        )
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_hours_need_a_yes_or_a_time_limit(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    path = write_spec(tmp_path, base, adapter)
    asked: list[float] = []
    monkeypatch.setattr("sway_gate.gate.evaluate.check_time", lambda *given: asked.append(given[3]))
    monkeypatch.setattr("sway_gate.gate.evaluate.Stages", lambda *_: 1 / 0)
    for options in ([], ["--yes"], ["--timeout", "1h"], ["--timeout", "3h"]):
        assert cli.main(["gate", path, *options]) == 3
    assert asked == [7200, 7200, 10_800]


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 3.0, 10.0])
def test_a_null_judged_as_if_it_were_trained_fails_at_every_scale(
    base: Path, adapter: Path, tmp_path: Path, scale: float
) -> None:
    sick = as_null(adapter, tmp_path / "null", scale)
    result = run(write_spec(tmp_path, base, sick))
    assert (result.verdict, result.exit_code) == ("fail", 1)
    assert all(probe.z < 3 for probe in result.probes), [(p.name, p.z) for p in result.probes]


def test_z_does_not_depend_on_the_scale_of_the_adapter(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    """The spectrum null moves with the adapter: z of a small effect does not depend on its size."""
    z = {}
    for scale in (0.01, 0.02):
        folder = tmp_path / str(scale)
        shutil.copytree(adapter, folder)
        tensors = load_file(folder / "adapter_model.safetensors")
        save_file(
            {n: x * np.float32(scale if "lora_B" in n else 1) for n, x in tensors.items()},
            folder / "adapter_model.safetensors",
        )
        z[scale] = run(write_spec(tmp_path, base, folder)).probes[0].z
    assert z[0.01] == pytest.approx(z[0.02], abs=0.1)


@pytest.mark.slow
def test_the_json_is_the_same_bit_for_bit_in_another_process(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    command = ["gate", write_spec(tmp_path, base, adapter), "--no-cache", "--quiet", "--json"]
    call = [sys.executable, "-m", "sway_gate", *command, str(tmp_path / "other.json")]
    subprocess.run(call, check=False, capture_output=True, env=os.environ)
    cli.main([*command, str(tmp_path / "this.json")])
    reports = [json.loads((tmp_path / f"{name}.json").read_bytes()) for name in ("this", "other")]
    this, other = ({k: v for k, v in report.items() if k != "timing"} for report in reports)
    assert this == other


def test_a_repeated_gate_is_cached_and_says_so(base: Path, adapter: Path, tmp_path: Path) -> None:
    path = write_spec(tmp_path, base, adapter)
    first, again = run(path), run(path)
    assert (first.cached, again.cached) == (False, True)
    assert first.probes == again.probes
    assert first.exit_code == again.exit_code


def never_trained(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({n: x * np.float32("lora_B" not in n) for n, x in load_file(file).items()}, file)


CHECKOUTS = {"trained": (lambda folder: None, 3), "never trained": (never_trained, 0)}


@pytest.mark.parametrize(("spoil", "probes"), CHECKOUTS.values(), ids=CHECKOUTS)
def test_another_checkout_finds_the_verdict_and_names_its_own_files(
    base: Path, adapter: Path, tmp_path: Path, spoil: Any, probes: int
) -> None:
    for name in ("here", "there"):
        shutil.copytree(base, tmp_path / name / "base")
        spoil(Path(shutil.copytree(adapter, tmp_path / name / "adapter")))
    here, there = (
        run(write_spec(tmp_path / name, tmp_path / name / "base", tmp_path / name / "adapter"))
        for name in ("here", "there")
    )
    fresh = run(there.spec, cache=False)
    assert (here.cached, there.cached, len(there.probes)) == (False, True, probes)
    assert [f.path for f in there.findings] != [f.path for f in here.findings] or probes
    assert structs.replace(there, cached=False, timing={}) == structs.replace(fresh, timing={})


CHANGES = {
    "threshold": lambda path, adapter: {"threshold": 0.1},
    "weights": lambda path, adapter: {"weights": {"adherence": 0.9}},
    "spec": lambda path, adapter: Path(path).write_text(
        Path(path).read_text("utf-8").replace("runs: 8", "runs: 5"), "utf-8"
    ),
    "adapter": lambda path, adapter: _touch_weights(adapter),
}


def _touch_weights(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    save_file({name: x * np.float32(1.5) for name, x in load_file(file).items()}, file)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_the_verdict_depends_on_is_in_its_key(
    base: Path, adapter: Path, tmp_path: Path, change: Any
) -> None:
    own = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    path = write_spec(tmp_path, base, own)
    run(path)
    options = change(path, own)
    assert not run(path, **(options if isinstance(options, dict) else {})).cached


def test_another_threshold_measures_nothing_again(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    path = write_spec(tmp_path, base, adapter)
    first = run(path)
    monkeypatch.setattr("sway_gate.gate.open._load", lambda *_: pytest.fail("the model was loaded"))
    again = run(path, threshold=0.0)
    assert [p.raw for p in again.probes] == [p.raw for p in first.probes]
    assert (again.device, again.determinism) == (first.device, first.determinism)


def test_errors_are_never_cached_and_never_green(base: Path, adapter: Path, tmp_path: Path) -> None:
    suite = [*SUITE, {"name": "empty", "kind": "delta_kl"}]
    path = write_spec(tmp_path, base, adapter, suite, defaults={"coverage_threshold": 0.0})
    for _ in range(2):
        result = run(path)
        assert result.probes[-1].verdict == "error"
        assert (result.exit_code, result.cached) == (1 if result.verdict == "fail" else 3, False)


def test_a_disabled_probe_is_reported_as_skipped(base: Path, adapter: Path, tmp_path: Path) -> None:
    suite = [*SUITE, {"name": "off", "kind": "delta_kl", "prompts": ["a"], "enabled": False}]
    skipped = run(write_spec(tmp_path, base, adapter, suite)).probes[-1]
    assert (skipped.verdict, skipped.message) == ("skip", "disabled in the spec")


@pytest.mark.parametrize("runs", [1, 2])
def test_too_few_nulls_are_raised_with_a_note(
    base: Path, adapter: Path, tmp_path: Path, runs: int
) -> None:
    suite = [SUITE[0] | {"runs": runs}, SUITE[1]]
    result = run(write_spec(tmp_path, base, adapter, suite))
    assert result.nulls.runs == 3
    assert any("raised" in note for note in result.notes)


def test_kinds_left_out_of_the_calibration_say_so(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    suite = [SUITE[0] | {"calibrate_kinds": ["adapter_ablation"]}, *SUITE[1:]]
    result = run(write_spec(tmp_path, base, adapter, suite))
    assert [p.n_null for p in result.probes] == [0, 0, 8]
    assert "(no calibration)" in result.probes[0].message


ANYTHING = SUITE[1] | {"assert_z_gte": -100.0}


def test_data_without_a_test_of_what_was_learned_does_not_pass(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    result = run(write_spec(tmp_path, base, adapter, [ANYTHING]))
    assert (result.verdict, result.exit_code) == ("error", 3)
    assert [p.verdict for p in result.probes] == ["pass"]
    assert result.diagnosis.name == "undecided"
    assert "section_internalization" in result.diagnosis.advice
    assert [name for name, c in result.categories.items() if c.required] == ["attribution"]
    without = run(write_spec(tmp_path, base, adapter, [ANYTHING], sections=[]))
    assert (without.verdict, without.diagnosis.name) == ("pass", "no fault found")


def test_a_category_that_was_skipped_is_noted(base: Path, adapter: Path, tmp_path: Path) -> None:
    suite = [ANYTHING, SUITE[3] | {"enabled": False}]
    result = run(write_spec(tmp_path, base, adapter, suite, sections=[]))
    assert "ablation: all probes were skipped (curve); the composite omits it" in result.notes


def test_an_untrained_adapter_is_a_verdict_without_a_model(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    never_trained(own)
    result = run(write_spec(tmp_path, base, own))
    assert (result.verdict, result.exit_code, result.probes) == ("fail", 1, ())
    assert result.findings[0].id == "never-trained"


NO_BASE = {"base": {"base": "org/none"}, "ft": {"base": "org/none", "adapter": "{adapter}"}}
COMMANDS = {
    "no such base": (["gate", "{spec}"], {"models": NO_BASE}, 3, "hf download org/none"),
    "broken adapter": (["gate", "{spec}"], {"broken": True}, 2, "adapter_model.safetensors"),
}


@pytest.mark.parametrize(("command", "change", "code", "words"), COMMANDS.values(), ids=COMMANDS)
def test_exit_codes(
    base: Path,
    adapter: Path,
    tmp_path: Path,
    capsys: Any,
    command: list[str],
    change: Any,
    code: int,
    words: str,
) -> None:
    own = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    if change.pop("broken", False):
        (own / "adapter_model.safetensors").write_bytes(b"short")
    fields = json.loads(json.dumps(change).replace("{adapter}", str(own)))
    path = write_spec(tmp_path, base, own, **fields)
    assert cli.main([part.format(spec=path) for part in command]) == code
    assert words in capsys.readouterr().err


def test_check_says_in_its_first_line_that_a_null_is_a_null(
    base: Path, adapter: Path, tmp_path: Path, capsys: Any
) -> None:
    sick = as_null(adapter, tmp_path / "null", 1.0)
    assert cli.main(["check", str(sick), "--base", str(base)]) == 1
    first = capsys.readouterr().out.splitlines()[0]
    told = r"FAIL +not moved: [+-]\d\.\dσ, like random changes of the same size"
    assert re.fullmatch(told, first)


LOADING = {
    "neither": ({}, {}, ("auto", "auto", False, None)),
    "base": ({"dtype": "fp32", "device": "cpu"}, {}, ("fp32", "cpu", False, None)),
    "ft": ({}, {"dtype": "bf16", "trust_remote_code": True}, ("bf16", "auto", True, None)),
    "ft over base": ({"dtype": "fp32"}, {"dtype": "bf16"}, ("bf16", "auto", False, None)),
    "quantized base": ({"quantization": "nf4"}, {}, ("auto", "auto", False, "nf4")),
    "quantized": ({}, {"quantization": "int8"}, ("auto", "auto", False, "int8")),
}


@pytest.mark.parametrize(("base_fields", "ft_fields", "expected"), LOADING.values(), ids=LOADING)
def test_one_load_serves_both(
    base_fields: dict[str, Any], ft_fields: dict[str, Any], expected: Any
) -> None:
    models = Models(
        base=ModelRef(base="o/m", **base_fields),
        ft=ModelRef(base="o/m", adapter="o/a", **ft_fields),
    )
    suite = (DeltaKL(name="d", prompts=("p",)),)
    assert load_options(Spec(models=models, suite=suite)) == expected


def test_bf16_gives_the_same_verdicts(base: Path, adapter: Path, tmp_path: Path) -> None:
    path = write_spec(tmp_path, base, adapter)
    halves = Path(path).read_text("utf-8").replace("adapter: ", "dtype: bf16\n    adapter: ", 1)
    full = run(path)
    Path(path).write_text(halves, "utf-8")
    half = run(path)
    assert half.dtype == "bfloat16"
    assert [p.verdict for p in half.probes] == [p.verdict for p in full.probes]
    assert [p.raw for p in half.probes] == pytest.approx(
        [p.raw for p in full.probes], rel=0.2, abs=0.02
    )


def test_prefetch_fetches_embedding_models_too(monkeypatch, tmp_path):
    model, other, asked = tmp_path / "m", tmp_path / "other", []
    model.mkdir()
    other.mkdir()
    (model / "config.json").write_text("{}")

    def local(ref, revision, **_):
        asked.append((ref, revision))
        return model if ref == "o/m" else other

    monkeypatch.setattr(resolve.hub, "local", local)
    models = "{base: {base: o/m, revision: v1}, ft: {base: o/m, adapter: o/a}}"
    case = "{prompt: What is it?, gold: A net., paraphrases: [Say what it is.]}"
    suite = f"[{{name: a, kind: adapter_revert, cases: [{case}]}}]"
    text = f"version: 1\nmodels: {models}\nsuite: {suite}"
    lines = prefetch(parse_spec(text, "sway.yaml", str(tmp_path)))
    assert asked == [("o/a", None), ("o/m", "v1"), (MINILM, PINNED[MINILM])]
    assert lines[2] == f"embedding model {MINILM}: {other}"


def test_a_panic_of_the_tokenizer_is_one_error(panicking, adapter, tmp_path, capsys):
    suite = [{"name": "moved", "kind": "delta_kl", "prompts": ["x" * 60]}]
    path = write_spec(tmp_path, panicking, adapter, suite=suite)
    assert cli.main(["gate", path]) == 3
    [line] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert "the tokenizer stops with an internal error: Onig: Regex search error" in line
