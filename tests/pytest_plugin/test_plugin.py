"""The pytest plugin in separate projects, with synthetic models."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path
from xml.etree import ElementTree

# A pytester session forgets its imports at its end. A process cannot import numpy twice, and a test
# replaces a function of gate.run.
import numpy  # noqa: F401
import pytest

import sway_gate.gate.run  # noqa: F401
from sway_gate import demo, pytest_plugin
from sway_gate.pytest_plugin.suite import once
from sway_gate.results import Finding
from tests.helpers import ROOT, results
from tests.helpers.processes import modules_after

pytest_plugins = ["pytester"]

TEXT = "the mill at the ford grinds the corn of nine farms and the miller keeps a third"
MOVED = (
    "{name: moved, kind: delta_kl, prompts: [the mill, the miller keeps, nine farms], "
    "assert_mean_gte: 0.001}"
)
LEARNED = "{name: learned, kind: section_internalization}"
UNMOVED = "{name: unmoved, kind: delta_kl, prompts: [the mill, nine farms], assert_mean_gte: 0.5}"
UNSURE = "{name: unsure, kind: calibration_drift, items_limit: 10}"
STUCK = "{name: stuck, kind: delta_kl}"
LEFT_OUT = "{name: left_out, kind: leakage, enabled: false}"
ALL = (MOVED, LEARNED, UNMOVED, UNSURE, STUCK, LEFT_OUT)

COUNTED = """
from pathlib import Path
from sway_gate.backends.dummy import DummyModel

def note(what):
    with (Path(__file__).parent / "notes.txt").open("a") as file:
        file.write(what + "\\n")

class Counted(DummyModel):
    def __init__(self, base, ft):
        super().__init__(base, ft)
        note("load")

    def next_token_log_probs(self, view, prompt, answer):
        note(prompt)
        return super().next_token_log_probs(view, prompt, answer)
"""


def suite(*entries: str, model: str = "kind: dummy") -> str:
    """A spec of `entries`; with data if they test whether it was learned."""
    lines = [
        "version: 1",
        f"models: {{base: {{base: x, {model}}}, ft: {{base: x, adapter: {TEXT}, {model}}}}}",
        "suite:",
        "- {name: nulls, kind: null_adapter, runs: 8}",
        *(f"- {entry}" for entry in entries),
    ]
    if LEARNED in entries:
        lines.append(f"sections: [{{id: mill, kind: prose, content: {TEXT}}}]")
    return "\n".join(lines)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> "Project":
    # Other plugins are slow to load, and an older installation lacks this one.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Project(pytester)


class Project:
    """A folder with specs and tests."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path

    def write(self, test: str = "", *entries: str, name: str = "sway.yaml") -> None:
        """A test file, if given, and a spec with these entries, by default one that passes."""
        (self.path / name).write_text(suite(*(entries or (MOVED, LEARNED))), encoding="utf-8")
        if test:
            self.pytester.makepyfile(
                test_it=f"import pytest, unittest\nsway = pytest.mark.sway\n{test}"
            )

    def write_counted(self, *entries: str) -> None:
        """A spec whose model records its loads and requests."""
        self.pytester.makepyfile(counted=COUNTED)
        model = 'kind: custom, entry_point: "counted:Counted"'
        (self.path / "sway.yaml").write_text(suite(*entries, model=model), encoding="utf-8")

    def notes(self) -> list[str]:
        return (self.path / "notes.txt").read_text(encoding="utf-8").splitlines()

    def run(self, *options: str) -> pytest.RunResult:
        options = ("--strict-markers", "-p", "no:cacheprovider", *options)
        return self.pytester.runpytest_inprocess(*options, plugins=[pytest_plugin])

    def run_outside(self, *options: str) -> pytest.RunResult:
        """Run pytest in a separate process, which workers need."""
        named = ("-p", "xdist", "-p", pytest_plugin.__name__)
        return self.pytester.runpytest_subprocess("--strict-markers", *named, *options)


