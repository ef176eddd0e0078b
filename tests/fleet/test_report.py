"""The report of a fleet in each format, the worst gate first."""

import json
from xml.etree import ElementTree

import msgspec

from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.fleet import report
from sway_gate.fleet.outcome import Outcome, failed
from sway_gate.fleet.plan import Gate
from sway_gate.results import Diagnosis
from tests.helpers import results

PASS = Outcome(Gate("a.yaml", "runs/1"), results.healthy(), seconds=3.25, node="10.0.0.7")
FAIL = Outcome(Gate("a.yaml", "runs/2"), results.sick(), exit_code=1, is_stored=True)
BROKEN = failed(Gate("b.yaml", ""), AdapterError("runs/3: no weights\n  no config"))
LOST = failed(Gate("c.yaml", ""), CannotDecide("3 workers were lost"))
ALL = (PASS, FAIL, BROKEN, LOST)


def text(*outcomes: Outcome, quiet: bool = False) -> str:
    return report.render(outcomes, quiet=quiet, color=False, width=200, ascii=False)


def test_the_exit_code_is_the_worst() -> None:
    assert [report.exit_code(ALL[: n + 1]) for n in range(4)] == [0, 1, 2, 3]


def test_the_text_has_the_worst_first_and_the_counts_last() -> None:
    lines = [line for line in text(*ALL).splitlines() if line and line[0] != " "]
    assert [line.split()[:2] for line in lines[:4]] == [
        ["ERROR", "c.yaml"],
        ["ERROR", "b.yaml"],
        ["FAIL", "a.yaml"],
        ["PASS", "a.yaml"],
    ]
    assert "runs/3: no weights; no config" in lines[1]
    assert lines[-1] == "4 gates: 1 pass, 1 fail, 2 error"


def test_quiet_leaves_out_what_passed() -> None:
    assert "PASS" not in text(*ALL, quiet=True)
    assert text(PASS, quiet=True).strip() == "1 gate: 1 pass"


def test_json_has_the_facts_of_each_gate_in_the_order_of_the_command() -> None:
    found = json.loads(report.to_json(ALL))
    assert (found["schema_version"], found["exit_code"]) == (1, 3)
    assert [gate["exit_code"] for gate in found["gates"]] == [0, 1, 2, 3]
    assert [gate["verdict"] for gate in found["gates"]] == ["pass", "fail", "error", "error"]
    first, second, third, _ = found["gates"]
    assert (first["seconds"], first["node"], first["stored"]) == (3.25, "10.0.0.7", False)
    assert (second["score"], second["stored"]) == (results.sick().score, True)
    assert (third["score"], third["error"]) == (None, "runs/3: no weights; no config")


def test_junit_has_one_suite_per_gate_and_the_totals() -> None:
    root = ElementTree.fromstring(report.to_xml(ALL))
    assert [suite.get("name") for suite in root] == [
        "a.yaml runs/1",
        "a.yaml runs/2",
        "b.yaml",
        "c.yaml",
    ]
    assert [suite.get("errors") for suite in root] == ["0", "0", "1", "1"]
    cases = list(root.iter("testcase"))
    assert int(root.get("tests", 0)) == len(cases)
    assert int(root.get("failures", 0)) == len(list(root.iter("failure"))) > 0
    assert int(root.get("errors", 0)) == 2


def test_markdown_has_a_row_per_gate() -> None:
    rows = report.to_markdown(ALL).decode().splitlines()
    assert rows[0] == "**4 gates: 1 pass, 1 fail, 2 error**"
    assert [row.split(" | ")[0] for row in rows[4:]] == ["| ERROR", "| ERROR", "| FAIL", "| PASS"]


def test_markdown_has_the_diagnosis() -> None:
    recites = Diagnosis(name="recites", sentence="It recites.")
    found = msgspec.structs.replace(results.sick(), diagnosis=recites)
    gate = Outcome(Gate("a.yaml", "runs/2"), found, exit_code=1)
    assert "| FAIL | a.yaml runs/2 | 0.52 | recites |" in report.to_markdown([gate]).decode()


def test_hostile_names_stay_on_their_line() -> None:
    gate = Gate(results.HOSTILE, "| x\n# y")
    bad = [
        Outcome(gate, results.hostile(), exit_code=1),
        failed(gate, CannotDecide(results.HOSTILE)),
    ]
    assert json.loads(report.to_json(bad))["exit_code"] == 3
    assert len(ElementTree.fromstring(report.to_xml(bad))) == 2
    assert len(report.to_markdown(bad).decode().splitlines()) == 6
    shown = text(*bad)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
