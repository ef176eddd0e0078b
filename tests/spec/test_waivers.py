"""Waivers in the spec and in the file in its folder: valid ones, and the line of every mistake."""

import io
import os
import sys
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from sway_gate import cli
from sway_gate.errors import SpecError
from sway_gate.spec import WAIVERS
from sway_gate.spec.json_schema import json_schema
from sway_gate.spec.load import load_spec
from sway_gate.spec.schema import Waiver

SPEC = """\
models: {base: {kind: dummy, base: b}, ft: {kind: dummy, base: b, adapter: a}}
suite:
  - {name: nulls, kind: null_adapter}
  - {name: moved, kind: delta_kl}
  - {name: verbatim, kind: leakage}
"""
FIELDS = "reason: known, expires: 2027-01-31, by: Ada"
ENTRY = f"{{probe: moved, {FIELDS}}}"
FOUND = ENTRY.replace("probe: moved", "finding: dead-layers")
WAIVER = Waiver(probe="moved", reason="known", expires=date(2027, 1, 31), by="Ada")


def load(folder: Path, own: str = "", file: str | None = None):
    """The spec with `own` as its waivers, and a file with the entries `file`."""
    text = SPEC + (f"waivers: [{own}]\n" if own else "")
    (folder / "sway.yaml").write_text(text, encoding="utf-8")
    if file is not None:
        (folder / WAIVERS).write_text(f"waivers: [{file}]\n", encoding="utf-8")
    return load_spec(str(folder / "sway.yaml"))


PLACES = {
    "none": ("", None, ()),
    "the spec": (ENTRY, None, (WAIVER,)),
    "the file": ("", ENTRY, (WAIVER,)),
    "a date in quotes": (ENTRY.replace("2027-01-31", "'2027-01-31'"), None, (WAIVER,)),
    "both": (
        ENTRY,
        ENTRY.replace("moved", "verbatim"),
        (WAIVER, Waiver(probe="verbatim", reason="known", expires=date(2027, 1, 31), by="Ada")),
    ),
}


@pytest.mark.parametrize(("own", "file", "expected"), PLACES.values(), ids=PLACES)
def test_waivers_are_read_from_the_spec_and_from_the_file(tmp_path, own, file, expected):
    assert load(tmp_path, own, file).waivers == expected


def test_a_spec_from_standard_input_has_the_waivers_of_the_current_folder(tmp_path, monkeypatch):
    load(tmp_path, file=ENTRY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SPEC.encode())))
    assert load_spec("-").waivers == (WAIVER,)


MISTAKES = {
    "no target": (f"{{{FIELDS}}}", "probe must be given, or finding instead of it"),
    "two targets": (ENTRY.replace("by", "finding: dead-layers, by"), "or finding instead of it"),
    "a finding, twice": (
        f"{FOUND}, {FOUND}",
        "finding must be waived only once, got 'dead-layers'",
    ),
    "no reason": ("{probe: moved, expires: 2027-01-31, by: Ada}", "reason is missing"),
    "no expiry": ("{probe: moved, reason: r, by: Ada}", "expires is missing"),
    "no author": ("{probe: moved, reason: r, expires: 2027-01-31}", "by is missing"),
    "unknown field": (ENTRY.replace("by", "who: Bob, by"), "unknown field 'who'"),
    "unknown probe": (ENTRY.replace("moved", "move"), "did you mean 'moved'?"),
    "not a probe": (ENTRY.replace("moved", "nulls"), "probe 'nulls' is not a probe of"),
    "twice": (f"{ENTRY}, {ENTRY}", "probe must be waived only once, got 'moved' again"),
    "no such day": (ENTRY.replace("01-31", "02-30"), "expires must be a date such as"),
    "a time": (ENTRY.replace("2027-01-31", "2027-01-31T00:00:00Z"), "expires must be a date"),
    "a short date": (ENTRY.replace("2027-01-31", "2027-1-31"), "expires must be a date"),
    "never": (ENTRY.replace("2027-01-31", "never"), "expires must be a date"),
    "a number": (ENTRY.replace("2027-01-31", "20270131"), "expires must be a date"),
    "blank reason": (ENTRY.replace("known", "' '"), "reason must be printable text"),
    "two lines": (ENTRY.replace("known", '"a\\nPASS"'), "reason must be printable text"),
    "escape codes": (ENTRY.replace("Ada", '"\\e[31m"'), "by must be printable text"),
    "long reason": (ENTRY.replace("known", "x" * 201), "reason must have at most 200 characters"),
    "not a mapping": ("moved", "waivers[0] must be a mapping"),
}


