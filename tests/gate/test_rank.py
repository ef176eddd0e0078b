"""`sway rank`: each adapter gets its own gate's result; a race finds the same best adapters."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sway_gate import cli
from sway_gate.backends import loading
from sway_gate.commands import rank as command
from sway_gate.commands._adapters import distinct
from sway_gate.compare.ranking import Candidate, Ranking, rank
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.gate import rank as ranks
from sway_gate.gate.diff import with_adapter
from sway_gate.gate.rank import gate_adapters, labels, race_adapters
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.model_files.steps import step_of
from sway_gate.results import GateResult
from sway_gate.spec.load import load_spec
from tests.compare.test_results import gated, reading
from tests.helpers.models import save_adapter, save_base

SUITE: list[dict[str, Any]] = [
    {"name": "nulls", "kind": "null_adapter", "runs": 3},
    {"name": "moved", "kind": "delta_kl", "prompts": ["one", "two words", "and three words"]},
    {"name": "learned", "kind": "section_internalization", "max_prose_chars": 60},
    {"name": "prose", "kind": "external_perplexity", "max_chunks": 2, "chunk_chars": 256},
]
SECTIONS = [{"kind": "prose", "content": "the old mill by the river"}, {"content": "x y z"}]
SORTS: dict[str, dict[str, Any]] = {
    "checkpoint-20": {},
    "checkpoint-9": {"size": 0.03, "seed": 2},
    "checkpoint-100": {"use_dora": True, "seed": 3},
    "head": {"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    """A base, adapters of several kinds, and a spec."""
    made = Path(tmp_path_factory.mktemp("models"))
    base = save_base(made / "base", "llama")
    for sort, fields in SORTS.items():
        save_adapter(made / "runs" / sort, base, **fields)
    document = {
        "version": 1,
        "models": {"base": {"base": str(base)}, "ft": {"base": str(base), "adapter": "none"}},
        "suite": SUITE,
        "sections": [{"kind": "prose", **section} for section in SECTIONS],
    }
    (made / "sway.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return made


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(folder)


def test_a_candidate_has_the_result_of_its_own_gate(folder: Path, monkeypatch: Any) -> None:
    loads: list[Any] = []
    opened = loading.open_base
    monkeypatch.setattr(loading, "open_base", lambda source: loads.append(1) or opened(source))
    adapters, options = sorted(map(str, Path("runs").glob("check*"))), Options(cache=False)
    spec = load_spec("sway.yaml", adapters[0])
    candidates = gate_adapters(spec, adapters, options)
    assert len(loads) == 1
    for adapter, candidate in zip(adapters, candidates, strict=True):
        alone = run_gate(with_adapter(spec, adapter), options)
        assert candidate.result is not None
        assert candidate.result.verdict == alone.verdict
        assert candidate.result.adapter == alone.adapter
        for own, other in zip(candidate.result.probes, alone.probes, strict=True):
            assert own.verdict == other.verdict
            assert own.raw == pytest.approx(other.raw, rel=1e-5, abs=1e-6)
            assert own.z == pytest.approx(other.z, rel=1e-3)


def sway(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["rank", "sway.yaml", "--no-cache", *arguments])
    return code, *capsys.readouterr()


def test_a_broken_adapter_is_listed_and_decides_the_exit_code(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    broken = shutil.copytree("runs/checkpoint-9", tmp_path / "broken")
    (broken / "adapter_model.safetensors").write_bytes(b"no tensors")
    foreign = save_adapter(tmp_path / "foreign", save_base(tmp_path / "base", "gpt2"))
    code, out, _ = sway(
        capsys, "runs/checkpoint-9", str(broken), str(foreign), "--json", str(tmp_path / "r.json")
    )
    assert code == 2
    assert "ERROR  broken" in out
    assert "ERROR  foreign" in out
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [entry["label"] for entry in written["entries"]] == ["checkpoint-9", "broken", "foreign"]


def test_an_error_of_all_adapters_is_the_error_of_the_command(tmp_path: Path, capsys: Any) -> None:
    base = shutil.copytree("base", tmp_path / "base")
    (base / "model.safetensors").write_bytes(b"")
    spec = yaml.safe_load(Path("sway.yaml").read_text(encoding="utf-8"))
    spec["models"]["base"]["base"] = spec["models"]["ft"]["base"] = str(base)
    path = tmp_path / "sway.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    code = cli.main(["rank", str(path), "runs/checkpoint-9", "runs/checkpoint-20", "-q"])
    out, err = capsys.readouterr()
    assert (code, out, err.count("error: ")) == (3, "", 1), err


def test_a_pattern_is_expanded_by_the_numbers_in_names(capsys: Any, monkeypatch: Any) -> None:
    given: list[str] = []

    def stop(spec: Any, adapters: list[str], *_: Any) -> Any:
        given.extend(adapters)
        raise CannotDecide("stop")

    monkeypatch.setattr(ranks, "gate_adapters", stop)
    sway(capsys, "runs/checkpoint-*", "runs/head", "./runs/checkpoint-9")
    names = [Path(one).name for one in given]
    assert names == ["checkpoint-9", "checkpoint-20", "checkpoint-100", "head"]


def test_a_link_to_a_checkpoint_does_not_replace_its_name(tmp_path: Path) -> None:
    checkpoint, link = tmp_path / "checkpoint-5", tmp_path / "best"
    checkpoint.mkdir()
    link.symlink_to(checkpoint.name)
    other = str(tmp_path / "other")
    assert distinct([f"{link}/", str(checkpoint), other]) == [str(checkpoint), other]
    assert distinct([str(link), other]) == [other, str(link)]


def test_a_duplicate_does_not_hide_that_there_are_too_many_adapters(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(command, "MAX_ADAPTERS", 3)
    (tmp_path / "a").mkdir()
    for name in "bcd":
        (tmp_path / name).symlink_to("a")
    code, _, err = sway(capsys, f"{tmp_path}/*")
    assert (code, "more than 3 adapters" in err) == (2, True)


def test_a_gate_that_could_not_decide_says_why(capsys: Any, monkeypatch: Any) -> None:
    why = "no probe passed, so the results are inconclusive"
    open_result = gated(reading("leakage", [0.1, 0.2], verdict="warn"), verdict="error")
    found = [Candidate(name, None, open_result, name, exit_code=3) for name in ("a", "b")]
    monkeypatch.setattr(ranks, "gate_adapters", lambda *_: found)
    code, out, _ = sway(capsys, "a", "b")
    assert (code, " ".join(out.split()).count(f"could not decide: {why}")) == (3, 2)


STEPS = {
    "checkpoint-500": 500,
    "step_7": 7,
    "CKPT12": 12,
    "epoch-3": 3,
    "final": None,
    "v2-100": None,
}


@pytest.mark.parametrize(("name", "step"), STEPS.items())
def test_the_step_of_a_folder(tmp_path: Path, name: str, step: int | None) -> None:
    assert step_of(tmp_path / name) == step


STATES = {'{"global_step": 60}': 60, '{"global_step": true}': None, "[": None, '{"x": 1}': None}


@pytest.mark.parametrize(("state", "step"), STATES.items())
def test_the_step_in_the_state_of_the_trainer(tmp_path: Path, state: str, step: int | None) -> None:
    (tmp_path / "trainer_state.json").write_text(state, encoding="utf-8")
    assert step_of(tmp_path) == step


def test_labels_are_distinct() -> None:
    assert labels(["a/one", "b/two/"]) == ["one", "two"]
    assert labels(["a/same", "b/same"]) == ["a/same", "b/same"]


# Races

RNG = np.random.default_rng(11)
ROWS, NOISE = RNG.normal(0, 0.05, 24), RNG.normal(0, 0.02, (20, 24))
MEANS = [0.1, 0.3, 0.5, 0.7, 0.72, 0.74, 0.9, 0.92]
FAILING = ("a6", "a7")
ADAPTERS = [f"a{i}" for i in range(len(MEANS))]


def fake(calls: list[Any], failing: tuple[str, ...] = FAILING, broken: str = "") -> Any:
    """A gate whose adapters have these values; `calls` gets each with the size of the suite."""

    def run(spec: Any, *_: Any) -> GateResult:
        name = Path(spec.models.ft.adapter).name
        calls.append((name, len(spec.suite)))
        if name == broken:
            raise AdapterError(f"{name}: is broken")
        i = int(name[1:])
        learned = reading("answer_recall", MEANS[i] + ROWS + NOISE[i], "learned")
        whole = len(spec.suite) > 2
        verdict = "fail" if whole and name in failing else "pass"
        return gated(learned, *([reading("leakage", ROWS)] if whole else []), verdict=verdict)

    return run


@pytest.fixture
def recall_spec(tmp_path: Path) -> Any:
    models = {"base": {"base": "b"}, "ft": {"base": "b", "adapter": "a"}}
    kinds = {"nulls": "null_adapter", "learned": "answer_recall", "leaks": "leakage"}
    suite = [{"name": name, "kind": kind} for name, kind in kinds.items()]
    path = tmp_path / "sway.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "models": models, "suite": suite}))
    return load_spec(str(path))


def best(found: Ranking) -> list[str]:
    return [entry.label for entry in found.entries if entry.standing in ("best", "tied")]


@pytest.mark.parametrize("failing", [(), FAILING, tuple(ADAPTERS[1:]), tuple(ADAPTERS)])
@pytest.mark.parametrize("order", [1, -1])
def test_a_race_finds_the_same_best_adapters(
    recall_spec: Any, monkeypatch: Any, failing: tuple[str, ...], order: int
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(ranks, "run_gate", fake(calls, failing))
    adapters = ADAPTERS[::order]
    whole = rank(gate_adapters(recall_spec, adapters, Options()))
    calls.clear()
    raced = rank(race_adapters(recall_spec, adapters, Options()))
    assert best(raced) == best(whole)
    assert (raced.chosen, raced.exit_code) == (whole.chosen, whole.exit_code)
    assert len(raced.entries) == len(adapters)


def test_a_race_judges_in_full_only_what_can_be_the_best(
    recall_spec: Any, monkeypatch: Any
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(ranks, "run_gate", fake(calls))
    found = race_adapters(recall_spec, ADAPTERS, Options())
    in_full = [name for name, size in calls if size == 3]
    assert in_full[:4] == ["a0", "a7", "a6", "a5"]
    assert {"a1", "a2"} <= {one.label for one in found if one.is_dropped}
    assert not {"a1", "a2"} & set(in_full)


def test_a_race_lists_a_broken_adapter(recall_spec: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(ranks, "run_gate", fake([], broken="a0"))
    found = rank(race_adapters(recall_spec, ADAPTERS, Options()))
    assert (found.entries[-1].label, found.entries[-1].standing) == ("a0", "error")
    assert found.exit_code == 2
