"""Results as SARIF 2.1.0, for code scanning and editors.

A rule is a kind of finding, a kind of probe, or the gate. A result is a finding, a probe that does
not pass or judges only a part of its question, or a gate that fails without one of them.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from sway_gate import cache, probes
from sway_gate.model_files.hub import ADAPTER_CONFIG
from sway_gate.project import DOCS, REPOSITORY
from sway_gate.reports.wording import headline, issue
from sway_gate.results import Finding, GateResult, ProbeResult, Verdict
from sway_gate.static.check import StaticReport
from sway_gate.text import clean, cut, one_line
from sway_gate.version import __version__

MAX_RESULTS: Final = 5000
"""GitHub shows this many results of a run."""
MAX_TEXT: Final = 1000
_SEVERITY: Final = ("error", "warning", "note", "none")
_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_FINDINGS: Final = f"{DOCS}/troubleshooting.md#the-adapters-files"
_OF_VERDICT: Final = {
    Verdict.FAIL: "error",
    Verdict.ERROR: "error",
    Verdict.WARN: "warning",
    Verdict.SKIP: "note",
    Verdict.WAIVED: "note",
}
_OF_FINDING: Final = {"broken": "error", "verdict": "error", "warning": "warning"}
_PLACE: Final = re.compile(r"(?P<path>.+?):(?P<line>[1-9]\d{0,8})(?::\d+)?")


class _Rule(NamedTuple):
    id: str
    help: str


class _Result(NamedTuple):
    """A result at a line of a file, 1-based."""

    rule: _Rule
    level: str
    text: str
    path: str
    line: int = 1
    justification: str = ""
    """Why a waived result is accepted."""


def to_sarif(result: GateResult) -> bytes:
    """Encode the verdict of the gate."""
    return _encoded([*of_gate(result)], result.exit_code in (0, 1))


def of_static(reports: Sequence[StaticReport]) -> bytes:
    """Encode the findings of the static check."""
    return _encoded([_of_finding(found) for report in reports for found in report.findings], True)


def of_gate(result: GateResult) -> Iterator[_Result]:
    """The findings, the probes that do not simply pass, and a gate that fails without them."""
    is_file = any(probe.line is not None for probe in result.probes)
    place = result.spec if is_file else os.path.join(result.adapter.path, ADAPTER_CONFIG)
    found = [_of_finding(item) for item in result.findings]
    shown = [probe for probe in result.probes if probe.verdict in _OF_VERDICT or probe.caveat]
    found += [_of_probe(probe, place) for probe in shown]
    yield from found
    if result.verdict != "pass" and not any(one.level == "error" for one in found):
        rule = _Rule("gate", f"{DOCS}/reading.md")
        yield _Result(rule, "error", headline(result), place)


def _of_finding(found: Finding) -> _Result:
    place = _PLACE.fullmatch(found.path)
    path, line = (place["path"], int(place["line"])) if place else (found.path, 1)
    text = ". ".join(filter(None, (found.message, found.remedy)))
    level = _OF_FINDING.get(found.level, "note")
    return _Result(_Rule(found.id, _FINDINGS), level, text, path, line, _justification(found))


def _of_probe(probe: ProbeResult, path: str) -> _Result:
    page = f"probes/{probe.kind}.md" if probes.is_known(probe.kind) else "reading.md"
    text = ". ".join(filter(None, (f"{probe.name}: {issue(probe)}", probe.advice)))
    rule = _Rule(probe.kind, f"{DOCS}/{page}")
    level = _OF_VERDICT.get(probe.verdict, "note")
    return _Result(rule, level, text, path, probe.line or 1, _justification(probe))


def _justification(found: Finding | ProbeResult) -> str:
    """Reason, author and last day of the waiver that accepts the result; "" if none does."""
    own = found.waiver
    if own is None or own.is_expired:
        return ""
    return f"{own.reason} ({own.by}, until {own.expires})"


def _encoded(found: Sequence[_Result], is_successful: bool) -> bytes:
    shown = sorted(found, key=lambda result: _SEVERITY.index(result.level))[:MAX_RESULTS]
    rules = list({result.rule.id: result.rule for result in shown}.values())
    ids = [rule.id for rule in rules]
    root = cache.work_tree(Path.cwd()) or Path.cwd()
    driver = {
        "name": "sway-gate",
        "version": __version__,
        "semanticVersion": __version__,
        "informationUri": REPOSITORY,
        "rules": [_rule(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": is_successful}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, ids.index(one.rule.id), root) for one in shown],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False).encode() + b"\n"


def _rule(rule: _Rule) -> dict[str, Any]:
    return {
        "id": one_line(rule.id),
        "shortDescription": _text(_question(rule.id)),
        "helpUri": rule.help,
    }


def _question(id: str) -> str:
    """What a probe asks; another rule is described by its id."""
    doc = probes.module(id).__doc__ if probes.is_known(id) else None
    return (doc or id.replace("-", " ")).partition("\n")[0]


def _result(result: _Result, index: int, root: Path) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": uri(result.path, root)},
        "region": {"startLine": result.line},
    }
    return {
        "ruleId": one_line(result.rule.id),
        "ruleIndex": index,
        "level": result.level,
        "message": _text(result.text),
        "locations": [{"physicalLocation": place}],
        **_suppressed(result.justification),
    }


def _suppressed(justification: str) -> dict[str, Any]:
    """The property of a waived result; {} for others."""
    if not justification:
        return {}
    text = _text(justification)["text"]
    return {"suppressions": [{"kind": "external", "status": "accepted", "justification": text}]}


def _text(text: str) -> dict[str, str]:
    """A message. It contains no link, which SARIF writes as [text](target)."""
    return {"text": cut(one_line(text), MAX_TEXT).replace("](", "] (")}


def uri(path: str, root: Path) -> str:
    """The path relative to the root of the repository, or the URI of a file outside of it."""
    real = Path(os.path.realpath(clean(path)))
    if real.is_relative_to(root):
        return quote(real.relative_to(root).as_posix())
    return real.as_uri()
