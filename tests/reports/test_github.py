"""The GitHub reports as the runner and a Markdown parser read them, also with hostile texts."""

import re
import urllib.parse
from pathlib import Path

import pytest
from msgspec import structs

from sway_gate.reports import github
from sway_gate.reports.json_v1 import to_json
from sway_gate.results import Finding
from sway_gate.text import one_line
from tests.helpers.markdown import EVIL, TEXT, inlines
from tests.helpers.results import HOSTILE, healthy, hostile, probe, result, sick, undecided
from tests.helpers.simulation import one_fast

ROOT = Path("/repo")
RESULTS = {made.__name__: made() for made in (healthy, sick, undecided, hostile)}


def parsed(line):
    """Name, properties and message as the runner reads them; None if it is not a command."""
    found = re.fullmatch(r"\s*::([a-z-]+)(?: ([^\n]*?))?::([^\n]*)", line)
    if not found:
        return None
    unquoted = [pair.partition("=") for pair in (found[2] or "").split(",") if pair]
    return (
        found[1],
        {key: urllib.parse.unquote(value) for key, _, value in unquoted},
        urllib.parse.unquote(found[3]),
    )


def seen(text):
    """`text` as a reader should see it."""
    return one_line(text)


@pytest.mark.parametrize("text", EVIL)
def test_a_command_contains_its_arguments(text):
    line = github.command("error", text, file=text, line="3")
    assert parsed(line) == (
        "error",
        {"title": "sway-gate", "file": seen(text), "line": "3"},
        seen(text),
    )


@pytest.mark.parametrize("name", RESULTS)
def test_a_summary_has_a_row_for_each_probe(name):
    page = github.summary(RESULTS[name])
    kinds, _ = inlines(page)
    rows = [line for line in page.splitlines() if line.startswith("| **")]
    assert len(rows) == len(RESULTS[name].probes)
    assert not kinds & {
        "html_inline",
        "image",
        "code_inline",
        "em_open",
        "fence",
        "code_block",
        "hr",
    }


@pytest.mark.parametrize("name", RESULTS)
def test_annotations_are_one_command_per_line(name):
    commands = [parsed(line) for line in github.annotations(RESULTS[name], ROOT)]
    assert all(found and found[0] in ("error", "warning") for found in commands)
    assert any(found[0] == "error" for found in commands) == (RESULTS[name].verdict != "pass")


def test_the_next_step_is_of_the_most_severe_probe():
    assert "**What to do next**\n\n1. verbatim: Train for fewer epochs" in github.summary(sick())


ANNOTATED = {
    "a failed probe": (
        probe("voice", "fail", kind="delta_kl", message="no.", line=7),
        "error",
        {"line": "7"},
    ),
    "an errored probe": (
        probe("voice", "error", kind="delta_kl", message="no.", line=8),
        "error",
        {"line": "8"},
    ),
    "an inconclusive probe": (
        probe("voice", "warn", kind="delta_kl", message="no."),
        "warning",
        {"line": "12"},
    ),
}


@pytest.mark.parametrize(("given", "name", "fields"), ANNOTATED.values(), ids=ANNOTATED)
def test_a_probe_is_annotated_at_its_line(given, name, fields):
    line = github.annotations(result(given, spec="models/sway.yaml"), ROOT)[0]
    wanted = {"title": "sway-gate", "file": "models/sway.yaml"} | fields
    assert parsed(line) == (name, wanted, "voice (delta_kl): no.")


def test_annotations_without_a_spec_have_no_file():
    made = result(probe("voice", "fail", line=None), verdict="fail", exit_code=1, spec="sway check")
    assert "file" not in parsed(github.annotations(made, ROOT)[0])[1]


def test_a_low_composite_is_an_error():
    made = result(probe(), verdict="fail", exit_code=1, score=0.3)
    assert [(parsed(line)[0], parsed(line)[2]) for line in github.annotations(made, ROOT)] == [
        (
            "error",
            "FAIL · the composite is below the threshold · composite 0.30 (threshold 0.60) "
            "· adapter out/lora",
        )
    ]


@pytest.mark.parametrize(
    "path", ["/repo/out/adapter_model.safetensors", "out/adapter_model.safetensors"]
)
def test_a_finding_is_annotated_at_its_file(path):
    finding = Finding(id="non-finite", level="verdict", message="NaN", path=path)
    made = result(verdict="fail", exit_code=1, findings=(finding,))
    assert parsed(github.annotations(made, ROOT)[0])[1]["file"] == "out/adapter_model.safetensors"


PROBLEMS = {
    "with its place": (
        "sway.yaml:12:5: unknown field",
        {"file": "sway.yaml", "line": "12", "col": "5"},
        "unknown field",
    ),
    "in a folder with a colon": (
        "a:b/sway.yaml:3:1: no",
        {"file": "a:b/sway.yaml", "line": "3", "col": "1"},
        "no",
    ),
    "without": ("base model: org/base is not here", {}, "base model: org/base is not here"),
}


