"""The action gates the demo's adapters; act runs it on this machine with the stand-ins."""

import json
import re
import shutil
from pathlib import Path

import pytest

from sway_gate import demo
from tests.packaged import kit
from tests.packaged.github import NEEDS_BASH, artifact, workflow

pytestmark = NEEDS_BASH


def annotations(log):
    """The annotations that act made; the output of the gate contains none."""
    return re.findall(r"❗ +(::error.*)", log)


def ended(done):
    return done.outputs["verdict"], done.outputs["score"], done.outputs["exit-code"]


def line_of(folder, text):
    """Number of the first line of sway.yaml that contains the text."""
    lines = (folder / "sway.yaml").read_text(encoding="utf-8").splitlines()
    return 1 + next(i for i, line in enumerate(lines) if text in line)


def test_a_healthy_adapter_passes(consumer, runner, store):
    done = runner(consumer, workflow())
    assert (done.outputs["verdict"], done.outputs["exit-code"]) == ("pass", "0")
    assert float(done.outputs["score"]) > 0.6
    assert re.search(r"Summary - .*\n+### sway-gate: PASS", done.log)
    assert annotations(done.log) == []
    assert json.loads(artifact(store))["verdict"] == "pass"
    assert artifact(store, "junit.xml").startswith("<?xml")
    assert artifact(store, "report.html").lower().lstrip().startswith("<!doctype html>")
    assert all(
        Path(done.outputs[name]).is_absolute() for name in ("report-json", "report-html", "junit")
    )


def test_a_sick_adapter_fails_the_job(consumer, runner, store):
    kit.make_sick(consumer)
    done = runner(consumer, workflow(), code=1)
    assert (done.outputs["verdict"], done.outputs["exit-code"]) == ("fail", "1")
    assert "exit status 1" in done.log
    assert re.search(r"Summary - .*\n+### sway-gate: FAIL", done.log)
    (found,) = annotations(done.log)
    assert found.startswith(
        f"::error title=sway-gate,file=sway.yaml,line={line_of(consumer, 'name: moved')}::moved"
    )
    assert json.loads(artifact(store))["exit_code"] == 1


def test_a_broken_spec_ends_in_2(consumer, runner, store):
    kit.make_broken(consumer)
    done = runner(consumer, workflow(), code=1)
    assert ended(done) == ("error", "", "2")
    assert "exit status 2" in done.log
    assert re.search(r"Summary - .*\n+### sway-gate: ERROR \(exit code 2\)", done.log)
    (found,) = annotations(done.log)
    assert found.startswith(
        f"::error title=sway-gate,file=sway.yaml,line={line_of(consumer, 'kind: ')},col="
    )
    assert not (store / "artifacts").exists()


ENDS = {
    "error, on a verdict": ({"fail-on": "error"}, kit.make_sick, "fail", 0),
    "error, on a broken spec": ({"fail-on": "error"}, kit.make_broken, "error", 1),
    "never": ({"fail-on": "never"}, kit.make_broken, "error", 0),
    "no such word": ({"fail-on": "sometimes"}, kit.make_broken, "", 1),
}


@pytest.mark.parametrize(("inputs", "spoil", "verdict", "code"), ENDS.values(), ids=ENDS)
def test_fail_on(consumer, runner, inputs, spoil, verdict, code):
    spoil(consumer)
    assert runner(consumer, workflow(**inputs), code=code).outputs["verdict"] == verdict


INSTALLS = {"fail": 1, "never": 0}