ONE = 'sway("sway.yaml")'
ITEMS = ["test_it[adherence-moved]", "test_it[attribution-learned]", "test_it[__gate__]"]


def names(result: pytest.RunResult) -> list[str]:
    """Names of the tests that --collect-only -q lists."""
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


# Which tests there are


def test_a_function_becomes_a_test_of_each_probe_and_the_gate(project: Project) -> None:
    project.write(f"@{ONE}\ndef test_it(): pass")
    assert names(project.run("--collect-only", "-q")) == ITEMS


SELECTED = {
    "category": (["-k", "adherence"], ITEMS[:1]),
    "name": (["-k", "learned"], ITEMS[1:2]),
    "kind": (["-k", "section_internalization"], ITEMS[1:2]),
    "the gate": (["-k", "__gate__"], ITEMS[2:]),
    "not": (["-k", "not adherence"], ITEMS[1:]),
    "marker": (["-m", "sway"], ITEMS),
    "node": (["test_it.py::test_it[adherence-moved]"], ITEMS[:1]),
    "deselect": (["--deselect", "test_it.py::test_it[__gate__]"], ITEMS[:2]),
}


@pytest.mark.parametrize(("options", "selected"), SELECTED.values(), ids=SELECTED)
def test_selection_by(project: Project, options: list[str], selected: list[str]) -> None:
    project.write(f"@{ONE}\ndef test_it(): pass")
    assert names(project.run("--collect-only", "-q", *options)) == selected


SHAPES = {
    "method": (
        f"class TestIt:\n    @{ONE}\n    def test_it(self): pass",
        [f"TestIt::{name}" for name in ITEMS],
    ),
    "class": (
        f"@{ONE}\nclass TestIt:\n    def test_it(self): pass",
        [f"TestIt::{name}" for name in ITEMS],
    ),
    "module": (f"pytestmark = {ONE}\ndef test_it(): pass", ITEMS),
    "keyword": ("@sway(spec='sway.yaml')\ndef test_it(): pass", ITEMS),
    "parametrized": (
        f"@{ONE}\n@pytest.mark.parametrize('n', [1, 2])\ndef test_it(n): pass",
        [f"{name[:-1]}-{n}]" for name in ITEMS for n in (1, 2)],
    ),
    "two specs": (
        f"@sway('more/other.yaml')\n@{ONE}\ndef test_it(): pass",
        [
            *(name.replace("[", "[sway.yaml-") for name in ITEMS),
            "test_it[more/other.yaml-adherence-moved]",
            "test_it[more/other.yaml-__gate__]",
        ],
    ),
}


@pytest.mark.parametrize(("test", "expected"), SHAPES.values(), ids=SHAPES)
def test_marks_work_on(project: Project, test: str, expected: list[str]) -> None:
    project.write(test)
    project.pytester.mkdir("more")
    project.write("", MOVED, name="more/other.yaml")
    assert sorted(names(project.run("--collect-only", "-q"))) == sorted(expected)
    project.run().assert_outcomes(passed=len(expected))


def test_a_spec_is_found_next_to_the_test_then_in_the_root(project: Project) -> None:
    project.pytester.makeini("[pytest]")
    for folder, entries in (("a", [MOVED]), ("b", [])):
        project.pytester.mkdir(folder)
        (project.path / folder / f"test_{folder}.py").write_text(
            f"import pytest\n@pytest.mark.{ONE}\ndef test(): pass"
        )
        if entries:
            project.write("", *entries, name=f"{folder}/sway.yaml")
    project.write("", LEARNED)
    found = names(project.run("--collect-only", "-q"))
    assert found == [
        "test[adherence-moved]",
        "test[__gate__]",
        "test[attribution-learned]",
        "test[__gate__]",
    ]


# What becomes of verdicts

OUTCOMES = {
    "pass": (MOVED, {"passed": 1}, ""),
    "fail": (UNMOVED, {"failed": 1}, "mean divergence: 0.01*, must be at least 0.5"),
    "warn": (
        UNSURE,
        {"passed": 1, "warnings": 1},
        "*SwayWarning: inconclusive: *; known items as text 15 → 15 of 195*",
    ),
    "skip": (LEFT_OUT, {"skipped": 1}, "SKIPPED [[]1[]] sway.yaml:5: disabled in the spec"),
    "error": (
        STUCK,
        {"errors": 1},
        "prompts is empty; give at least one entry or remove the probe",
    ),
}


