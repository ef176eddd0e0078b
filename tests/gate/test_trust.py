"""Verdicts that a checkout brings, forged or moved, are not believed."""

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sway_gate import cache
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.gate import evaluate
from sway_gate.gate.identity import verdict_key
from sway_gate.gate.open import OpenBase
from sway_gate.gate.resolve import Options, check_unchanged, prepare
from sway_gate.gate.run import run_gate
from sway_gate.model_files import digest
from sway_gate.results import GateResult
from sway_gate.spec.load import load_spec
from sway_gate.spec.schema import Spec
from tests.gate.test_run import never_trained, write_spec
from tests.helpers import results
from tests.helpers.models import save_adapter, save_base
from tests.helpers.processes import modules_after, python

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


def test_a_forged_pass_is_measured_again(spec: Spec) -> None:
    path = entry(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    for header in (b"sway-gate cache 2\n", b"sway-gate cache 3\n"):
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
    monkeypatch.setattr("sway_gate.gate.evaluate.evaluate", lambda *_: fresh)
    fresh: GateResult = results.sick()
    assert not run_gate(spec).cached


def test_a_cached_verdict_loads_no_numpy(spec: Spec, tmp_path: Path) -> None:
    assert cache.store_verdict(verdict_key(prepare(spec, Options())), forged())
    code = "from sway_gate.cli import main; main(['gate', 'sway.yaml', '--quiet'])"
    assert {"numpy", "torch"}.isdisjoint(modules_after(code, cwd=tmp_path))
    assert "(cached)" in python(code, cwd=tmp_path)


SETTLED = {"settled files": 0, "young files": 3600 * 10**9}


def rewrite(path: Path) -> None:
    """Change one byte of the tensors, as a trainer that is still writing; keep size and time."""
    found = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def swap_and_restore(path: Path) -> None:
    """Load other bytes under the digest of these: write others, load, write these again."""
    content = path.read_bytes()
    rewrite(path)
    path.write_bytes(content)


CHANGES = {
    "weights": lambda base, adapter: rewrite(adapter / "adapter_model.safetensors"),
    "replaced weights": lambda base, adapter: os.replace(
        shutil.copy(base / "model.safetensors", adapter / "new"),
        adapter / "adapter_model.safetensors",
    ),
    "a template appears": lambda base, adapter: (adapter / "chat_template.jinja").write_text("x"),
    "the config goes": lambda base, adapter: (adapter / "adapter_config.json").unlink(),
    "the base's weights": lambda base, adapter: rewrite(base / "model.safetensors"),
    "the base's tokenizer": lambda base, adapter: (base / "added_tokens.json").write_text("{}"),
}


@pytest.fixture
def own(models: tuple[Path, Path], spec: Spec, tmp_path: Path) -> Spec:
    """The spec with its own copy of the base."""
    base = shutil.copytree(models[0], tmp_path / "base")
    adapter = Path(str(spec.models.ft.adapter))
    return load_spec(write_spec(tmp_path, Path(base), adapter, SUITE, sections=[]))


@pytest.mark.skipif(os.name != "posix", reason="elsewhere st_ctime is the time of creation")
@pytest.mark.parametrize("age", SETTLED.values(), ids=SETTLED)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_after_the_digest_is_seen(
    own: Spec, tmp_path: Path, monkeypatch: Any, change: Any, age: int
) -> None:
    monkeypatch.setattr(digest, "_SETTLED_NS", age)
    job = prepare(own, Options())
    check_unchanged(job)
    time.sleep(0.02)  # the resolution of a file's times
    change(tmp_path / "base", tmp_path / "adapter")
    with pytest.raises(CannotDecide, match="changed while it was measured; run the gate again"):
        check_unchanged(job)


def test_files_that_do_not_count_can_change(own: Spec, tmp_path: Path) -> None:
    job = prepare(own, Options())
    (tmp_path / "adapter" / "trainer_state.json").write_text("{}")
    (tmp_path / "base" / "README.md").write_text("x")
    check_unchanged(job)


MOMENTS = {"before it is loaded": "before", "after it was loaded": "after"}


@pytest.mark.parametrize("change", [rewrite, swap_and_restore])
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_an_adapter_that_changes_while_it_is_measured_gets_no_verdict(
    spec: Spec, monkeypatch: Any, moment: str, change: Any
) -> None:
    from sway_gate.backends import hf

    monkeypatch.setattr(digest, "_SETTLED_NS", 0)
    weights, real = Path(str(spec.models.ft.adapter)) / "adapter_model.safetensors", hf.load

    def load(*given: Any) -> Any:
        time.sleep(0.02)
        if moment == "before":
            change(weights)
            return real(*given)
        backend = real(*given)
        change(weights)
        return backend

    monkeypatch.setattr(hf, "load", load)
    with pytest.raises(CannotDecide, match="adapter changed while it was measured"):
        run_gate(spec)
    assert not list(cache.cache_dir().glob("verdicts/*"))
    assert not list(cache.cache_dir().glob("readings/*/*"))


def test_a_change_during_the_static_check_gets_no_verdict(spec: Spec, monkeypatch: Any) -> None:
    weights = Path(str(spec.models.ft.adapter)) / "adapter_model.safetensors"
    never_trained(weights.parent)
    monkeypatch.setattr(digest, "_SETTLED_NS", 0)
    real = evaluate.check_files

    def check(*given: Any) -> Any:
        report = real(*given)
        time.sleep(0.02)
        rewrite(weights)
        return report

    monkeypatch.setattr(evaluate, "check_files", check)
    with pytest.raises(CannotDecide, match="changed while it was measured"):
        run_gate(spec)
    assert not list(cache.cache_dir().glob("verdicts/*"))


def test_two_adapters_do_not_share_a_base_that_changed_between_them(
    own: Spec, tmp_path: Path
) -> None:
    shared = OpenBase()
    run_gate(own, base=shared)
    before = shared._opened
    run_gate(own, Options(cache=False), base=shared)
    assert shared._opened is before
    rewrite(tmp_path / "base" / "model.safetensors")
    run_gate(own, base=shared)
    assert shared._opened is not before


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("is_hub_cache", [True, False])
def test_a_name_is_no_identity(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: Any, is_hub_cache: bool
) -> None:
    """Other weights under the same commit are another base, in the hub cache and elsewhere."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / ("hub" if is_hub_cache else "elsewhere")))
    base = tmp_path / "hub" / "models--org--base" / "snapshots" / COMMIT
    shutil.copytree(models[0], base)
    path = write_spec(tmp_path, base, models[1], SUITE, sections=[])
    before = prepare(load_spec(path), Options())
    rewrite(base / "model.safetensors")
    after = prepare(load_spec(path), Options())
    assert before.base.revision == after.base.revision == (COMMIT if is_hub_cache else None)
    assert before.base.digest != after.base.digest
    assert verdict_key(before) != verdict_key(after)


@pytest.mark.parametrize("is_checkout", [True, False])
def test_a_base_that_a_checkout_can_replace_is_noted(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: Any, is_checkout: bool
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "checkout" / "hub"))
    repo = tmp_path / "checkout" / "hub" / "models--org--base"
    shutil.copytree(models[0], repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    if is_checkout:
        (tmp_path / "checkout" / ".git").mkdir()
    path = Path(write_spec(tmp_path, models[0], models[1], SUITE, sections=[]))
    path.write_text(path.read_text().replace(f"base: {models[0]}", "base: org/base"))
    notes = prepare(load_spec(str(path)), Options()).spec.notes
    assert any("org/base was read from a hub cache" in note for note in notes) is is_checkout


def test_a_refused_cache_is_not_created(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    job = prepare(spec, Options())
    assert not job.cache
    assert not cache.store_verdict(verdict_key(job), forged())
    assert not cache.cache_dir().exists()


EMBEDDER = {
    "modules.json": "[]",
    "config.json": "{}",
    "model.safetensors": "weights",
    "1_Pooling/config.json": "{}",
    "2_Dense/model.safetensors": "weights",
}


@pytest.mark.parametrize("name", EMBEDDER)
@pytest.mark.parametrize("is_hub_id", [True, False])
def test_an_embedding_model_is_identified_by_its_files(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: Any, is_hub_id: bool, name: str
) -> None:
    """Also one of the hub cache, and also the layers in its subfolders."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repo = tmp_path / "hub" / "models--org--embedder"
    folder = repo / "snapshots" / COMMIT
    for file, text in EMBEDDER.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    case = {"prompt": "a", "gold": "b", "paraphrases": ["c"]}
    embedder = "org/embedder" if is_hub_id else str(folder)
    probe = {"kind": "adapter_revert", "embedding_model": embedder, "cases": [case]}
    path = write_spec(tmp_path, *models, [{"name": "reverts"} | probe], sections=[])
    before = prepare(load_spec(path), Options())
    check_unchanged(before)
    time.sleep(0.02)
    (folder / name).write_text("[{}]")
    assert verdict_key(before) != verdict_key(prepare(load_spec(path), Options()))
    with pytest.raises(CannotDecide, match="changed while it was measured"):
        check_unchanged(before)
