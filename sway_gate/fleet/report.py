"""The report of a fleet: as text, Markdown, JSON and JUnit XML. The worst gates come first."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.etree import ElementTree

from sway_gate.fleet.outcome import Outcome
from sway_gate.reports import markdown as md
from sway_gate.reports.junit import to_junit
from sway_gate.reports.lines import BLANK, STYLES, Line, indented, marked, printed
from sway_gate.reports.wording import diagnosis, reasons, score_text
from sway_gate.text import counted, escaped, is_number, one_line

_WORDS: Final = {0: "pass", 1: "fail"}
_HEAD: Final = ("", "gate", "composite", "diagnosis", "reason")


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """The exit code of the worst gate."""
    return max(outcome.exit_code for outcome in outcomes)


def word(outcome: Outcome) -> str:
    """pass, fail or error."""
    return _WORDS.get(outcome.exit_code, "error")


def counts(outcomes: Sequence[Outcome]) -> str:
    """Such as "24 gates: 20 pass, 3 fail, 1 error"."""
    found = Counter(map(word, outcomes))
    parts = [f"{found[name]} {name}" for name in ("pass", "fail", "error") if found[name]]
    return f"{counted(len(outcomes), 'gate')}: {', '.join(parts)}"


def _worst_first(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: -outcome.exit_code)


def _reason(outcome: Outcome) -> str:
    if outcome.result is None:
        return outcome.error
    return "; ".join(one_line(reason) for reason in reasons(outcome.result))


# ------------------------------------------------------------------------------------------ text


def render(
    outcomes: Sequence[Outcome], *, quiet: bool, color: bool, width: int, ascii: bool
) -> str:
    """One line per gate, then the counts. quiet: only gates that did not pass."""
    return printed(list(_lines(outcomes, quiet)), color, width, ascii)


def _lines(outcomes: Sequence[Outcome], quiet: bool) -> Iterator[Line]:
    for outcome in _worst_first(outcomes):
        if quiet and outcome.exit_code == 0:
            continue
        style = word(outcome)
        name = (one_line(outcome.gate.label), "bold")
        yield marked(style.upper(), STYLES[style], name, (f"  {_reason(outcome)}", ""))
        if outcome.result and outcome.exit_code and (text := diagnosis(outcome.result)):
            yield indented(text)
    yield BLANK
    yield Line([(counts(outcomes), "bold")])


# ------------------------------------------------------------------------------------- Markdown


def to_markdown(outcomes: Sequence[Outcome]) -> bytes:
    """A table with one row per gate."""
    rows = [md.row(map(md.text, _cells(one))) for one in _worst_first(outcomes)]
    return "\n".join([f"**{counts(outcomes)}**", "", *md.head(_HEAD), *rows, ""]).encode()


def _cells(outcome: Outcome) -> Iterator[str]:
    result = outcome.result
    yield word(outcome).upper()
    yield outcome.gate.label
    yield score_text(result.score if result else None)
    yield result.diagnosis.name if result and result.diagnosis else "–"
    yield _reason(outcome)


# ------------------------------------------------------------------------------------------ JSON


def to_json(outcomes: Sequence[Outcome]) -> bytes:
    """One object per gate in the order of the command; `docs/fleet.md` describes the fields."""
    report = {
        "schema_version": 1,
        "exit_code": exit_code(outcomes),
        "gates": [_entry(outcome) for outcome in outcomes],
    }
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    return escaped(text).encode() + b"\n"


def _entry(outcome: Outcome) -> dict[str, Any]:
    result = outcome.result
    return {
        "spec": one_line(outcome.gate.spec),
        "adapter": one_line(result.adapter.path if result else outcome.gate.adapter),
        "exit_code": outcome.exit_code,
        "verdict": word(outcome),
        "score": result.score if result and is_number(result.score) else None,
        "diagnosis": result.diagnosis.name if result and result.diagnosis else None,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 3),
        "node": one_line(outcome.node),
        "stored": outcome.is_stored,
    }


# ----------------------------------------------------------------------------------------- JUnit


def to_xml(outcomes: Sequence[Outcome]) -> bytes:
    """JUnit XML with one test suite per gate, as `sway gate --junit` writes it."""
    suites = ElementTree.Element("testsuites")
    for outcome in outcomes:
        suite = _suite(outcome)
        suite.set("name", one_line(outcome.gate.label))
        suites.append(suite)
    for key in ("tests", "failures", "errors"):
        suites.set(key, str(sum(int(suite.get(key, 0)) for suite in suites)))
    ElementTree.indent(suites)
    document = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{document}\n'.encode()


def _suite(outcome: Outcome) -> ElementTree.Element:
    if outcome.result:
        return ElementTree.fromstring(to_junit(outcome.result))[0]  # noqa: S314  our own text
    totals = {"tests": "1", "failures": "0", "errors": "1"}
    suite = ElementTree.Element("testsuite", totals)
    spec = f"{one_line(outcome.gate.spec)}.gate"
    case = ElementTree.SubElement(suite, "testcase", {"name": "__gate__", "classname": spec})
    message = {"message": outcome.error, "type": "error"}
    ElementTree.SubElement(case, "error", message).text = outcome.error
    return suite
