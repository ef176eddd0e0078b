"""`sway explain`: kinds, probes of a spec, terms and diagnoses."""

import re
from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli
from sway_gate.commands import explain
from sway_gate.glossary import TERMS
from sway_gate.judge.diagnosis import TABLE
from sway_gate.results import Verdict
from sway_gate.spec.probes import KINDS
from sway_gate.spec.schema import SCORE_WEIGHTS

SPEC = """\
version: 1
models: {base: {base: org/base}, ft: {base: org/base, adapter: org/adapter}}
suite:
  - {name: nulls, kind: null_adapter, runs: 3}
  - {name: moved now, kind: delta_kl, prompts: [one, "\\e[31m"], weight: 2.0}
  - {name: score, kind: leakage}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A current folder without a spec."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def spec(folder: Path) -> Path:
    (folder / "sway.yaml").write_text(SPEC, encoding="utf-8")
    return folder / "sway.yaml"


def explained(capsys: Any, *words: str) -> str:
    assert cli.main(["explain", *words]) == 0
    return str(capsys.readouterr().out)


@pytest.mark.parametrize("words", [["explain"], ["explain", "sway.yaml"], ["probes"]])
def test_lists_are_folded_to_a_terminal(
    spec: Path, monkeypatch: Any, capsys: Any, words: list[str]
) -> None:
    assert cli.main(words) == 0
    lines = capsys.readouterr().out
    assert max(map(len, lines.splitlines())) > 80
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(words) == 0
    folded = capsys.readouterr().out
    assert max(map(len, folded.splitlines())) <= 80
    assert folded.split() == lines.split()


NAMES = {
    "z": "z (sigma, σ)\n\nHow unlikely",
    "SIGMA": "z (sigma, σ)\n\nHow unlikely",
    "warn": "WARN (inconclusive)\n\nThe data are not",
    "harm probe": "harm (harm probe)\n\n",
    "held_out": "held-out (held-out rows)\n\n",
    "Never trained": "never trained (diagnosis)\n\nThe adapter does not change",
    "memorised, not generalised": "memorised, not generalised (diagnosis)\n\n",
    "undecided": "undecided (diagnosis)\n\n",
    "Null-Adapter": "null_adapter (baseline)\n\n",
    "delta_kl": "delta_kl (adherence)\n\n",
}


@pytest.mark.parametrize(("word", "begin"), NAMES.items(), ids=NAMES)
def test_a_word_is_explained(folder: Path, capsys: Any, word: str, begin: str) -> None:
    shown = explained(capsys, *word.split())
    assert shown.startswith(begin)
    assert max(map(len, shown.splitlines())) <= 80


def test_the_words_of_reports_are_explained() -> None:
    known = explain._known()
    words = [*Verdict, *SCORE_WEIGHTS, *(entry.name for entry in TABLE.values())]
    categories = known["category"]
    assert [word for word in words if word.casefold() not in known and word not in categories] == []


def test_no_name_has_two_meanings() -> None:
    names = [explain._plain(name) for term in TERMS for name in explain._spellings(term)]
    others = [explain._plain(name) for name in [*KINDS, *(e.name for e in explain._diagnoses())]]
    assert len({*names, *others}) == len(names) + len(others)


def test_a_probe_of_the_spec(spec: Path, capsys: Any) -> None:
    shown = explained(capsys, "Moved", "now")
    assert shown.startswith("moved now: delta_kl in line 5 of sway.yaml\n")
    assert '\n  prompts: ["one", "\\u001b[31m"]\n' in shown
    assert "\n  weight: 2.0\n" in shown
    assert "\n  positions: " not in shown.partition("Fields")[0]
    assert "\ndelta_kl (adherence)\n" in shown


def test_a_spec_that_is_given_comes_first(spec: Path, capsys: Any) -> None:
    assert explained(capsys, "score").startswith("score\n\n")
    assert explained(capsys, "score", "sway.yaml").startswith("score: leakage in line 6 of")


def test_a_spec_lists_its_probes(spec: Path, capsys: Any) -> None:
    lines = explained(capsys, "sway.yaml").splitlines()
    assert [line.split()[0] for line in lines] == ["nulls", "moved", "score"]


UNKNOWN = {
    "delta": "; did you mean delta_kl?",
    "nevertrained": "; did you mean never trained?",
    "nuls": "; did you mean nulls?",
    "frobnicate": "; `sway explain` lists them",
}


@pytest.mark.parametrize(("word", "end"), UNKNOWN.items(), ids=UNKNOWN)
def test_an_unknown_word(spec: Path, capsys: Any, word: str, end: str) -> None:
    assert cli.main(["explain", word]) == 2
    message = f"error: {word!r} is not a kind of probe, a name, a term or a diagnosis{end}\n"
    assert capsys.readouterr().err == message


def test_a_missing_spec(folder: Path, capsys: Any) -> None:
    assert cli.main(["explain", "score", "none.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: none.yaml: no such file")


def test_the_list(folder: Path, capsys: Any) -> None:
    shown = explained(capsys)
    assert [kind for kind in KINDS if f"{kind} " not in shown] == []
    assert "\nTerms\n\nPASS · FAIL · WARN · " in shown
    assert "\nDiagnoses\n\ndiverged or broken · " in shown
    assert not re.search(r"\n ?· | ·\n", shown)
