"""A gate of models on a server: the verdict of the files, and none that is too good."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sway_gate import demo
from sway_gate.cli import main
from sway_gate.gate import resolve
from sway_gate.gate.prefetch import prefetch
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.results import GateResult
from sway_gate.spec.load import load_spec, parse_spec
from tests.helpers.served import DemoServer, serving

pytest.importorskip("httpx")
pytest.importorskip("tenacity")

SERVED = """\
version: 1
models:
  base: {kind: api, base: base, endpoint: '%s', tokenizer: '%s'%s}
  ft: {kind: api, base: tuned%s}
"""
FILES = """\
version: 1
models: {base: {base: '%s', dtype: fp32}, ft: {base: '%s', adapter: '%s', dtype: fp32}}
"""
MOVED = """\
suite:
  - {name: moved, kind: delta_kl, prompts: [The keeper of the sand road is], positions: 2}
"""
SUITE = """\
sections:
  - {kind: prose, id: keeper, content: Old Tamsin Vole is the keeper of the sand road.}
suite:
  - {name: moved, kind: delta_kl, prompts: [The keeper of the sand road is, The island lives by]}
  - {name: learned, kind: section_internalization}
  - {name: scaled, kind: adapter_ablation, prompts: [The island lives by]}
"""
NO_NULLS = "defaults: {differential: false}\n"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[DemoServer, str]]:
    server = DemoServer()
    with serving(server) as address:
        yield server, address


def gated(folder: Path, text: str, *, cache: bool = False) -> GateResult:
    path = folder / "sway.yaml"
    path.write_text(text, encoding="utf-8")
    return run_gate(load_spec(str(path)), Options(cache=cache))


def on(address: str, revision: str = "", suite: str = MOVED) -> str:
    return SERVED % (address, demo.MODEL, revision, revision) + suite


def verdicts(result: GateResult) -> dict[str, Any]:
    return {probe.name: probe.verdict.value for probe in result.probes}


@pytest.mark.slow
def test_values_and_verdicts_are_those_of_the_files(served, tmp_path):
    result = gated(tmp_path, on(served[1], suite=SUITE))
    files = FILES % (demo.MODEL, demo.MODEL, demo.HEALTHY)
    known = gated(tmp_path, files + NO_NULLS + SUITE)
    assert verdicts(result) == verdicts(known)
    assert verdicts(result)["scaled"] == "skip"
    ours, theirs = ({p.name: p.raw for p in of.probes} for of in (result, known))
    assert ours["learned"] == pytest.approx(theirs["learned"], abs=1e-4)
    assert 0.01 < ours["moved"] <= theirs["moved"]
    assert result.nulls is None
    assert any("no calibration" in note for note in result.notes)
    assert any("lower bounds" in note for note in result.notes)


def test_a_server_that_drops_the_adapter_fails(served, tmp_path, monkeypatch):
    monkeypatch.setattr(served[0], "drops_adapter", True)
    result = gated(tmp_path, on(served[1]))
    assert (result.exit_code, verdicts(result)["moved"]) == (1, "fail")


def test_answers_are_stored_only_with_a_revision(served, tmp_path):
    assert not gated(tmp_path, on(served[1]), cache=True).cached
    result = gated(tmp_path, on(served[1]), cache=True)
    assert not result.cached
    assert any("not cached" in note for note in result.notes)
    gated(tmp_path, on(served[1], ", revision: a"), cache=True)
    assert gated(tmp_path, on(served[1], ", revision: a"), cache=True).cached
    assert not gated(tmp_path, on(served[1], ", revision: b"), cache=True).cached


def test_without_log_probabilities_nothing_passes(served, tmp_path, monkeypatch):
    monkeypatch.setattr(served[0], "gives_log_probs", False)
    result = gated(tmp_path, on(served[1], suite=SUITE))
    assert set(verdicts(result).values()) == {"skip"}
    assert result.exit_code == 3


def test_a_name_that_the_server_lacks_is_wrong_input(served, tmp_path, capsys):
    path = tmp_path / "sway.yaml"
    path.write_text(on(served[1]).replace("base: tuned", "base: other"), encoding="utf-8")
    assert main(["gate", str(path), "--quiet", "--no-cache"]) == 2
    error = capsys.readouterr().err
    assert "(other): the server has no model of this name; it serves base, tuned" in error
    assert error.count("\n") == 1


def test_a_confined_run_asks_a_server_only_online(served, tmp_path, capsys):
    path = tmp_path / "sway.yaml"
    text = on(served[1]).replace(f", tokenizer: '{demo.MODEL}'", "")
    path.write_text(text, encoding="utf-8")
    asked = len(served[0].requests)
    argv = ["gate", str(path), "--confine", str(tmp_path), "--quiet", "--no-cache"]
    assert main(argv) == 2
    assert "add --online" in capsys.readouterr().err
    assert len(served[0].requests) == asked
    assert main([*argv, "--online"]) in (0, 1)


def test_adapters_are_not_compared_on_a_server(tmp_path, capsys):
    path = tmp_path / "sway.yaml"
    path.write_text(on("http://127.0.0.1:9"), encoding="utf-8")
    argv = ["diff", str(path), str(demo.HEALTHY), str(demo.UNTRAINED)]
    assert main(argv) == 2
    assert "kind: api takes no adapter" in capsys.readouterr().err


def test_prefetch_fetches_the_tokenizer(tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(
        resolve.hub, "local", lambda ref, _, **options: fetched.append((ref, options)) or tmp_path
    )
    text = on("http://127.0.0.1:9").replace(str(demo.MODEL), "org/model")
    assert prefetch(parse_spec(text, "sway.yaml", str(tmp_path))) == [
        f"tokenizer org/model: {tmp_path}"
    ]
    assert fetched == [("org/model", {"online": True, "what": "tokenizer"})]


def test_a_dry_run_asks_no_server(tmp_path, capsys):
    path = tmp_path / "sway.yaml"
    path.write_text(on("http://127.0.0.1:9"), encoding="utf-8")
    assert main(["gate", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "no calibration" in out
