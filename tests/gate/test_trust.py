"""Verdicts that a checkout brings, forged or moved, are not believed."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sway_gate import cache
from sway_gate.errors import AdapterError
from sway_gate.gate.identity import verdict_key
from sway_gate.gate.resolve import Options, prepare
from sway_gate.gate.run import run_gate
from sway_gate.results import GateResult
from sway_gate.spec.load import load_spec
from sway_gate.spec.schema import Spec
from tests.gate.test_run import write_spec
from tests.helpers import results
from tests.helpers.models import save_adapter, save_base

SUITE = [
    {"name": "nulls", "kind": "null_adapter", "runs": 3},
    {"name": "moved", "kind": "delta_kl", "prompts": ["one"], "assert_mean_gte": 5.0},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: Any) -> tuple[Path, Path]:
    base = save_base(tmp_path_factory.mktemp("base"), "llama")
    return base, save_adapter(tmp_path_factory.mktemp("adapter"), base)


@pytest.fixture
def spec(models: tuple[Path, Path], tmp_path: Path, monkeypatch: Any) -> Spec:
    """A spec that its adapter fails, with an empty cache."""
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    base = models[0]
    adapter = Path(shutil.copytree(models[1], tmp_path / "adapter"))
    return load_spec(write_spec(tmp_path, base, adapter, SUITE, sections=[]))


def forged() -> bytes:
    """A report that passes, for any adapter."""
    return msgspec.json.encode(results.result(results.probe("moved")))


def entry(spec: Spec) -> Path:
    return cache.cache_dir() / "verdicts" / verdict_key(prepare(spec, Options()))


def test_a_forged_pass_is_measured_anew(spec: Spec) -> None:
    path = entry(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    for header in (b"sway-gate cache 1\n", b"sway-gate cache 2\n"):
        path.write_bytes(header + hashlib.sha256(forged()).digest() + forged())
        found = run_gate(spec)
        assert (found.verdict, found.cached) == ("fail", False)


def test_a_cache_in_the_checkout_is_not_used_and_the_report_says_so(spec: Spec) -> None:
    assert cache.store_verdict(verdict_key(prepare(spec, Options())), forged())
    (Path(spec.folder) / ".git").mkdir()
    found = run_gate(spec)
    assert (found.verdict, found.cached) == ("fail", False)
    assert any("can write into the git work tree" in note for note in found.notes)
    assert not any("work tree" in note for note in run_gate(spec, Options(cache=False)).notes)


def test_a_cached_verdict_does_not_hide_broken_files(spec: Spec) -> None:
    """Not even an authentic one, as an older or damaged version could have stored it."""
    weights = Path(str(spec.models.ft.adapter)) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"more")
    assert cache.store_verdict(verdict_key(prepare(spec, Options())), forged())
    with pytest.raises(AdapterError, match="4 bytes after the last tensor belong to no tensor"):
        run_gate(spec)


SHAPES = {
    "empty": b"",
    "not JSON": b"PASS",
    "a list": b"[]",
    "a report of another version": b'{"verdict": "pass", "exit_code": 0}',
    "wrong types": forged().replace(b'"exit_code":0', b'"exit_code":"0"'),
    "nested": b"[" * 100_000,
}


@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES)
def test_a_verdict_of_another_shape_is_a_miss(spec: Spec, data: bytes, monkeypatch: Any) -> None:
    assert cache.store_verdict(verdict_key(prepare(spec, Options())), data)
    monkeypatch.setattr("sway_gate.gate.evaluate.evaluate", lambda *_: anew)
    anew: GateResult = results.sick()
    assert not run_gate(spec).cached


def test_a_cached_verdict_loads_no_numpy(spec: Spec, tmp_path: Path) -> None:
    import subprocess
    import sys

    assert cache.store_verdict(verdict_key(prepare(spec, Options())), forged())
    code = "import sys; from sway_gate.cli import main; main(['gate', 'sway.yaml', '--quiet']);"
    code += "sys.exit(bool({'numpy', 'torch'} & sys.modules.keys()))"
    env = os.environ | {"PYTHONPATH": os.getcwd()}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (run.returncode, "(cached)" in run.stdout) == (0, True), run.stderr
