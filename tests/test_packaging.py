"""pyproject.toml agrees with the package."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module

import pytest

import sway_gate
from sway_gate.commands import doctor
from sway_gate.project import REPOSITORY
from tests.helpers import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Import names that are not the distribution's name with underscores.
DISTRIBUTIONS = {
    "_pytest": "pytest",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "dlm": "document-language-model",
    "llama_cpp": "llama-cpp-python",
}


def names(requirements: list[str]) -> tuple[str, ...]:
    return tuple(re.match(r"[\w.-]+", requirement)[0] for requirement in requirements)


IMPORTED_BY_TRANSFORMERS = {"accelerate", "bitsandbytes"}


def foreign_imports() -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import of third-party code in the package."""
    own = sys.stdlib_module_names | {"sway_gate"}
    for path in (ROOT / "sway_gate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom) and not roots(node) <= own:
                yield node


def roots(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The top-level modules that an import names."""
    names = (
        [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    )
    return {name.partition(".")[0] for name in names}


def third_parties() -> set[str]:
    """Distributions that the package imports anywhere."""
    found = {root for node in foreign_imports() for root in roots(node)}
    return {DISTRIBUTIONS.get(root, root.replace("_", "-")) for root in found}


def test_what_is_imported_is_declared_and_nothing_else():
    extras = (
        name
        for extra, requirements in EXTRAS.items()
        if extra != "all"
        for name in names(requirements)
    )
    declared = {*names(PROJECT["dependencies"]), *extras}
    assert third_parties() == declared - IMPORTED_BY_TRANSFORMERS


def test_doctor_lists_the_core_dependencies():
    assert names(PROJECT["dependencies"]) == doctor.CORE


def test_doctor_lists_every_extra():
    declared = {
        extra: names(requirements) for extra, requirements in EXTRAS.items() if extra != "all"
    }
    assert {name: extra.packages for name, extra in doctor.EXTRAS.items()} == declared


def test_the_extra_all_names_every_other_extra():
    assert set(re.findall(r"\w+", EXTRAS["all"][0].partition("[")[2])) == EXTRAS.keys() - {
        "all",
        "gguf",
    }


@pytest.mark.parametrize("target", PROJECT["scripts"].values(), ids=PROJECT["scripts"])
def test_scripts_exist(target):
    module, _, function = target.partition(":")
    assert callable(getattr(import_module(module), function))


def test_the_version_is_defined_in_one_file():
    assert "version" in PROJECT["dynamic"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "sway_gate/version.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", sway_gate.__version__)


def test_the_sdist_has_each_page_of_the_root():
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    pages = {f"/{path.name}" for path in ROOT.glob("*.md")}
    assert pages <= set(included)


def test_the_changelog_has_the_version():
    assert f"\n## {sway_gate.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_direct_dependencies_are_pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if "==" in line}
    used = {
        *names(PYPROJECT["build-system"]["requires"]),
        *names(PROJECT["dependencies"]),
        *names(EXTRAS["hf"]),
        *names(PYPROJECT["dependency-groups"]["dev"]),
    }
    assert {name.lower() for name in used} - pinned == set()


def on_pypi() -> str:
    """The README as the build writes it for PyPI."""
    hook = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    return text.replace("$HFPR_VERSION", sway_gate.__version__)


def test_links_of_the_readme_lead_from_pypi_to_files_of_this_version() -> None:
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", on_pypi())
    assert len(links) > 40
    assert [link for _, link in links if not link.startswith("https://")] == []
    for mark, link in links:
        form = "raw" if mark else "blob"
        place = re.fullmatch(rf"{REPOSITORY}/{form}/v{sway_gate.__version__}/([^#]+)(#.*)?", link)
        assert place or not link.startswith(REPOSITORY), link
        assert place is None or (ROOT / place[1]).exists(), link
