"""The base is measured once for all its adapters, and again for what can change its answers."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sway_gate.backends.passes.generator import Generator
from sway_gate.engine.estimate import Estimate
from sway_gate.engine.schedule import PlannedPass, plan_passes
from sway_gate.errors import CannotDecide
from sway_gate.gate.open import OpenBase
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.measurements import BASE
from sway_gate.spec.load import load_spec
from tests.helpers.models import byte_tokenizer, save_adapter

SUITE = [
    {"name": "learned", "kind": "section_internalization", "max_prose_chars": 60},
    {"name": "answers", "kind": "degeneration", "max_new_tokens": 8},
]
SECTIONS = [{"kind": "prose", "content": "the old mill by the river grinds corn for the town"}]


@pytest.fixture(scope="module")
def first(base: Path, tmp_path_factory: Any) -> Path:
    return save_adapter(tmp_path_factory.mktemp("first"), base)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))


def gate(
    folder: Path,
    base: Path,
    adapter: Path,
    suite: Any = SUITE,
    opened: OpenBase | None = None,
    **options: Any,
) -> tuple[Any, set[str]]:
    """The result, and the views of all passes that score or generate text."""
    models = {"base": {"base": str(base)}, "ft": {"base": str(base), "adapter": str(adapter)}}
    document = {"version": 1, "models": models, "suite": suite, "sections": SECTIONS}
    path = folder / "sway.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    events: list[Any] = []
    options |= {"observe": events.append}
    result = run_gate(load_spec(str(path)), Options(**options), base=opened)
    passes = [event for event in events if hasattr(event, "views")]
    return result, {view for one in passes for view in one.views}


def plain(base: Path, folder: Path) -> Path:
    return save_adapter(folder, base, seed=2)


def with_template(base: Path, folder: Path) -> Path:
    save_adapter(folder, base, seed=2)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}:", encoding="utf-8")
    return folder


def with_token(base: Path, folder: Path) -> Path:
    save_adapter(folder, base, seed=2)
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["mill"])
    tokenizer.save_pretrained(folder)
    return folder


def with_embeddings(base: Path, folder: Path) -> Path:
    return save_adapter(folder, base, seed=2, modules_to_save=["embed_tokens"])


def on_another_base(base: Path, folder: Path) -> Path:
    shutil.copytree(base, folder / "base")
    (folder / "base" / "generation_config.json").write_text('{"eos_token_id": 7}')
    return save_adapter(folder / "adapter", folder / "base", seed=2)


SECOND = {
    plain: False,
    with_template: True,
    with_token: True,
    with_embeddings: True,
    on_another_base: True,
}


@pytest.mark.parametrize(
    ("second", "measures_base"), SECOND.items(), ids=[make.__name__ for make in SECOND]
)
def test_the_base_is_measured_again_only_for_what_can_change_its_answers(
    base: Path, first: Path, tmp_path: Path, second: Any, measures_base: bool
) -> None:
    gate(tmp_path, base, first)
    adapter = second(base, tmp_path / "second")
    own = tmp_path / "second" / "base"
    _, views = gate(tmp_path, own if own.exists() else base, adapter)
    assert ("base" in views) is measures_base
    assert "finetuned" in views


@pytest.mark.parametrize(
    ("second", "measures_base"), SECOND.items(), ids=[make.__name__ for make in SECOND]
)
def test_jobs_that_share_a_base_measure_it_once_without_a_cache(
    base: Path, first: Path, tmp_path: Path, second: Any, measures_base: bool
) -> None:
    opened = OpenBase()
    gate(tmp_path, base, first, opened=opened, cache=False)
    adapter = second(base, tmp_path / "second")
    own = tmp_path / "second" / "base"
    where = own if own.exists() else base
    shared, views = gate(tmp_path, where, adapter, opened=opened, cache=False)
    assert ("base" in views) is measures_base
    assert "finetuned" in views
    alone, _ = gate(tmp_path, where, adapter, cache=False)
    for one, other in zip(alone.probes, shared.probes, strict=True):
        assert one.raw == pytest.approx(other.raw, rel=1e-5, abs=1e-6)
        assert one.verdict == other.verdict


def test_a_shared_reading_of_the_base_changes_no_result(
    base: Path, first: Path, tmp_path: Path
) -> None:
    adapter = plain(base, tmp_path / "second")
    alone, views = gate(tmp_path, base, adapter, cache=False)
    assert "base" in views
    gate(tmp_path, base, first)
    after, _ = gate(tmp_path, base, adapter)
    assert {probe.verdict for probe in alone.probes} <= {"pass", "warn", "fail"}, alone.probes
    for one, other in zip(alone.probes, after.probes, strict=True):
        assert one.raw == pytest.approx(other.raw, rel=1e-4, abs=1e-5)
        assert one.verdict == other.verdict


def test_a_second_adapter_generates_no_answer_of_the_base(
    base: Path, first: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    suite = [{"name": "moved", "kind": "delta_kl", "prompts": ["the old mill", "a town"]}]
    adapter, views = plain(base, tmp_path / "second"), []
    generate = Generator.generate

    def counted(self: Any, of: Any, *given: Any) -> Any:
        views.extend(of)
        return generate(self, of, *given)

    monkeypatch.setattr(Generator, "generate", counted)
    alone, _ = gate(tmp_path, base, adapter, suite, cache=False)
    gate(tmp_path, base, first, suite)
    assert views == [BASE, BASE]
    after, _ = gate(tmp_path, base, adapter, suite)
    assert views == [BASE, BASE]
    assert after.probes == alone.probes


def test_the_time_is_estimated_for_what_is_missing(
    base: Path, first: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("sway_gate.gate.evaluate.check_time", lambda *given: asked.append(given[0]))
    moved = {"name": "moved", "kind": "delta_kl", "prompts": ["the old mill"]}
    for suite in ([moved], [moved], [moved, *SUITE]):
        gate(tmp_path, base, first, suite, max_seconds=1.0)
    assert any(measurement.is_reference for measurement in asked[0])
    assert asked[1] == []
    assert not any(measurement.is_reference for measurement in asked[2])


def test_a_budget_needs_no_time_for_stored_readings(
    base: Path, first: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    moved = [{"name": "moved", "kind": "delta_kl", "prompts": ["one"]}]
    gate(tmp_path, base, first, moved)
    monkeypatch.setattr(Estimate, "seconds", lambda *_: 1e9)
    result, views = gate(tmp_path, base, first, moved, budget=3600)
    assert (result.probes[0].is_left_out, views) == (False, set())


def test_readings_of_two_devices_are_not_mixed(
    base: Path, first: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    gate(tmp_path, base, first)
    monkeypatch.setattr("sway_gate.backends.quantization.precision", lambda _: "bfloat16")
    adapter = plain(base, tmp_path / "second")
    with pytest.raises(CannotDecide, match="measured with dtype float32, the new ones with bfl"):
        gate(tmp_path, base, adapter)
    gate(tmp_path, base, adapter, cache=False)


class Stop:
    """Interrupts a run after some of its passes."""

    def __init__(self, passes: int) -> None:
        self.left = passes

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.left -= bool(done)
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("cache", [True, False])
def test_an_interrupted_run_continues(base: Path, first: Path, tmp_path: Path, cache: bool) -> None:
    whole, events = gate(tmp_path, base, first, cache=False)[0], list[Any]()
    spec, options = load_spec(str(tmp_path / "sway.yaml")), Options(observe=events.append)
    with pytest.raises(KeyboardInterrupt) as stopped:
        run_gate(spec, Options(cache=cache), Stop(passes=1))
    notes = ["finished readings are kept: run the same command to continue"]
    assert getattr(stopped.value, "__notes__", []) == (notes if cache else [])
    after = run_gate(spec, options)
    stored = [event for event in events if type(event).__name__ == "Stored"]
    assert bool(stored) == cache
    values = [(probe.verdict, probe.raw) for probe in after.probes]
    assert values == [(probe.verdict, pytest.approx(probe.raw)) for probe in whole.probes]


def test_a_probe_that_the_budget_ends_continues_in_the_next_run(
    base: Path, first: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    suite = SUITE[:1]
    monkeypatch.setattr("sway_gate.engine.run.plan_passes", one_view_each)
    whole, _ = gate(tmp_path, base, first, suite, cache=False)
    budget, late = Options(budget=3600), Late(passes=0)
    spec, events = load_spec(str(tmp_path / "sway.yaml")), list[Any]()
    with monkeypatch.context() as patched:
        patched.setattr("sway_gate.gate.stages.time.monotonic", late.now)
        [ended] = run_gate(spec, budget, late).probes
    assert ended.is_left_out
    [after] = run_gate(spec, Options(observe=events.append)).probes
    assert any(type(event).__name__ == "Stored" for event in events)
    assert any(type(event).__name__ == "Pass" for event in events)
    assert (after.verdict, after.raw) == (
        whole.probes[0].verdict,
        pytest.approx(whole.probes[0].raw),
    )


def one_view_each(*given: Any) -> list[PlannedPass]:
    return [step for planned in plan_passes(*given) for step in planned.by_view()]


class Late:
    """A clock that passes the end of any budget after some passes."""

    def __init__(self, passes: int) -> None:
        self.left = passes

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.left -= bool(done)

    def now(self) -> float:
        return 0.0 if self.left >= 0 else math.inf