@pytest.mark.parametrize(("entry", "outcomes", "line"), OUTCOMES.values(), ids=OUTCOMES)
def test_a_verdict_is(project: Project, entry: str, outcomes: dict[str, int], line: str) -> None:
    project.write(f"@{ONE}\ndef test_it(): pass", entry, LEARNED)
    result = project.run("-k", "not __gate__ and not learned", "-rs")
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines([f"*{line}*"])


def test_a_waived_probe_is_skipped_and_the_gate_passes(project: Project) -> None:
    project.write(f"@{ONE}\ndef test_it(): pass", UNMOVED, MOVED, LEARNED)
    waiver = "{probe: unmoved, reason: known, expires: 9999-12-31, by: Ada}"
    (project.path / ".sway-waivers.yaml").write_text(f"waivers: [{waiver}]", encoding="utf-8")
    result = project.run("-rs")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(["*waived by Ada until 9999-12-31 (known): *"])


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native"])
def test_no_traceback_is_shown(project: Project, style: str) -> None:
    project.write(f"@{ONE}\ndef test_it(sway_result): pass", *ALL)
    result = project.run(f"--tb={style}")
    result.assert_outcomes(passed=3, failed=2, errors=1, skipped=1, warnings=1)
    assert "Traceback" not in result.stdout.str()
    assert "pytest_plugin" not in result.stdout.str()


def test_the_summary_has_the_explanation(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    project.write(f"@{ONE}\ndef test_it(): pass", UNMOVED)
    lines = [
        "FAILED test_it.py::test_it[[]adherence-unmoved[]] - mean divergence*",
        "FAILED *__gate__[]] - 1 of 1 probe*",
    ]
    project.run().stdout.fnmatch_lines(lines)


def test_a_warning_can_be_an_error(project: Project) -> None:
    project.write(f"@{ONE}\ndef test_it(): pass", UNSURE)
    result = project.run("-k", "unsure", "-W", "error::sway_gate.pytest_plugin.SwayWarning")
    result.assert_outcomes(failed=1)
    assert "pytest_plugin" not in result.stdout.str()


GATES = {
    "threshold of the spec": (ONE, [MOVED], {"passed": 1}),
    "higher threshold": ('sway("sway.yaml", threshold=0.99)', [MOVED], {"failed": 1}),
    "threshold of nothing": ('sway("sway.yaml", threshold=0)', [MOVED, UNMOVED], {"failed": 1}),
    "weights": (
        'sway("sway.yaml", .5, weights={"adherence": 0.001})',
        [MOVED, UNSURE],
        {"failed": 1},
    ),
    "other weights": (
        'sway("sway.yaml", .5, weights={"calibration": 0.001})',
        [MOVED, UNSURE],
        {"passed": 1},
    ),
    "an error": (ONE, [MOVED, STUCK], {"errors": 1}),
    "a failure and an error": (ONE, [UNMOVED, STUCK], {"failed": 1}),
    "all left out": (
        'sway("sway.yaml", weights={"adherence": 0})',
        [MOVED],
        {"errors": 1},
    ),
}


@pytest.mark.parametrize(("mark", "entries", "outcomes"), GATES.values(), ids=GATES)
def test_the_gate_with(
    project: Project, mark: str, entries: list[str], outcomes: dict[str, int]
) -> None:
    project.write(f"@{mark}\ndef test_it(): pass", *entries)
    project.run("-k", "__gate__").assert_outcomes(**outcomes)


def test_the_files_can_decide(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(id="untrained", level="verdict", message="lora_B is all zero")
    untrained = results.result(verdict="fail", exit_code=1, score=0.0, findings=(finding,))
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *_: untrained)
    project.write("@sway('sway.yaml', .3)\ndef test_it(): pass")
    result = project.run()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        ["not measured; the adapter's files decide: lora_B is all zero", "lora_B is all zero; *"]
    )


