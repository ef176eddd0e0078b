"""The documentation agrees with the sources, its links have targets, and its files are valid.

A block that cannot be run follows `<!-- not run: why -->`, one that another test runs follows
`<!-- run by TEST: why -->`, a file follows `<!-- file: name -->`. A command that the reader has run
before is `<!-- run: command -->`.
"""

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from sway_gate import __version__, cli, probes, project
from sway_gate.probes import docs as probe_docs
from sway_gate.spec.load import parse_spec
from sway_gate.spec.probes import KINDS
from sway_gate.spec.schema import ProbeSpec, SpecFile
from tests.helpers.docs_pages import PAGES, ROOT, Block, blocks, name, of, place, tokens
from tools import docs

INDEX = ROOT / "docs" / "index.md"
WITH_LINKS = [*PAGES, *map(ROOT.joinpath, ("CONTRIBUTING.md", "SECURITY.md"))]
WITH_LINKS += [ROOT / "examples" / part / "README.md" for part in ("docker", "real")]
CHECKED = {"console", "bash", "run", "python", "yaml", "json", "jsonl", "text"}
"""Allowed languages of blocks; text is output of a command or a quoted message."""
MAX_NOT_RUN = 12


def test_every_block_is_of_a_kind_that_is_checked():
    run = [block for page in PAGES for block in blocks(page) if block.is_run]
    assert [place(block) for block in run if block.language not in CHECKED] == []


def test_few_blocks_are_not_run():
    marks = [block.mark for page in PAGES for block in blocks(page)]
    assert sum(mark.startswith("not run: ") for mark in marks) <= MAX_NOT_RUN


def test_a_block_that_another_test_runs_names_this_test():
    marks = [block.mark for page in PAGES for block in blocks(page)]
    tests = {mark.split(":")[0][7:] for mark in marks if mark.startswith("run by ")}
    assert tests
    assert [
        test for test in tests if f"run by {test}" not in (ROOT / test).read_text("utf-8")
    ] == []


# --- Pages from the sources


@pytest.mark.parametrize(
    ("path", "text"), docs.pages().items(), ids=lambda value: getattr(value, "name", "")
)
def test_a_generated_page_is_up_to_date(path, text):
    assert path.read_text(encoding="utf-8") == text, "run python -m tools.docs"


def test_no_page_of_a_probe_is_left_over():
    assert {path.stem for path in (ROOT / "docs" / "probes").iterdir()} == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_a_probe_describes_each_field(kind):
    own = set(KINDS[kind].__struct_fields__) - set(ProbeSpec.__struct_fields__)
    text = probe_docs.probe_doc(kind).text
    assert {field for field in own if not re.search(rf"`{field}\b", text)} == set()


