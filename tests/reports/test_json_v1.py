"""JSON v1 against a golden file and hostile input; JUnit against Jenkins' junit-10 schema."""

import json
import math
import re

import numpy as np
import pytest

from sway_gate.errors import UsageError
from sway_gate.reports.json_v1 import (
    CategoryV1,
    DiagnosisV1,
    ExchangeV1,
    GateV1,
    ProbeV1,
    RuleV1,
    from_json,
    to_json,
)
from sway_gate.reports.junit import to_junit
from sway_gate.results import Category, Diagnosis, Exchange, GateResult, ProbeResult, Rule
from sway_gate.text import clean
from tests.helpers import DATA, ROOT, results
from tests.helpers.processes import modules_after

GOLDEN = DATA / "gate-v1.json"
DOCS = ROOT / "docs" / "json.md"

EVERY_VERDICT = [results.healthy, results.sick, results.undecided, results.hostile]
by_name = pytest.mark.parametrize("make", EVERY_VERDICT, ids=lambda make: make.__name__)


# JSON


def test_format_is_frozen():
    assert to_json(results.golden()) == GOLDEN.read_bytes()


@pytest.mark.parametrize(
    ("inner", "v1", "extra"),
    [
        (ProbeResult, ProbeV1, {"null_z", "effective_weight"}),
        (Category, CategoryV1, {"effective_weight"}),
        (Rule, RuleV1, set()),
        (Exchange, ExchangeV1, set()),
        (Diagnosis, DiagnosisV1, set()),
        (GateResult, GateV1, {"schema_version"}),
    ],
    ids=["probe", "category", "rule", "exchange", "diagnosis", "gate"],
)
def test_every_field_of_the_result_is_written(inner, v1, extra):
    assert set(v1.__struct_fields__) == set(inner.__struct_encode_fields__) | extra


def test_harms_of_older_reports_do_not_depend_on_the_nulls():
    report = json.loads(to_json(results.result(results.probe(p=0.5))))
    report["probes"][0]["null_z"] = 7.7
    [probe] = from_json(json.dumps(report).encode()).probes
    assert (probe.n_null, probe.null_values, probe.p) == (0, (), None)


def test_every_field_is_documented():
    page = DOCS.read_text(encoding="utf-8")
    structs = (GateV1, ProbeV1, CategoryV1, RuleV1, ExchangeV1)
    fields = [field for struct in structs for field in struct.__struct_fields__]
    assert [field for field in fields if f"`{field}`" not in page] == []


@pytest.mark.parametrize(
    "make", [results.healthy, results.sick, results.undecided], ids=lambda make: make.__name__
)
def test_roundtrip(make):
    assert from_json(to_json(make())) == make()


def test_hostile_text_is_preserved_except_lone_surrogates():
    back = from_json(to_json(results.hostile())).probes[0].message
    assert back == clean(results.HOSTILE)


@pytest.mark.parametrize(
    ("details", "written"),
    [
        ({"a": math.nan, "b": [math.inf, -math.inf, 1.5]}, {"a": None, "b": [None, None, 1.5]}),
        ({"a": np.array([[1.0, np.nan]]), "b": np.float32(0.5)}, {"a": [[1.0, None]], "b": 0.5}),
        ({"a": np.int64(3), "b": np.bool_(True), "c": (1, 2)}, {"a": 3, "b": True, "c": [1, 2]}),
        ({1: "λ", "b": {"c": [{"d": math.nan}]}}, {"1": "λ", "b": {"c": [{"d": None}]}}),
        ({"\udc80": "\udc80"}, {"\\udc80": "\\udc80"}),
    ],
    ids=["not finite", "numpy", "numpy scalars", "nested", "surrogate"],
)
def test_details_become_json(details, written):
    data = to_json(results.result(results.probe(details=details)))
    assert json.loads(data, parse_constant=pytest.fail)["probes"][0]["details"] == written


def test_non_finite_numbers_become_null():
    probe = results.probe(
        raw=math.nan, z=math.inf, null_values=(1.0, math.nan), ci_95=(-math.inf, 2.0)
    )
    back = from_json(to_json(results.result(probe, timing={"load": math.nan}))).probes[0]
    assert (back.raw, back.z, back.ci_95[1]) == (None, None, 2.0)
    assert math.isnan(back.null_values[1])
    assert math.isnan(back.ci_95[0])


def changed(**fields):
    return json.dumps(json.loads(GOLDEN.read_bytes()) | fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"a": "\xed\xa0\x80"}',
        b"[" * 200_000,
        b'{"details":' * 200_000,
        GOLDEN.read_bytes()[:-30],
        changed(schema_version=2),
        changed(schema_version="1"),
        changed(verdict="green\n\x1b[2J"),
        changed(verdict="x" * 10_000),
        changed(exit_code=4),
        changed(score="0.9"),
        changed(threshold=None),
        changed(probes=[{}]),
        changed(nulls={"runs": 1e400}),
        GOLDEN.read_bytes().replace(b'"seed": 42', b'"seed": ' + b"9" * 5000),
        GOLDEN.read_bytes().replace(
            b'"details": {', b'"details": {"x": ' + b"[" * 90 + b"]" * 90 + b",", 1
        ),
    ],
    ids=range(20),
)
def test_hostile_json_is_one_line_of_usage_error(data):
    wrong = (
        r"\A(not a sway-gate JSON report of schema_version 1:|the file is empty;) [ -~]{1,300}\Z"
    )
    with pytest.raises(UsageError, match=wrong):
        from_json(data)


