"""The JUnit report, for Jenkins, GitLab and most CI servers; valid under Jenkins' junit-10 schema.

One test case per probe, `__gate__` for the gate's verdict, and `__baseline__` if the result was
compared with a baseline. In the schema a test case has no properties, so the probes' numbers are
properties of the suite, named `<probe>.score`, `<probe>.z` and `<probe>.raw`.
"""

import math
from typing import Any
from xml.etree import ElementTree

from sway_gate.reports.wording import diagnosis, headline, next_steps, seconds
from sway_gate.results import GateResult, ProbeResult, Verdict
from sway_gate.text import clean, one_line


def to_junit(result: GateResult) -> str:
    """Render `result` as a JUnit XML document, declared as UTF-8."""
    from junit_xml import TestSuite

    cases = [_gate_case(result), *_baseline_cases(result)]
    cases += [_probe_case(result.spec, probe) for probe in result.probes]
    suite = TestSuite(one_line(result.spec), cases, properties=_properties(result)).build_xml_doc()
    totals = {key: suite.get(key) for key in ("tests", "failures", "errors", "time")}
    suites = ElementTree.Element("testsuites", totals)
    suites.append(suite)
    _mend(suites)
    ElementTree.indent(suites)
    document = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{document}\n'


def _gate_case(result: GateResult) -> Any:
    from junit_xml import TestCase

    accepted = [one_line(found.message) for found in result.findings if found.level == "waived"]
    steps = [f"What to do next: {clean(step.advice)}" for step in next_steps(result)[:1]]
    lines = [clean(headline(result)), diagnosis(result), *steps, *accepted]
    text = "\n".join(filter(None, lines))
    case = TestCase(
        "__gate__", f"{one_line(result.spec)}.gate", elapsed_sec=seconds(result.timing), stdout=text
    )
    if result.verdict == "fail":
        case.add_failure_info(text)
    elif result.verdict != "pass":
        case.add_error_info(text)
    return case


def _baseline_cases(result: GateResult) -> list[Any]:
    from junit_xml import TestCase

    if result.baseline is None:
        return []
    worse = [f"{one_line(r.name)}: {one_line(r.message)}" for r in result.baseline.regressions]
    stdout = "\n".join(f"warning: {one_line(text)}" for text in result.baseline.warnings)
    case = TestCase("__baseline__", f"{one_line(result.spec)}.gate", stdout=stdout)
    if worse:
        case.add_failure_info(f"worse than {one_line(result.baseline.path)}", "\n".join(worse))
    return [case]


def _probe_case(spec: str, probe: ProbeResult) -> Any:
    from junit_xml import TestCase

    # junit-xml drops a failure without message and text: the case would count as passed.
    message = one_line(probe.message) or probe.verdict.value
    advice = clean(probe.advice)
    case = TestCase(one_line(probe.name), f"{one_line(spec)}.{one_line(probe.category)}")
    match probe.verdict:
        case Verdict.FAIL:
            case.add_failure_info(message, advice)
        case Verdict.ERROR:
            case.add_error_info(message, advice)
        case Verdict.SKIP | Verdict.WAIVED:
            case.add_skipped_info(message)
        case Verdict.WARN:
            case.stdout = f"WARN {message}\n{advice}".rstrip()
        case Verdict.PASS if probe.caveat:
            case.stdout = one_line(probe.caveat)
    return case


def _properties(result: GateResult) -> dict[str, str]:
    numbers: dict[str, float | None] = {"score": result.score, "threshold": result.threshold}
    for probe in result.probes:
        name = one_line(probe.name)
        numbers |= {f"{name}.score": probe.score, f"{name}.z": probe.z, f"{name}.raw": probe.raw}
    known = {name: x for name, x in numbers.items() if x is not None and math.isfinite(x)}
    return {name: f"{x:.6g}" for name, x in known.items()}


def _mend(root: ElementTree.Element) -> None:
    """Remove `disabled` attributes and round times: the schema rejects what junit-xml writes."""
    for element in root.iter():
        element.attrib.pop("disabled", None)
        if "time" in element.attrib:
            element.set("time", f"{float(element.attrib['time']):.3f}")