@pytest.mark.parametrize(("title", "is_harm"), [("Effects", False), ("Harms", True)])
def test_the_page_on_reading_lists_all(title, is_harm):
    text = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    listed = re.search(rf"^\*\*{title}\*\* \((.*?)\)", text, re.MULTILINE)[1]
    measured = [kind for kind, spec in KINDS.items() if spec.is_probe]
    assert set(re.findall(r"`(\w+)`", listed)) == {
        kind for kind in measured if probes.module(kind).KIND.harm is is_harm
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_explanation_fits_80_columns(kind):
    assert [line for line in probe_docs.page(kind).splitlines() if len(line) > 80] == []


# --- Links


def slug(heading: str) -> str:
    """The anchor that GitHub makes for a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    pairs = zip(tokens(page), tokens(page)[1:], strict=False)
    return {slug(inline.content) for opening, inline in pairs if opening.type == "heading_open"}


def links(page: Path) -> Iterator[str]:
    for child in (child for token in tokens(page) for child in token.children or ()):
        if target := child.attrs.get("href") or child.attrs.get("src"):
            yield str(target)


def exists(page: Path, target: str) -> bool:
    """Whether the target of a link on the page exists; addresses on the web are not checked."""
    path, _, anchor = target.partition("#")
    if target.startswith("https://"):
        return True
    found = (page.parent / path).resolve() if path else page
    return found.exists() and (not anchor or anchor in anchors(found))


@pytest.mark.parametrize("page", WITH_LINKS, ids=name)
def test_the_targets_of_links_exist(page):
    assert [target for target in links(page) if not exists(page, target)] == []


def test_the_index_lists_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    listed = re.findall(r"^\| `(\w+)` \| (?!.*probes/)", INDEX.read_text("utf-8"), re.M)
    assert set(listed) == project["optional-dependencies"].keys()


def test_every_page_is_in_the_index():
    linked = {(INDEX.parent / target.partition("#")[0]).resolve() for target in links(INDEX)}
    assert {name(page) for page in set(PAGES) - {INDEX} - linked} == set()


def test_the_navigation_of_the_site_lists_every_page_once():
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    pages = (path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(listed) == sorted(path.as_posix() for path in pages)


def test_contributing_lists_each_folder_of_the_package():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "sway_gate").glob("*/__init__.py")}
    assert {folder for folder in folders if f"`{folder}/`" not in text} == set()


# --- Commands in sentences


@cache
def usage(command: str) -> str:
    """The help of a command; empty if the command is unknown."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        cli.main([command, "--help"])
    return printed.getvalue()


def mentioned() -> set[str]:
    """The commands in backticks."""
    found = [token for page in WITH_LINKS for token in tokens(page)]
    inline = [child for token in found for child in token.children or ()]
    code = {child.content for child in inline if child.type == "code_inline"}
    return {text for text in code if text.startswith("sway ") and "COMMAND" not in text}


@pytest.mark.parametrize("text", sorted(mentioned()))
def test_a_command_in_a_sentence_exists(text):
    command, *rest = text.split()[1:]
    wanted = [word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"]
    assert command.startswith("--") or f"sway {command}" in usage(command)
    assert {option for option in wanted if option not in usage(command)} == set()


# --- Files


STUB = {
    "version": "version: 1\n",
    "models": "models: {base: {base: org/model}, ft: {base: org/model, adapter: org/adapter}}\n",
    "suite": "suite: [{name: stub, kind: delta_kl, prompts: [stub]}]\n",
}
JOBS = "jobs: {one: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n"
SCHEMAS = {"workflow": "github-workflows", "gitlab": "gitlab-ci"}


def parsed(block: Block) -> Any:
    return yaml.safe_load(block.text)


def format_of(page: Any) -> str:
    """The format of a YAML block: spec, suite (part of a spec), precommit, workflow or gitlab."""
    if isinstance(page, list):
        return "suite"
    if "repos" in page:
        return "precommit"
    if True in page or "jobs" in page:  # YAML 1.1 reads `on` as true
        return "workflow"
    return "spec" if page.keys() <= set(SpecFile.__struct_fields__) else "gitlab"


def yamls(*formats: str) -> list[Block]:
    return [block for block in of("yaml") if format_of(parsed(block)) in formats]


def make_paths(page: Any, folder: Path) -> None:
    """Make an empty folder for each path in a spec that must exist when it is loaded."""
    if not isinstance(page, dict):
        return
    for key, value in page.items():
        make_paths(value, folder)
        if key in ("base", "adapter", "data", "dlm_source") and not isinstance(value, dict):
            for path in [value] if isinstance(value, str) else value:
                (folder / path).mkdir(parents=True, exist_ok=True)


def whole(block: Block) -> str:
    """A complete spec with the block."""
    page = parsed(block)
    if isinstance(page, list):
        head = STUB["version"] + STUB["models"]
        return head + "suite:\n- {name: stub, kind: leakage}\n" + block.text
    return block.text + "\n" + "".join(line for key, line in STUB.items() if key not in page)


@pytest.mark.parametrize("block", yamls("spec", "suite"), ids=place)
def test_a_spec_in_the_docs_loads(block, tmp_path):
    make_paths(parsed(block), tmp_path)
    assert parse_spec(whole(block), place(block), str(tmp_path)).suite


def check(module: str, *arguments: str) -> None:
    call = (sys.executable, "-m", module, *arguments)
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("format", SCHEMAS)
def test_the_pipelines_in_the_docs_fit_their_schema(format, tmp_path):
    pytest.importorskip("check_jsonschema")
    paths = []
    for i, block in enumerate(yamls(format)):
        is_part = format == "workflow" and "jobs" not in parsed(block)
        paths.append(tmp_path / f"{i}_{place(block).replace('/', '_')}.yml")
        paths[-1].write_text(block.text + JOBS * is_part, encoding="utf-8")
    check("check_jsonschema", "--builtin-schema", f"vendor.{SCHEMAS[format]}", *map(str, paths))


def our_steps(block: Block) -> list[dict[str, Any]]:
    steps = (step for job in parsed(block).get("jobs", {}).values() for step in job["steps"])
    return [step for step in steps if step.get("uses", "").startswith(f"{project.OWNER}/")]


@pytest.mark.parametrize("block", yamls("workflow"), ids=place)
def test_workflows_in_the_docs_use_inputs_that_the_action_has(block):
    inputs = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"].keys()
    assert {key for step in our_steps(block) for key in step.get("with", {})} <= inputs
    assert {step["uses"] for step in our_steps(block)} <= {project.ACTION}


def test_zizmor_finds_nothing_in_the_workflows(tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    zizmor = shutil.which("zizmor", path=path)
    if zizmor is None:
        pytest.skip("zizmor is not installed")
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    for number, block in enumerate(block for block in yamls("workflow") if "jobs" in parsed(block)):
        # The release does not have a commit yet.
        pinned = block.text.replace("/sway-gate@v", f"/sway-gate@{'0' * 40} # v")
        (folder / f"{number}.yml").write_text(pinned, encoding="utf-8")
    command = [zizmor, "--offline", "--quiet", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", yamls("precommit"), ids=place)
def test_hooks_in_the_docs_exist_in_this_version(block, tmp_path):
    manifest = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    ours = [repo for repo in parsed(block)["repos"] if repo["repo"].endswith("/sway-gate")]
    used = {hook["id"] for repo in ours for hook in repo["hooks"]}
    assert used <= {hook["id"] for hook in manifest}
    assert {repo["rev"] for repo in ours} == {f"v{__version__}"}
    if importlib.util.find_spec("pre_commit"):
        (tmp_path / "config.yaml").write_text(block.text, encoding="utf-8")
        check("pre_commit", "validate-config", str(tmp_path / "config.yaml"))


@pytest.mark.parametrize("block", of("json", "jsonl"), ids=place)
def test_json_in_the_docs_parses(block):
    for text in block.text.splitlines() if block.language == "jsonl" else [block.text]:
        assert json.loads(text) is not None
