"""`import sway_gate`: light, typed, and the same verdicts as the command."""

import inspect
import json
import typing
from pathlib import Path
from typing import Any

import pytest

import sway_gate
from sway_gate import cli, demo
from sway_gate.gate.resolve import Options
from sway_gate.reports.json_v1 import load, to_json
from sway_gate.spec.load import load_spec
from sway_gate.spec.schema import SCORE_WEIGHTS, Spec
from sway_gate.suites.check import check_headline
from sway_gate.training_data import packaged
from tests.compare.test_results import write_spec
from tests.helpers import ROOT, results
from tests.helpers.processes import modules_after


def test_the_import_is_light(tmp_path: Path) -> None:
    loaded = modules_after("import sway_gate", cwd=tmp_path)
    heavy = {"numpy", "msgspec", "yaml", "rich", "torch", "argparse", "sway_gate.spec.schema"}
    assert heavy.isdisjoint(loaded)


def test_the_function_is_not_hidden_by_a_module(tmp_path: Path) -> None:
    """A submodule with the name of a public function would replace it when it is imported."""
    modules = {path.stem for path in (ROOT / "sway_gate").iterdir()}
    assert not modules & set(sway_gate.__all__)


@pytest.mark.parametrize("name", sway_gate.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(sway_gate, name).__doc__ or name == "__version__"


def test_undecided_is_an_alias() -> None:
    assert sway_gate.Undecided is sway_gate.CannotDecide


def test_other_names_are_not_attributes() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'judgement'"):
        _ = sway_gate.judgement


@pytest.mark.parametrize("function", [sway_gate.run, sway_gate.check])
def test_public_functions_have_type_hints(function: Any) -> None:
    names = vars(typing) | {"GateResult": sway_gate.GateResult, "Spec": Spec}
    hints = typing.get_type_hints(function, localns=names)
    assert hints.pop("return") is sway_gate.GateResult
    assert hints.keys() == inspect.signature(function).parameters.keys()
    assert (ROOT / "sway_gate" / "py.typed").exists()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path / "sway.yaml")
    return tmp_path


@pytest.mark.parametrize(
    "given", ["sway.yaml", Path("sway.yaml"), "loaded"], ids=["text", "path", "spec"]
)
def test_run_is_sway_run(place: Path, given: Any) -> None:
    code = cli.main(["run", "--json", "r.json", "--quiet", "--no-cache"])
    found = sway_gate.run(load_spec("sway.yaml") if given == "loaded" else given, cache=False)
    told = json.loads((place / "r.json").read_bytes())
    assert (found.exit_code, found.score, [p.raw for p in found.probes]) == (
        code,
        told["score"],
        [p["raw"] for p in told["probes"]],
    )


def test_threshold_and_weights_override_the_spec(place: Path) -> None:
    found = sway_gate.run("sway.yaml", threshold=0.99, weights={"adherence": 0.0})
    assert "FAIL" in found._repr_html_()
    assert (found.threshold, found.categories["adherence"].weight, found.verdict) == (
        0.99,
        0.0,
        "fail",
    )