def with_probes(*probes):
    fields = json.loads(to_json(results.healthy()))
    return json.dumps(
        fields | {"probes": [fields["probes"][0] | {"name": name} for name in probes]}
    ).encode()


LIES = {
    "two of a name": (with_probes("a", "b", "a"), "several probes are named 'a'"),
    "too many": (with_probes(*map(str, range(10_001))), "more than 10,000 probes"),
    "UTF-16": ("{}".encode("utf-16"), "the text is UTF-16"),
}


@pytest.mark.parametrize(("data", "words"), LIES.values(), ids=LIES)
def test_other_files_are_rejected(data, words):
    with pytest.raises(UsageError, match=words):
        from_json(data)


def test_a_byte_order_mark_is_ignored():
    assert from_json(b"\xef\xbb\xbf" + to_json(results.healthy())) == results.healthy()


def test_unknown_fields_are_ignored():
    assert from_json(changed(added_later={"x": 1})) == results.golden()


def test_huge_integer_in_details_becomes_null():
    data = GOLDEN.read_bytes().replace(b'"details": {', b'"details": {"x": ' + b"9" * 400 + b",", 1)
    assert from_json(data).probes[0].details["x"] is None


@pytest.mark.parametrize("module", ["json_v1", "junit", "terminal"])
def test_reports_do_not_import_numpy_or_rich_or_torch(module):
    loaded = modules_after(f"import sway_gate.reports.{module}")
    assert {"numpy", "torch", "rich", "junit_xml"}.isdisjoint(loaded)


# JUnit. Jenkins' schema (xunit-plugin, junit-10.xsd): required and optional attributes, children.

SCHEMA = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
            "file",
            "log",
            "url",
        },
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
    "system-err": (set(), set(), set()),
}


def junit(result):
    etree = pytest.importorskip("lxml.etree")
    return etree.fromstring(to_junit(result).encode())


def faults(element):
    required, optional, children = SCHEMA[element.tag]
    attributes = set(element.attrib)
    yield from (f"{element.tag} lacks {name}" for name in required - attributes)
    yield from (f"{element.tag} has {name}" for name in attributes - required - optional)
    yield from (f"{child.tag} in {element.tag}" for child in element if child.tag not in children)


@by_name
def test_junit_is_valid_for_jenkins(make):
    assert [fault for element in junit(make()).iter() for fault in faults(element)] == []


@by_name
def test_junit_times_have_three_decimals(make):
    times = junit(make()).xpath("//@time")
    assert times
    assert all(re.fullmatch(r"\d{1,3}\.\d{3}", time) for time in times)


@pytest.mark.parametrize(
    ("probe", "children"),
    [
        (results.probe(), []),
        (results.leakage(), ["failure"]),
        (results.leakage(message="", advice=""), ["failure"]),
        (results.errored(), ["error"]),
        (results.errored(message="", advice=""), ["error"]),
        (results.skipped(), ["skipped"]),
        (results.drift(), ["system-out"]),
    ],
    ids=["pass", "fail", "fail mute", "error", "error mute", "skip", "warn"],
)
def test_junit_case_of_each_verdict(probe, children):
    case = junit(results.result(probe)).xpath("//testcase")[1]
    assert [child.tag for child in case] == children
    assert (case.get("name"), case.get("classname")) == (probe.name, f"sway.yaml.{probe.category}")


@pytest.mark.parametrize(
    ("make", "children", "counts"),
    [
        (results.healthy, ["system-out"], ("6", "0", "0", "1")),
        (results.sick, ["failure", "system-out"], ("7", "2", "0", "1")),
        (results.undecided, ["error", "system-out"], ("3", "0", "2", "0")),
    ],
    ids=["pass", "fail", "error"],
)
def test_junit_gate_case_and_counts(make, children, counts):
    suite = junit(make()).find("testsuite")
    assert [child.tag for child in suite.find("testcase[@name='__gate__']")] == children
    assert tuple(suite.get(key) for key in ("tests", "failures", "errors", "skipped")) == counts


def test_junit_properties():
    properties = junit(results.result(results.probe(z=math.nan), score=None)).xpath("//property")
    found = {item.get("name"): item.get("value") for item in properties}
    assert found == {"threshold": "0.6", "delta_kl.score": "0.79", "delta_kl.raw": "0.183"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b\x1b[31m", "a\\x00b\\x1b[31m"),
        ("]]> <b>&amp;", "]]> <b>&amp;"),
        ("\ud83d \ufffe \uffff", "\\ud83d \\ufffe \\uffff"),
        ("🦙 λ é", "🦙 λ é"),
        ("one\n\ttwo", "one two"),
    ],
    ids=["control", "markup", "not characters", "emoji", "white space"],
)
def test_junit_text_survives(text, shown):
    case = junit(results.result(results.leakage(name=text, message=text))).xpath("//testcase")[1]
    assert (case.get("name"), case.find("failure").get("message")) == (shown, shown)


def test_junit_says_what_to_do_next():
    (gate,) = junit(results.sick()).iterfind(".//testcase[@name='__gate__']/failure")
    assert "What to do next: Train for fewer epochs" in gate.get("message")