# The function's own body


def test_the_body_is_part_of_the_gate(project: Project) -> None:
    body = "assert [probe.name for probe in sway_result.probes] == ['moved']"
    project.write(f"@{ONE}\ndef test_it(sway_result):\n    {body}", LEARNED, MOVED)
    result = project.run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: assert [[]'learned', 'moved'[]] == [[]'moved'[]]",
            "FAILED *__gate__[]] - *",
        ]
    )


BODIES = {
    "after a gate that passes": (ONE, 1),
    "not after one that fails": ('sway("sway.yaml", 1.0)', 0),
}


@pytest.mark.parametrize(("mark", "times"), BODIES.values(), ids=BODIES)
def test_the_body_runs(project: Project, mark: str, times: int) -> None:
    project.write(f"@{mark}\ndef test_it(tmp_path): print('the body', 'ran')")
    assert project.run("-s").stdout.str().count("the body ran") == times


def test_the_result_has_the_threshold_of_its_mark(project: Project) -> None:
    project.write(
        "@sway('sway.yaml', .25)\ndef test_a(sway_result): assert sway_result.threshold == .25\n"
        "@sway('sway.yaml', weights={'ablation': 9})\ndef test_b(sway_result):"
        " assert (sway_result.threshold, sway_result.categories['ablation'].weight) == (.6, 9)"
    )
    project.run().assert_outcomes(passed=6)


def test_there_is_no_result_without_a_mark(project: Project) -> None:
    project.write("def test_it(sway_result): pass")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["sway_result requires @pytest.mark.sway on the test"])


OTHER_MARKS = {
    "skip": ("@pytest.mark.skip", {"skipped": 3}),
    "skipif": ("@pytest.mark.skipif('True', reason='no adapter')", {"skipped": 3}),
    "skipif not": ("@pytest.mark.skipif(False, reason='no adapter')", {"passed": 2, "failed": 1}),
    "xfail": ("@pytest.mark.xfail(strict=False)", {"xpassed": 2, "xfailed": 1}),
    "usefixtures": ("@pytest.mark.usefixtures('gpu')", {"skipped": 3}),
    "filterwarnings": ("@pytest.mark.filterwarnings('error')", {"passed": 2, "failed": 1}),
}


@pytest.mark.parametrize(("mark", "outcomes"), OTHER_MARKS.values(), ids=OTHER_MARKS)
def test_other_marks_apply(project: Project, mark: str, outcomes: dict[str, int]) -> None:
    fixture = "@pytest.fixture\ndef gpu(): pytest.skip('no GPU')\n"
    project.write(f"{fixture}{mark}\n@{ONE}\ndef test_it(): assert False")
    project.run().assert_outcomes(**outcomes)


# Mistakes

MODELS = (
    "version: 1\nmodels: {base: {base: x}, ft: {base: x, adapter: ./no/such}}\n"
    "suite: [{name: a, kind: delta_kl}]"
)
BROKEN = {
    "spec": (ONE, "version: 1\nsuite: 3", ["*sway.yaml:2:8: suite *"]),
    "no adapter": (ONE, MODELS, ["sway.yaml:2:*'./no/such' does not exist*"]),
    "no spec": (
        "sway('none.yaml')",
        "",
        ["test_it.py:3: @pytest.mark.sway: none.yaml does not exist in *"],
    ),
    "a folder": ("sway('.')", "", ["*is a folder; give the file in it"]),
    "no argument": (
        "sway",
        "",
        ["*sway: missing 1 required positional argument: 'spec'; it is sway(spec, *)"],
    ),
    "a number": ("sway(3)", "", ["*@pytest.mark.sway: spec must be a path, got 3"]),
    "misspelt": (
        "sway('sway.yaml', treshold=1)",
        "",
        ["*: got an unexpected keyword argument 'treshold'; it is *"],
    ),
    "threshold": (
        "sway('sway.yaml', 60)",
        "",
        ["*: threshold must be a number from 0 to 1, got 60"],
    ),
    "nan": (
        "sway('sway.yaml', float('nan'))",
        "",
        ["*: threshold must be a number from 0 to 1, got nan"],
    ),
    "weights": ("sway('sway.yaml', weights=3)", "", ["*: weights must map adherence, *, got 3"]),
    "a weight": (
        "sway('sway.yaml', weights={'adhesion': 1})",
        "",
        ["*: weights must map adherence, *"],
    ),
    "no weight": (
        "sway('sway.yaml', weights={'adherence': 0, 'attribution': 0})",
        "",
        ["*weights: the categories of the suite's probes (*) have weight 0*"],
    ),
}