WRONG: dict[str, Any] = {
    "no spec": (lambda: sway_gate.run("none.yaml"), sway_gate.SpecError),
    "threshold": (lambda: sway_gate.run("sway.yaml", threshold=1.5), sway_gate.UsageError),
    "tier": (lambda: sway_gate.run("sway.yaml", tier="fast"), sway_gate.UsageError),
    "budget": (lambda: sway_gate.run("sway.yaml", budget="60s"), sway_gate.UsageError),
    "tier of a check": (
        lambda: sway_gate.check(demo.HEALTHY, base=demo.MODEL, tier=None),
        sway_gate.UsageError,
    ),
    "threshold nan": (
        lambda: sway_gate.run("sway.yaml", threshold=float("nan")),
        sway_gate.UsageError,
    ),
    "threshold that is no number": (
        lambda: sway_gate.run("sway.yaml", threshold="x"),
        sway_gate.UsageError,
    ),
    "weights that are no mapping": (
        lambda: sway_gate.run("sway.yaml", weights=[1]),
        sway_gate.UsageError,
    ),
    "a weight that is no number": (
        lambda: sway_gate.run("sway.yaml", weights={"adherence": "x"}),
        sway_gate.UsageError,
    ),
    "a prompt that is no text": (
        lambda: sway_gate.check(demo.HEALTHY, base=demo.MODEL, prompts=["a", 1]),
        sway_gate.UsageError,
    ),
    "an empty prompt": (
        lambda: sway_gate.check(demo.HEALTHY, base=demo.MODEL, prompts=["a", " "]),
        sway_gate.UsageError,
    ),
    "unknown category": (
        lambda: sway_gate.run("sway.yaml", weights={"style": 1}),
        sway_gate.UsageError,
    ),
    "a weight of baseline": (
        lambda: sway_gate.run("sway.yaml", weights={"baseline": 1}),
        sway_gate.UsageError,
    ),
    "no weight for what is measured": (
        lambda: sway_gate.run("sway.yaml", weights=dict.fromkeys(SCORE_WEIGHTS, 0)),
        sway_gate.UsageError,
    ),
    "negative weight": (
        lambda: sway_gate.run("sway.yaml", weights={"adherence": -1}),
        sway_gate.UsageError,
    ),
    "adapter that is not here": (
        lambda: sway_gate.check("org/none", base="org/base"),
        sway_gate.CannotDecide,
    ),
    "prompts that are not here": (
        lambda: sway_gate.check(demo.HEALTHY, base=demo.MODEL, prompts="none.txt"),
        sway_gate.UsageError,
    ),
}


@pytest.mark.parametrize(("call", "error"), WRONG.values(), ids=WRONG)
def test_errors_are_the_packages_own(
    place: Path, call: Any, error: type[sway_gate.SwayError]
) -> None:
    with pytest.raises(error) as found:
        call()
    assert isinstance(found.value, sway_gate.SwayError)


OPENINGS = packaged.prompts()[:4]
SUITES: dict[str, Any] = {
    "texts": ({"prompts": ["one", "two", "one"]}, ("one", "two")),
    "a file": ({"prompts": Path("p.txt")}, ("three", "four")),
    "the name of a file": ({"prompts": "p.txt"}, ("three", "four")),
    "of the data": ({"data": "d.md"}, ("Some words stand behind it, and", *OPENINGS)),
    "of several files": ({"data": [Path("d.md")]}, ("Some words stand behind it, and", *OPENINGS)),
}


@pytest.mark.parametrize(("fields", "prompts"), SUITES.values(), ids=SUITES)
def test_check_takes_paths_and_texts(
    place: Path, monkeypatch: Any, fields: Any, prompts: tuple[str, ...]
) -> None:
    (place / "p.txt").write_text("three\nfour\n", encoding="utf-8")
    (place / "d.md").write_text(
        "".join(
            f"# A heading\n\nSome words stand behind it, and {i} more of them {'follow ' * 40}\n\n"
            for i in range(12)
        ),
        encoding="utf-8",
    )
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda suite, options: (suite, options))
    monkeypatch.setattr("sway_gate.suites.check.for_check", lambda result: result)
    monkeypatch.setattr("sway_gate.reports.notebook.NotebookResult.of", lambda result: result)
    suite, options = sway_gate.check(demo.HEALTHY, base=demo.MODEL, **fields)  # type: ignore[misc]
    assert options == Options(tier="quick")
    assert suite.suite[0].prompts == prompts


def test_check_is_sway_check(place: Path) -> None:
    topics = [
        probe.prompts for probe in load_spec(demo.specs()[0][1]).suite if hasattr(probe, "prompts")
    ]
    found = sway_gate.check(demo.HEALTHY, base=demo.MODEL, prompts=topics[0])
    assert found.spec == "sway check"
    moved = found.probes[0]
    assert (moved.kind, len(moved.details["prompts"])) == ("delta_kl", len(topics[0]))
    assert check_headline(found).word == "MOVED"


def test_one_prompt_does_not_show_how_far_the_model_moved(place: Path) -> None:
    found = sway_gate.check(demo.HEALTHY, base=demo.MODEL, prompts=["Marrowby is a village of"])
    headline = check_headline(found)
    assert headline.word == "UNCLEAR"
    assert "inconclusive: moved" in headline.text


def test_a_notebook_shows_results_as_pages(place: Path) -> None:
    (place / "result.json").write_bytes(to_json(results.sick()))
    shown = load(str(place / "result.json"))._repr_html_()
    assert shown.startswith("<iframe")
    assert "verbatim" in shown
