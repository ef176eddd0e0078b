"""The files of the hooks and of the action: the files they run on, and one version everywhere."""

import re
import shutil

import pytest
import yaml

from sway_gate import __version__, project
from sway_gate.training_data import compression
from sway_gate.training_data.folders import SUFFIXES
from tests.helpers import ROOT
from tools import bump_version

HOOKS = {
    hook["id"]: hook
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
}
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOWS = [
    ROOT / "action.yml",
    *sorted(ROOT.glob(".github/workflows/*.yml")),
    *sorted(ROOT.glob("examples/github-action/*.yml")),
]
GATES = ("sway-gate", "sway-gate-isolated", "sway-gate-docker")

SPECS = [
    "sway.yaml",
    "models/sway.yaml",
    "a.sway.yaml",
    "models/x.y.sway.yaml",
    "sway.yml",
    ".ci/a.sway.yml",
    "notes.dlm",
    "docs/notes.dlm",
    ".sway-waivers.yaml",
    "models/.sway-waivers.yaml",
]
ADAPTERS = [
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "outputs/checkpoint-100/adapter_model.safetensors",
    "runs/lora/adapter_config.json",
]
DATA = [
    "train.jsonl",
    "data/rows.json",
    "rows.csv",
    "rows.parquet",
    "a/notes.md",
    "a.b/text.txt.gz",
    "model/model-00001-of-00002.safetensors",
    "runs/lora/chat_template.jinja",
    "runs/lora/tokenizer.model",
]
OTHERS = [
    "sway.yaml.bak",
    "mysway.yaml",
    "mysway.yml",
    "sway-yaml",
    "notesdlm",
    "trainjsonl",
    "train.jsonl.bak",
    "train.py.gz",
    "adapter_config.json.orig",
    "adapter_config_json",
    "setup.py",
]
FIRES = dict.fromkeys(GATES, SPECS + ADAPTERS + DATA) | {"sway-static": ADAPTERS}


@pytest.mark.parametrize(("hook", "files"), FIRES.items(), ids=FIRES)
def test_a_hook_runs_on_its_files_only(hook, files):
    pattern = HOOKS[hook]["files"]
    assert [name for name in SPECS + ADAPTERS + DATA + OTHERS if re.search(pattern, name)] == files


def test_there_are_four_hooks_in_their_languages():
    assert {name: hook["language"] for name, hook in HOOKS.items()} == {
        "sway-gate": "system",
        "sway-gate-isolated": "python",
        "sway-gate-docker": "docker_image",
        "sway-static": "python",
    }


def test_a_gate_gets_the_files_and_runs_once_at_a_time():
    assert not any("pass_filenames" in hook for hook in HOOKS.values())
    assert {name for name, hook in HOOKS.items() if hook.get("require_serial")} == {*GATES}
    assert all(" hook --timeout 1h" in HOOKS[name]["entry"] for name in GATES)


def test_a_gate_runs_on_every_form_of_data():
    pattern = HOOKS["sway-gate"]["files"]
    suffixes = [end + more for end in SUFFIXES for more in ("", *compression.SUFFIXES)]
    assert [end for end in suffixes if not re.search(pattern, f"data/x{end}")] == []


def test_all_require_the_same_pre_commit():
    assert {hook["minimum_pre_commit_version"] for hook in HOOKS.values()} == {"3.2.0"}


def test_all_run_at_commits_and_pushes():
    assert {tuple(hook["stages"]) for hook in HOOKS.values()} == {("pre-commit", "pre-push")}


def test_the_hook_file_has_no_comments_and_descriptions():
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    assert "#" not in text
    assert not any("description" in hook for hook in HOOKS.values())


def test_the_isolated_gate_is_this_checkout_with_the_cpu_build_of_torch():
    index = "--extra-index-url=https://download.pytorch.org/whl/cpu"
    assert HOOKS["sway-gate-isolated"]["additional_dependencies"] == [index, ".[hf,semsim]"]
    assert "additional_dependencies" not in HOOKS["sway-static"]


def test_every_file_has_this_version():
    assert {version for _, version in bump_version.versions(ROOT)} == {__version__}


@pytest.mark.parametrize(
    "name",
    [
        "sway_gate/version.py",
        ".pre-commit-hooks.yaml",
        "examples/precommit/.pre-commit-config.yaml",
        "examples/github-action/gate.yml",
    ],
)
def test_a_version_is_found_in_each_file(name):
    assert name in {position.partition(":")[0] for position, _ in bump_version.versions(ROOT)}


@pytest.fixture
def copy(tmp_path):
    """A copy of the files with a version, and a changelog with unreleased changes."""
    for path in bump_version.files(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## Unreleased\n\n- x\n\n## {__version__}\n", encoding="utf-8"
    )
    return tmp_path


def test_a_bump_changes_every_file(copy):
    before = [position for position, _ in bump_version.versions(copy)]
    assert bump_version.bump(copy, "9.8.7") == before
    assert list(bump_version.versions(copy)) == [(position, "9.8.7") for position in before]
    changelog = (copy / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## 9.8.7\n\n- x\n\n## {__version__}\n" in changelog


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.3", "1.2.3rc1", "1.2.3\n"])
def test_a_bump_refuses_a_malformed_version(copy, version):
    with pytest.raises(ValueError, match="not a version"):
        bump_version.bump(copy, version)


def test_a_bump_refuses_an_empty_changelog_section(copy):
    bump_version.bump(copy, "9.8.7")
    with pytest.raises(ValueError, match="Unreleased"):
        bump_version.bump(copy, "9.8.8")


def steps(path):
    page = yaml.safe_load(path.read_text(encoding="utf-8"))
    jobs = page["jobs"].values() if "jobs" in page else [page["runs"]]
    return [step for job in jobs for step in [job, *job.get("steps", [])]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_third_parties_are_pinned_by_commit(path):
    used = [step["uses"] for step in steps(path) if "uses" in step]
    own = ("./", project.ACTION, f"docker://{project.IMAGE}:")
    foreign = [name for name in used if not name.startswith(own)]
    assert [name for name in foreign if not re.search(r"@[0-9a-f]{40}$", name)] == []


def test_a_third_party_has_one_version_everywhere():
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w-]+/[\w-]+)[\w/-]*@([0-9a-f]{40}) # (v\S+)", text))
    assert len({name for name, _, _ in pins}) == len(pins)
    own = re.findall(rf"uses: (?:\./|{project.OWNER}/|docker://)", text)
    pinned = re.findall(r"uses: \S+@[0-9a-f]{40} # v\d", text)
    assert text.count("uses: ") == len(own) + len(pinned)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_script_holds_an_expression(path):
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_the_action_has_its_inputs_and_outputs():
    inputs = (
        "spec adapter base data threshold weights baseline tolerance static-only budget timeout "
        "confine allow-code fail-on extras version"
    )
    more = "python-version cache online samples comment artifact sarif"
    outputs = "verdict score exit-code report-json report-html junit report-sarif"
    assert [*ACTION["inputs"]] == [*inputs.split(), *more.split()]
    assert [*ACTION["outputs"]] == outputs.split()