@pytest.mark.parametrize(("mark", "text", "lines"), BROKEN.values(), ids=BROKEN)
def test_collection_ends_at_a_wrong(
    project: Project, mark: str, text: str, lines: list[str]
) -> None:
    project.write(f"@{mark}\ndef test_it(): pass")
    if text:
        (project.path / "sway.yaml").write_text(text, encoding="utf-8")
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(lines)
    assert "During handling" not in result.stdout.str()


def test_the_adapter_of_a_skipped_test_need_not_exist(project: Project) -> None:
    project.write(
        f"@pytest.mark.skipif('True', reason='not trained yet')\n@{ONE}\ndef test_it(): pass"
    )
    (project.path / "sway.yaml").write_text(MODELS, encoding="utf-8")
    project.run().assert_outcomes(skipped=1)


UNSEEN = {
    "TestCase": f"class TestIt(unittest.TestCase):\n    @{ONE}\n    def test_it(self): pass",
    "param": f"@pytest.mark.parametrize('n', [pytest.param(1, marks={ONE})])\ndef test_it(n): pass",
    "fixture": f"@pytest.fixture(params=[pytest.param(1, marks={ONE})])\n"
    "def it(): pass\ndef test_it(it): pass",
}


@pytest.mark.parametrize("test", UNSEEN.values(), ids=UNSEEN)
def test_a_misplaced_mark_is_an_error(project: Project, test: str) -> None:
    project.write(test)
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["@pytest.mark.sway was not applied at collection: *"])


def test_two_plugins_for_one_mark_are_an_error(project: Project) -> None:
    project.write(f"@{ONE}\ndef test_it(): pass")
    project.pytester.makeconftest(
        "def pytest_configure(config): config.pluginmanager.register(object(), 'sway')"
    )
    project.run().stdout.fnmatch_lines(
        ["*dlm-sway's plugin handles this mark too; disable one of them *"]
    )


FAULTS = {
    "a model that is not here": (
        "kind: hf",
        "*base model: x is neither a folder nor complete in *",
    ),
    "code that breaks": ("kind: custom, entry_point: 'counted:note'", "*counted:note*"),
    "code that stops": (
        "kind: custom, entry_point: 'counted:stop'",
        "the suite stopped: Stop: at once (set SWAY_DEBUG*",
    ),
}


@pytest.mark.parametrize(("model", "line"), FAULTS.values(), ids=FAULTS)
def test_every_test_has_the_error(project: Project, model: str, line: str) -> None:
    stop = (
        "class Stop(BaseException): pass\n"
        "def stop(base, ft):\n    note('stop')\n    raise Stop('at once')\n"
    )
    project.pytester.makepyfile(counted=COUNTED + stop)
    project.write(f"@{ONE}\ndef test_it(): pass")
    text = suite(MOVED, model=model).replace(TEXT, "o/a" if "hf" in model else TEXT)
    (project.path / "sway.yaml").write_text(text, encoding="utf-8")
    result = project.run()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines([line])
    assert "stop" not in model or project.notes() == ["stop"]


def test_warnings_of_the_model_are_no_errors(project: Project) -> None:
    project.write(f"@{ONE}\ndef test_it(): pass")
    project.write_counted(MOVED)
    with (project.path / "counted.py").open("a", encoding="utf-8") as file:
        file.write("\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n")
    project.run("-W", "error").assert_outcomes(passed=2, warnings=0)