@pytest.mark.parametrize(("fail_on", "code"), INSTALLS.items(), ids=INSTALLS)
def test_the_summary_reports_a_failed_installation(consumer, runner, fail_on, code):
    inputs = {"version": "0.0.0", "cache": False, "fail-on": fail_on}
    done = runner(consumer, workflow(**inputs), code=code, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert ended(done) == ("error", "", "3")
    heading = r"Summary - ### sway-gate: ERROR \(exit code 3\)"
    assert re.search(rf"{heading}\n+No verdict: .* could not be inst", done.log)
    (found,) = annotations(done.log)
    assert found.startswith("::error title=sway-gate::could not be installed")


def test_check_needs_no_spec(consumer, runner, store):
    (consumer / "sway.yaml").unlink()
    shutil.copy(demo.MODEL.parent / "document.md", consumer / "two words.md")
    models = {"adapter": "runs/lora", "base": "model"}
    inputs = models | {"data": "two words.md\n\n", "fail-on": "never"}
    done = runner(consumer, workflow(**inputs))
    assert done.outputs["verdict"] in ("pass", "fail")
    kinds = {probe["kind"] for probe in json.loads(artifact(store))["probes"]}
    assert kinds >= {"delta_kl", "answer_specificity"}


def test_a_second_run_restores_the_caches_and_saves_nothing(consumer, runner, tmp_path):
    runner(consumer, workflow())
    elsewhere = shutil.copytree(consumer, tmp_path / "elsewhere")
    assert "(cached)" in runner(elsewhere, workflow()).log
    kit.make_broken(elsewhere)
    log = runner(elsewhere, workflow(), code=1).log
    restored = re.findall(r"restored (sway-gate-\w+-Linux)", log)
    assert restored == ["sway-gate-venv-Linux", "sway-gate-verdicts-Linux"]
    assert "| saved" not in log


def test_each_spec_has_one_comment(consumer, runner, store):
    kit.make_sick(consumer)
    runner(consumer, workflow(), event="pull_request", code=1)
    shutil.copytree(demo.HEALTHY, consumer / kit.ADAPTER, dirs_exist_ok=True)
    runner(consumer, workflow(), event="pull_request")
    assert (store / "comments.log").read_text().split() == ["POST", "PATCH"]
    (consumer / "sway.yaml").rename(consumer / "other.sway.yaml")
    runner(consumer, workflow(spec="other.sway.yaml"), event="pull_request")
    assert (store / "comments.log").read_text().split() == ["POST", "PATCH", "POST"]
    assert (store / "comments.json").read_text().count("### sway-gate: PASS") == 2


def test_several_specs_are_gated_and_the_worst_decides(consumer, runner, store):
    (consumer / "b").mkdir()
    sick = kit.SPEC.replace("./", "../").replace("../runs/lora", "../runs/sick")
    (consumer / "b" / "sway.yaml").write_text(sick, encoding="utf-8")
    shutil.copytree(demo.UNTRAINED, consumer / "runs" / "sick")
    log = store / "comments.log"
    before = log.read_text().split() if log.exists() else []
    done = runner(consumer, workflow(spec="**/sway.yaml"), event="pull_request", code=1)
    assert ended(done) == ("fail", "", "1")
    assert [Path(path).name for path in done.outputs["report-json"].split()] == 2 * ["report.json"]
    # One comment for each spec; another test can have made the one of sway.yaml.
    assert log.read_text().split()[len(before)] == "POST"
    assert len(log.read_text().split()) == len(before) + 2


def test_static_only_needs_no_models(consumer, runner):
    inputs = {"static-only": True, "adapter": "runs/lora"}
    done = runner(consumer, workflow(**inputs))
    assert ended(done) == ("pass", "", "0")
    assert re.search(r"Summary - .*\n+### sway-gate: PASS, only the files are checked", done.log)
    kit.make_pointer(consumer)
    assert ended(runner(consumer, workflow(**inputs), code=1)) == ("error", "", "2")
    assert runner(consumer, workflow(**{"static-only": True}), code=1).outputs["verdict"] == ""


def test_sarif_is_uploaded_on_request(consumer, runner, store):
    kit.make_sick(consumer)
    runner(consumer, workflow(), code=1)
    assert not (store / "scanning").exists()
    runner(consumer, workflow(sarif=True), code=1)
    text = (store / "scanning/sway-gate/sway.yaml/report.sarif").read_text(encoding="utf-8")
    (run,) = json.loads(text)["runs"]
    (place,) = run["results"][0]["locations"]
    region = {"startLine": line_of(consumer, "name: moved")}
    assert place["physicalLocation"] == {"artifactLocation": {"uri": "sway.yaml"}, "region": region}


def test_a_spec_cannot_lead_out_of_the_workspace(consumer, runner, tmp_path):
    shutil.copytree(consumer / "model", tmp_path / "model")
    spec = kit.SPEC.replace("./model", str(tmp_path / "model"))
    (consumer / "sway.yaml").write_text(spec, encoding="utf-8")
    done = runner(consumer, workflow(), code=1)
    assert ended(done) == ("error", "", "2")
    assert "leads out of . (--confine)" in done.log
    assert runner(consumer, workflow(confine="/")).outputs["verdict"] == "pass"


def test_a_token_that_may_not_write_is_a_notice(consumer, runner, store):
    (store / "readonly").touch()
    done = runner(consumer, workflow(), event="pull_request")
    (store / "readonly").unlink()
    assert "::notice title=sway-gate::no comment on the pull request" in done.log
    assert done.outputs["verdict"] == "pass"


def obeyed(log):
    """The output lines that GitHub's runner would treat as commands.

    The runner ignores white space before ``::``; act prints such lines unchanged.
    """
    log = re.sub(r"⚙ +::stop-commands::(\w+).*?⚙ +::\1::", "", log, flags=re.DOTALL)
    return re.findall(r"^ *\|\s*(::.*)", log, re.MULTILINE)


def test_a_name_in_a_spec_is_not_a_command(consumer, runner):
    kit.make_sick(consumer)
    # Too long for one line of the report: the next line starts with the command.
    name = f"{'x' * 80} ::add-mask::composite"
    (consumer / "sway.yaml").write_text(kit.SPEC.replace("moved", f'"{name}"'), encoding="utf-8")
    log = runner(consumer, workflow(), code=1).log
    assert re.search(r"^ *\|\s+\\x3a:add-mask::composite", log, re.MULTILINE)
    assert obeyed(log) == []
    assert len(annotations(log)) == 1
