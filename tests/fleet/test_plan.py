"""The plan of a gate: its keys, its group, and what its worker needs."""

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sway_gate import demo
from sway_gate.errors import SwayError
from sway_gate.fleet.plan import Gate, Planned, Task, plan
from sway_gate.fleet.worker import Answer, Worker
from sway_gate.gate.resolve import Options
from sway_gate.spec.load import load_spec
from sway_gate.version import __version__

ENVIRONMENT = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "GOMP_SPINCOUNT",
)
SPEC = """\
version: 1
models:
  base: {base: ./model, dtype: fp32, device: cpu}
  ft: {base: ./model, dtype: fp32, device: cpu, adapter: ./healthy}
defaults: {timeout: 10m}
suite:
  - {name: moved, kind: delta_kl, prompts: [Marrowby is a village of]}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    for name in ENVIRONMENT:  # a worker changes them
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    shutil.copytree(demo.MODEL, "model")
    for name in ("healthy", "untrained"):
        shutil.copytree(demo.FOLDER / name, name)
    Path("sway.yaml").write_text(SPEC, encoding="utf-8")
    return tmp_path


def planned(adapter: str = "", spec: str = "sway.yaml", **options: Any) -> Planned:
    loaded = load_spec(spec, adapter or None)
    return plan(Gate(spec, adapter), loaded, Options(allow_code=True, **options))


def test_the_same_files_have_the_same_keys() -> None:
    assert planned() == planned()


def test_adapters_of_one_base_share_a_worker_and_no_result() -> None:
    one, other = planned("healthy"), planned("untrained")
    assert one.base == other.base
    assert len({one.key, other.key, one.task.content, other.task.content}) == 4


@pytest.mark.parametrize(
    ("change", "by"),
    [
        pytest.param(SPEC.replace("village", "town"), {"key", "content"}, id="a prompt"),
        pytest.param(SPEC.replace("fp32", "bf16"), {"key", "content", "base"}, id="the dtype"),
        pytest.param(SPEC.replace("10m", "20m"), {"limit"}, id="the time limit"),
        pytest.param(f"{SPEC}# a comment\n", set(), id="a comment"),
    ],
)
def test_a_change_of_the_spec_changes_its_keys(change: str, by: set[str]) -> None:
    def facts(one: Planned) -> dict[str, Any]:
        keys = {"key": one.key, "base": one.base, "content": one.task.content}
        return {**keys, "limit": one.limit}

    before = facts(planned())
    Path("sway.yaml").write_text(change, encoding="utf-8")
    after = facts(planned())
    assert {name for name in before if before[name] != after[name]} == by


def test_another_path_has_another_result_of_the_same_content() -> None:
    shutil.copytree("healthy", "copy")
    one, other = planned("healthy"), planned("copy")
    assert one.task.content == other.task.content
    assert one.key != other.key


def test_a_task_has_absolute_paths_and_no_secret() -> None:
    task = planned("healthy").task
    assert (task.spec, task.adapter) == (
        str(Path("sway.yaml").absolute()),
        str(Path("healthy").absolute()),
    )
    assert set(msgspec.structs.asdict(task)) == {
        "spec", "adapter", "content", "tier", "budget", "uses_cache",
    }  # fmt: skip


def test_a_cpu_needs_memory_and_a_gpu_needs_none() -> None:
    weights = Path("model/model.safetensors").stat().st_size
    need = planned().need
    assert need.device == "cpu"
    assert 2 * weights < need.memory_bytes < 2 * 2**30
    Path("sway.yaml").write_text(SPEC.replace("device: cpu", "device: cuda"), encoding="utf-8")
    assert planned().need.memory_bytes == 0


def test_without_the_cache_nothing_is_stored() -> None:
    one = planned(cache=False)
    assert (one.key, one.task.uses_cache) == ("", False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("kind: dummy, base: ./model", "kind: dummy has no files to compare; use `sway gate`"),
        ("trust_remote_code: true, base: ./model", "trust_remote_code: true runs code"),
    ],
)
def test_what_digests_do_not_determine_is_refused(change: str, reason: str) -> None:
    Path("sway.yaml").write_text(SPEC.replace("base: ./model", change), encoding="utf-8")
    with pytest.raises(SwayError, match=reason):
        planned()


def test_a_broken_adapter_is_refused_before_a_worker_starts() -> None:
    Path("healthy/adapter_model.safetensors").unlink()
    with pytest.raises(SwayError) as error:
        planned()
    assert error.value.exit_code == 2


def test_a_worker_refuses_files_that_were_not_planned() -> None:
    """It does so before it loads a model."""
    task = planned().task
    Path("sway.yaml").write_text(SPEC.replace("village", "town"), encoding="utf-8")
    found = msgspec.json.decode(judged(task), type=Answer)
    assert (found.report, found.exit_code) == ("", 3)
    assert found.error.startswith("the worker read other files than this machine")


def test_an_error_of_a_worker_is_an_answer() -> None:
    task = planned().task
    Path("sway.yaml").unlink()
    found = msgspec.json.decode(judged(task), type=Answer)
    assert (found.content, found.exit_code) == (task.content, 2)
    assert "no such file" in found.error


def judged(task: Task) -> bytes:
    return Worker(__version__, threads=1).judge(msgspec.json.encode(task))


def test_a_worker_of_another_version_does_not_start() -> None:
    with pytest.raises(SwayError, match="install the same version on every node"):
        Worker("0.0.1", threads=1)


def test_a_worker_is_offline_whatever_the_node_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAY_ONLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    Worker(__version__, threads=3)
    assert "SWAY_ONLINE" not in os.environ
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["OMP_NUM_THREADS"]) == ("1", "3")