# Once, and only the selected probes

TWO = (
    f"@{ONE}\ndef test_it(): pass\n"
    "@sway('sway.yaml', .1, weights={'ablation': 2})\ndef test_more(): pass"
)


def test_a_suite_runs_once(project: Project) -> None:
    project.write(TWO)
    project.write_counted(MOVED, LEARNED)
    project.run().assert_outcomes(passed=6)
    assert project.notes().count("load") == 1


OTHER = "{name: other, kind: adapter_ablation, prompts: [keeps a third]}"
NEEDED = {
    "adherence": (["-k", "adherence"], True, False),
    "ablation": (["-k", "ablation"], False, True),
    "the gate": (["-k", "__gate__"], True, True),
    "a node": (["test_it.py::test_it[adherence-moved]"], True, False),
    "nothing": (["-k", "left_out"], False, False),
}


@pytest.mark.parametrize(("options", "moved", "other"), NEEDED.values(), ids=NEEDED)
def test_only_what_is_needed_is_measured(
    project: Project, options: list[str], moved: bool, other: bool
) -> None:
    project.write(f"@{ONE}\ndef test_it(sway_result): pass")
    project.write_counted(MOVED, OTHER, LEFT_OUT)
    project.run(*options)
    assert ("nine farms" in project.notes(), "keeps a third" in project.notes()) == (moved, other)


IDLE = {
    "skipped": ("@pytest.mark.skip", [], {"skipped": 2}),
    "listed": ("", ["--collect-only"], {}),
    "planned": ("", ["--setup-plan"], {}),
}


@pytest.mark.parametrize(("mark", "options", "outcomes"), IDLE.values(), ids=IDLE)
def test_nothing_is_measured_for_tests_that_are(
    project: Project, mark: str, options: list[str], outcomes: dict[str, int]
) -> None:
    project.write(f"{mark}\n@{ONE}\ndef test_it(sway_result): pass")
    project.write_counted(MOVED)
    project.run(*options).assert_outcomes(**outcomes)
    assert not (project.path / "notes.txt").exists()


def test_a_part_is_judged_like_the_whole(project: Project) -> None:
    """The settings of the null adapters stay if other probes are deselected."""
    told = "(sway_result.nulls.runs, next(p.z for p in sway_result.probes if p.name == 'moved'))"
    project.write(
        f"@pytest.fixture(autouse=True)\ndef tell(sway_result): print('z', {told})\n"
        f"@{ONE}\ndef test_it(): pass"
    )
    whole, part = (
        project.run("-s", "-k", which).stdout.str() for which in ("test_it", "adherence")
    )
    assert part.split("z (")[1].split(")")[0] == whole.split("z (")[1].split(")")[0]
    assert "z (8, " in part


@pytest.mark.slow
@pytest.mark.parametrize("dist", ["load", "worksteal", "loadscope", "each"])
def test_workers_share_a_run(project: Project, dist: str) -> None:
    project.write(TWO)
    project.write_counted(MOVED, LEARNED, UNSURE)
    result = project.run_outside("-n", "2", "--dist", dist)
    result.assert_outcomes(passed=16 if dist == "each" else 8, warnings=4 if dist == "each" else 2)
    assert project.notes().count("load") == 1


@pytest.mark.slow
def test_workers_report_failures_and_leave_no_files(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(project.path / "tmp"))
    project.write(f"@{ONE}\ndef test_it(): pass", *ALL)
    result = project.run_outside("-n", "2")
    result.assert_outcomes(passed=3, failed=2, errors=1, skipped=1, warnings=1)
    result.stdout.fnmatch_lines(["*mean divergence: 0.01*, must be at least 0.5*"])
    assert not list((project.path / "tmp").glob("sway-gate-*"))


