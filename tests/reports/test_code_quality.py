"""The Code Quality report has GitLab's fields, safe texts and stable fingerprints."""

import json

import msgspec
import pytest

from sway_gate.reports.code_quality import to_code_quality
from tests.helpers.results import healthy, hostile, probe, result, sick, undecided

MADE = (healthy, sick, undecided, hostile)
SEVERITIES = {"info", "minor", "major", "critical", "blocker"}


def issues(made):
    return json.loads(to_code_quality(made))


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.__name__)
def test_each_issue_has_the_required_fields(made):
    found = issues(made())
    for issue in found:
        assert issue.keys() == {
            *("check_name", "description", "fingerprint", "severity", "location")
        }
        assert issue["severity"] in SEVERITIES
        assert issue["description"].isprintable()
        assert issue["location"]["lines"]["begin"] >= 1
        assert not issue["location"]["path"].startswith("/")
    assert len({issue["fingerprint"] for issue in found}) == len(found)


def test_what_passes_is_not_an_issue():
    assert issues(result(probe("a"), probe("b"))) == []


def test_a_failed_probe_is_at_its_line():
    failed = probe("delta_kl", "fail", line=7, message="too small", advice="train more")
    (issue,) = issues(result(failed, verdict="fail", exit_code=1, spec="a/sway.yaml"))
    assert issue["location"] == {"path": "a/sway.yaml", "lines": {"begin": 7}}
    assert issue["description"] == "delta_kl: too small. train more"
    assert issue["severity"] == "critical"


def test_a_fingerprint_does_not_depend_on_numbers_but_on_the_place():
    def prints(**fields):
        failed = probe("delta_kl", "fail", **({"line": 7, "message": "0.1"} | fields))
        return issues(result(failed, verdict="fail", exit_code=1))[0]["fingerprint"]

    assert prints() == prints(message="0.2", raw=3.0)
    assert prints() != prints(line=8)


def test_two_probes_at_one_place_are_two_issues():
    failed = [probe(name, "fail", kind="delta_kl", line=None) for name in ("a", "b")]
    found = issues(msgspec.structs.replace(result(*failed), verdict="fail", exit_code=1))
    assert len({issue["fingerprint"] for issue in found}) == 2