@pytest.mark.parametrize(("problem", "fields", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_problem_is_annotated_at_its_position(problem, fields, message):
    (line,) = github.error_annotations([problem])
    assert parsed(line) == ("error", {"title": "sway-gate"} | fields, message)


@pytest.mark.parametrize("text", EVIL)
def test_an_error_summary_shows_its_problems_as_text(text):
    page = github.error_summary(text, 2, [text])
    kinds, shown = inlines(page)
    assert kinds <= TEXT | {
        "html_block",
        "heading_open",
        "heading_close",
        "paragraph_open",
        "paragraph_close",
    }
    assert page.count("<") == 3
    assert seen(text) in shown.replace("\u200b", "")


@pytest.mark.parametrize("make", one_fast(hostile, sick))
def test_pages_fit_into_a_comment(make):
    bad = probe(
        "@" * 9999,
        "fail",
        kind="|" * 9999,
        message="<" * 99999,
        advice="#" * 9999,
        units="*" * 9999,
    )
    finding = Finding(id="x", level="broken", message="<" * 9999, path="#" * 9999)
    assert (
        len(github.summary(result(*[bad] * 999, findings=(finding,) * 99, spec="@" * 9999)))
        < 65_536
    )
    assert len(github.error_summary("@" * 9999, 2, ["<" * 9999] * 999)) < 65_536
    assert github.summary(make()).startswith(github.marker(make().spec))


def test_each_spec_has_its_own_comment():
    markers = {github.marker(spec) for spec in ("a.sway.yaml", "b.sway.yaml", HOSTILE, "\ud800")}
    assert len(markers) == 4
    assert all(re.fullmatch("<!-- sway-gate [0-9a-f]{16} -->", marker) for marker in markers)


RUNS = {
    "pass": (healthy(), "", 0, {"verdict": "pass", "score": "0.84"}, 1),
    "fail": (sick(), "", 1, {"verdict": "fail", "score": "0.52"}, 2),
    "undecided": (undecided(), "", 3, {"verdict": "error", "score": ""}, 1),
    "a broken spec": (
        None,
        "a warning\nerror: sway.yaml:1:1: no\nerror: sway.yaml:2:1: no\n",
        2,
        {"verdict": "error", "score": ""},
        2,
    ),
    "killed": (None, "", 137, {"verdict": "error", "score": ""}, 1),
}


@pytest.mark.parametrize(
    ("made", "errors", "exit_code", "outputs", "count"), RUNS.values(), ids=RUNS
)
def test_main_writes_a_summary_and_outputs(
    tmp_path, capsys, made, errors, exit_code, outputs, count
):
    (tmp_path / "errors.txt").write_text(errors, encoding="utf-8")
    if made:
        (tmp_path / "report.json").write_bytes(to_json(made))
    github.main(tmp_path, exit_code, "sway.yaml")
    said = (tmp_path / "outputs.txt").read_text(encoding="utf-8").splitlines()
    assert dict(line.split("=") for line in said) == outputs
    assert (
        (tmp_path / "summary.md").read_text(encoding="utf-8").startswith(github.marker("sway.yaml"))
    )
    assert capsys.readouterr().out.count("title=sway-gate") == count


@pytest.mark.parametrize("name", ["repo", 'a "quoted" répo'])
def test_no_page_shows_the_folder_of_the_runner(tmp_path, monkeypatch, capsys, name):
    root = tmp_path / name
    root.mkdir()
    monkeypatch.chdir(root)
    found = Finding(
        id="x", level="warning", message=f"{root}/runs/a has none", path=str(root / "a")
    )
    made = healthy()
    given = structs.replace(made, adapter=structs.replace(made.adapter, path=str(root / "runs/a")))
    (tmp_path / "report.json").write_bytes(to_json(structs.replace(given, findings=(found,))))
    github.main(tmp_path, 0, "sway.yaml")
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "adapter: runs/a" in page
    assert str(tmp_path) not in page + capsys.readouterr().out


@pytest.mark.parametrize(("code", "word"), [(0, "PASS"), (1, "FAIL"), (2, "ERROR")])
def test_a_static_check_has_a_page_and_outputs(tmp_path, capsys, code, word):
    (tmp_path / "static.txt").write_text("runs/<b>lora\n::error::x\n", encoding="utf-8")
    github.main(tmp_path, code, "sway static runs/lora")
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert f"### sway-gate: {word}" in page
    assert "only the files are checked" in page
    assert "runs/&lt;b&gt;lora" in page
    assert f"verdict={word.lower()}\n" in (tmp_path / "outputs.txt").read_text()
    commands = capsys.readouterr().out
    assert commands == ("" if code == 0 else "::error title=sway-gate::runs/<b>lora\n")