@pytest.mark.parametrize(("entry", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_have_a_line_in_the_spec_and_in_the_file(tmp_path, entry, problem):
    for own, file, where in ((entry, None, "sway.yaml:6:"), ("", entry, f"{WAIVERS}:1:")):
        with pytest.raises(SpecError) as caught:
            load(tmp_path, own, file)
        [line] = caught.value.problems
        assert where in line
        assert problem in line


def test_a_probe_is_not_waived_in_both_places(tmp_path):
    with pytest.raises(SpecError, match=rf"{WAIVERS}:1:\d+: .*only once"):
        load(tmp_path, ENTRY, ENTRY)


FILES = {
    "empty": ("", "the file is empty; list what is waived under `waivers:`, or remove"),
    "not YAML": ("waivers: [", "not valid YAML"),
    "a tag": ("waivers: !!python/object:os.system []", "a tag is not supported"),
    "another file": ("suite: []", "needs the field waivers"),
    "an alias bomb": ("waivers: &a [*a]", "contains itself"),
}


@pytest.mark.parametrize(("text", "problem"), FILES.values(), ids=FILES)
def test_a_wrong_file_of_waivers_is_refused(tmp_path, text, problem):
    (tmp_path / WAIVERS).write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=problem):
        load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / WAIVERS)
    with pytest.raises(SpecError, match=f"{WAIVERS}: cannot be read: not a regular file"):
        load(tmp_path)


def test_a_mistake_in_the_suite_is_not_reported_as_an_unknown_probe(tmp_path):
    (tmp_path / "sway.yaml").write_text(SPEC.replace("delta_kl", "delta") + f"waivers: [{ENTRY}]\n")
    with pytest.raises(SpecError) as caught:
        load_spec(str(tmp_path / "sway.yaml"))
    assert len(caught.value.problems) == 1


def test_a_link_out_of_the_confined_folder_is_refused(tmp_path, capsys):
    load(tmp_path)
    outside = tmp_path.parent / f"{tmp_path.name}.yaml"
    outside.write_text(f"waivers: [{ENTRY}]\n")
    (tmp_path / WAIVERS).symlink_to(outside)
    spec = str(tmp_path / "sway.yaml")
    assert cli.main(["gate", spec, "--confine", str(tmp_path)]) == 2
    assert "leads out of" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["check adapter", "gate -"])
def test_a_file_of_waivers_outside_of_the_confined_folder_matters_only_if_it_exists(
    tmp_path, monkeypatch, capsys, name
):
    (tmp_path / "confined").mkdir()
    monkeypatch.chdir(tmp_path)
    command = [*name.split(), "--confine", "confined"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    cli.main(command)
    assert WAIVERS not in capsys.readouterr().err
    (tmp_path / WAIVERS).write_text(f"waivers: [{ENTRY}]\n")
    assert cli.main(command) == 2
    assert f"{WAIVERS} leads out of confined" in capsys.readouterr().err


@pytest.mark.parametrize(("day", "is_valid"), [("2027-01-31", True), (20270131, False)])
def test_the_json_schema_has_waivers(day, is_valid):
    entry = {"probe": "moved", "reason": "known", "expires": day, "by": "Ada"}
    models = {"base": {"base": "org/b"}, "ft": {"base": "org/b", "adapter": "org/a"}}
    document = {"models": models, "suite": [{"name": "m", "kind": "delta_kl"}], "waivers": [entry]}
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(document) is is_valid
