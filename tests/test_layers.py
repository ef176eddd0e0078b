"""Imports go one way, and the light commands stay light."""

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sway_gate"

# From the top down; a module imports from its own layer and those below.
LAYERS = (
    {"__main__", "cli"},
    {"commands", "doctor", "pytest_plugin"},
    {"gate", "quick", "evaluate", "models", "reports", "explain", "baseline", "diff", "autogen", "demo", "mine"},
    {
        "planning",
        "engine",
        "judge",
        "cache",
        "digest",
        "static",
        "backends",
        "embedding",
        "fleet",
        "fingerprint",
        "trace",
        "watch",
        "estimate",
        "cost",
    },
    {"compare"},
    {"asked", "evidence"},
    {"probes"},
    {"sources", "dlm"},
    {"spec", "hub", "base", "yamlpos", "data"},
    {"difference"},
    {"stats", "nulls", "chat"},
    {"measure", "result", "errors", "paths", "output", "progress"},
)
HEAVY = {"torch", "transformers", "peft"}
MAY_IMPORT_TORCH = {"doctor"}  # tells which devices torch sees


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str) -> str:
    """The part of the package that a module belongs to: "sway_gate.probes.leakage" -> "probes"."""
    return module.split(".")[1] if "." in module else ""


def imports(tree: ast.AST, *, at_import: bool = False) -> Iterator[str]:
    """Dotted names that the code imports, but for type checkers alone; `at_import`: not those inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not (at_import and isinstance(node, ast.FunctionDef)):
            yield from imports(node, at_import=at_import)


def imported_by(path: Path, *, at_import: bool = False) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8")), at_import=at_import))


def layer(part: str) -> int:
    return next(depth for depth, parts in enumerate(LAYERS) if part in parts)


def test_every_module_has_a_layer():
    parts = {part_of(name_of(path)) for path in modules()} - {""}
    assert parts <= set().union(*LAYERS)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_down(path):
    own = part_of(name_of(path))
    used = {part_of(name) for name in imported_by(path) if name.startswith("sway_gate.")} - {"__version__", "", own}
    assert not own or {part for part in used if layer(part) < layer(own)} == set()


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_only_backends_import_models(path):
    own = part_of(name_of(path))
    roots = {name.partition(".")[0] for name in imported_by(path)} & HEAVY
    assert own == "backends" or roots <= ({"torch"} if own in MAY_IMPORT_TORCH else set())


def test_no_two_modules_import_each_other():
    names = {name_of(path) for path in modules()}
    graph = {}
    for path in modules():
        used = imported_by(path, at_import=True)
        graph[name_of(path)] = {name if name in names else name.rpartition(".")[0] for name in used} & names
        graph[name_of(path)] -= {"sway_gate", name_of(path)}
    assert set(graphlib.TopologicalSorter(graph).static_order()) >= names - {"sway_gate"}


def loaded(*argv: str, cwd: Path) -> set[str]:
    """Top-level modules that a command has loaded when it ends."""
    code = "import sys; from sway_gate.cli import main; main(sys.argv[1:]); print('\\n', *sys.modules, sep='\\n')"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code, *argv], cwd=cwd, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return {line.partition(".")[0] for line in run.stdout.splitlines()}


CLI = {"numpy", "jinja2", "msgspec", "yaml", "rich", "safetensors", "huggingface_hub"}
LIGHT = {
    "version": (["--version"], CLI),
    "help": (["--help"], CLI),
    "a command's help": (["gate", "--help"], CLI),
    "a spec error": (["gate", "broken.yaml"], {"numpy", "huggingface_hub", "rich"}),
    "a missing spec": (["gate", "none.yaml"], {"numpy", "huggingface_hub", "rich"}),
    "static": (["static", "adapter"], {"huggingface_hub"}),
    "explain": (["explain", "delta_kl"], {"huggingface_hub", "rich"}),
    "cache": (["cache"], {"numpy", "huggingface_hub"}),
}


@pytest.mark.parametrize(("argv", "absent"), LIGHT.values(), ids=LIGHT)
def test_light_commands_load_little(tmp_path, argv, absent):
    (tmp_path / "broken.yaml").write_text("version: 1\nsuite: 3\n", encoding="utf-8")
    (tmp_path / "adapter").mkdir()
    assert loaded(*argv, cwd=tmp_path) & (absent | HEAVY) == set()