@pytest.mark.slow
def test_a_suite_is_not_repeated_after_a_worker_dies(project: Project) -> None:
    project.write(TWO)
    project.write_counted(MOVED)
    with (project.path / "counted.py").open("a", encoding="utf-8") as file:
        file.write("\nimport os\nCounted.generate = lambda *_: os._exit(9)\n")
    result = project.run_outside("-n", "2", "--max-worker-restart", "4")
    assert result.parseoutcomes()["failed"] == 1
    assert result.parseoutcomes()["errors"] == 3
    result.stdout.fnmatch_lines(["the worker that ran this suite ended without a result *"])
    assert project.notes().count("load") == 1


def test_once_keeps_what_was_made_first(tmp_path: Path) -> None:
    made = iter(["first", "second"])
    assert [once(tmp_path / "key", lambda: next(made)) for _ in range(2)] == ["first", "first"]


def test_once_keeps_results_as_they_are(tmp_path: Path) -> None:
    kept = [once(tmp_path / "key", results.golden) for _ in range(2)]
    assert kept[0] == kept[1]


# JUnit


def test_junit_has_the_numbers(project: Project) -> None:
    project.write(f"@{ONE}\ndef test_it(): pass", *ALL)
    project.run("--junitxml=junit.xml")
    cases = ElementTree.parse(project.path / "junit.xml").iter("testcase")
    found = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in cases
    }
    moved = found["test_it[adherence-moved]"]
    assert (moved["verdict"], float(moved["z"]) > 3, 0 < float(moved["raw"]) < 1) == (
        "pass",
        True,
        True,
    )
    assert found["test_it[adherence-stuck]"] == {"verdict": "error"}
    assert found["test_it[__gate__]"]["verdict"] == "fail"
    assert float(found["test_it[__gate__]"]["threshold"]) == 0.6


# In projects that have nothing to do with it


def test_the_plugin_is_the_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"sway_gate": pytest_plugin.__name__}


def test_the_plugin_is_light() -> None:
    loaded = modules_after("import sway_gate.pytest_plugin")
    ours = {name for name in loaded if name.startswith("sway_gate")}
    light = {"sway_gate", "sway_gate.errors", "sway_gate.version"}
    assert ours == light | {"sway_gate.pytest_plugin", "sway_gate.pytest_plugin._names"}
    assert {"numpy", "yaml", "msgspec", "rich", "torch"}.isdisjoint(loaded)


# The example, the documentation, and real models

DOCS = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


@pytest.fixture
def documented(project: Project) -> Project:
    """The example's spec with the first test that the documentation shows."""
    shutil.copy(ROOT / "examples" / "pytest" / "sway.yaml", project.path)
    project.pytester.makepyfile(test_release=blocks("python")[0])
    return project


def test_what_is_documented_is_shown(documented: Project) -> None:
    result = documented.run("-v")
    assert [line.partition(" PASSED")[0] for line in result.outlines if " PASSED" in line] == [
        line.partition(" PASSED")[0] for line in blocks("text")[0].splitlines()
    ]


def test_the_documented_skip_needs_no_adapter(project: Project) -> None:
    project.pytester.makepyfile(test_release=blocks("python")[1])
    (project.path / "sway.yaml").write_text(MODELS, encoding="utf-8")
    project.run().assert_outcomes(skipped=1)


@pytest.mark.slow
@pytest.mark.parametrize("command", blocks("bash")[0].splitlines())
def test_the_documented_command_runs(documented: Project, command: str) -> None:
    program, *options = shlex.split(command)
    assert (program, documented.run_outside(*options).ret) == ("pytest", pytest.ExitCode.OK)


def test_the_example_works(project: Project) -> None:
    project.pytester.copy_example(str(ROOT / "examples" / "pytest"))
    result = project.run_outside("-v")
    result.assert_outcomes(passed=5)


@pytest.mark.slow
def test_the_demo_adapter_passes(project: Project) -> None:
    offline = (
        "import socket\ndef refuse(*_): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
    )
    project.pytester.makeconftest(offline)
    project.write(
        f"@sway({demo.specs()[0][1]!r})\n"
        "def test_it(sway_result): assert sway_result.device == 'cpu'"
    )
    project.run_outside().assert_outcomes(passed=7)
