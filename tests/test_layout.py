"""The package's layout: imports go strictly down, without circles; light commands stay light."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from sway_gate import demo
from sway_gate.probes import TABLE
from sway_gate.spec.probes import KINDS
from tests.helpers import ROOT
from tests.helpers.processes import modules_after

# From the top down. A module imports from its own folder and from lower layers only.
LAYERS = (
    {"__main__"},
    {"cli", "supervisor"},
    {"commands", "pytest_plugin", "integrations"},
    {"fleet"},
    {"reports", "suites"},
    {"serving"},
    {"gate"},
    {"engine", "compare"},
    {"judge", "backends"},
    {"probes"},
    {"training_data"},
    {"spec"},
    {"static", "demo"},
    {"model_files"},
    {"cache", "output", "watch"},
    {"results"},
    {"measurements", "details"},
    {"conversation", "project", "stats", "text"},
    {"errors", "files", "glossary", "installed", "version"},
)
PUBLIC = "sway_gate"  # imports what it offers when it is called
FUNCTIONS = (ast.FunctionDef, ast.ClassDef)
HEAVY = {"torch", "transformers", "peft"}
MAY_IMPORT_TORCH = {
    "sway_gate.commands.doctor": "lists the devices that torch sees",
    "sway_gate.integrations.trainer": "a callback of transformers",
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TREES = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "sway_gate").rglob("*.py"))
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, also inside functions and only for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in TREES else str(node.module)


IMPORTED = {name: set(imports(tree)) for name, tree in TREES.items()}
EDGES = [
    (name, other)
    for name, imported in IMPORTED.items()
    for other in imported & TREES.keys() - {name}
    if name != PUBLIC
]
"""(importing module, imported module) inside the package; the public interface is left out."""


def layer(name: str) -> int:
    """The depth of a module's layer. Raises StopIteration if it is in none."""
    return next(i for i, parts in enumerate(LAYERS) if name.split(".")[1] in parts)


def folder(name: str) -> str:
    return name.split(".")[1]


def test_imports_go_strictly_down():
    across = [(a, b) for a, b in EDGES if folder(a) != folder(b)]
    assert [f"{a} imports {b}" for a, b in across if layer(a) >= layer(b)] == []


def test_no_modules_import_each_other():
    graph = {name: {b for a, b in EDGES if a == name} for name in TREES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


BY_NAME = {
    "sway_gate.probes": "the registry of probes: a kind's module is imported when a suite uses it",
    "sway_gate.commands": "the table of commands: a start imports only the command that runs",
    "sway_gate.backends.custom": "the user's factory",
}


def test_modules_are_imported_by_name_only_where_listed():
    by_name = {name for name, tree in TREES.items() if "import_module" in ast.unparse(tree)}
    assert by_name == BY_NAME.keys()


def test_no_module_is_named_in_a_string():
    named = [
        f"{name}:{node.lineno}: {node.value!r}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("sway_gate.")
        and name not in BY_NAME
    ]
    assert named == []


def kinds_elsewhere() -> Iterator[str]:
    """Lines outside a kind's own files that name it by its string or its struct."""
    structs = {cls.__name__: kind for kind, cls in KINDS.items()}
    for name, tree in TREES.items():
        if name == "sway_gate.spec.probes" or folder(f"{name}.") == "suites":
            continue
        for node in ast.walk(tree):
            found = None
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = node.value if node.value in KINDS else None
            elif isinstance(node, ast.Name):
                found = structs.get(node.id)
            elif isinstance(node, ast.Attribute):
                found = structs.get(node.attr)
            if found and name != f"sway_gate.probes.{found}":
                yield f"{name}:{node.lineno} names {found}"


def test_no_other_module_names_a_kind():
    assert list(kinds_elsewhere()) == []


def test_each_kind_has_its_struct_module_test_and_page():
    structs = {cls(name="any").kind for cls in KINDS.values()}
    modules = {path.stem for path in (ROOT / "sway_gate" / "probes").glob("[a-z]*.py")}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/probes").glob("test_*.py")}
    pages = {path.stem for path in (ROOT / "docs" / "probes").glob("*.md")}
    helpers = modules - KINDS.keys()
    assert TABLE.keys() == KINDS.keys() == structs == modules & KINDS.keys()
    assert KINDS.keys() == tests - helpers == pages


def test_only_backends_import_models():
    offenders = [
        f"{name} imports {root}"
        for name in TREES
        for root in {other.partition(".")[0] for other in IMPORTED[name]} & HEAVY
        if not name.startswith("sway_gate.backends") and name not in MAY_IMPORT_TORCH
    ]
    assert offenders == []


def imported_at_once(name: str) -> set[str]:
    """The modules that are loaded when `name` is imported: without imports inside functions."""
    at_once = ast.Module([n for n in TREES[name].body if not isinstance(n, FUNCTIONS)], [])
    return set(imports(at_once))


def test_peft_is_imported_on_demand():
    """Its import takes a second; a gate of a plain LoRA has no use for it."""
    reached, new = set(), {"sway_gate.backends.hf"}
    while new:
        reached |= new
        new = {m for name in new & TREES.keys() for m in imported_at_once(name)} - reached
    assert "sway_gate.backends.adapters" in reached
    assert {name for name in reached if name.startswith("peft")} == set()


def loaded(*argv: str, cwd: Path) -> set[str]:
    """Top-level modules that a command has loaded when it ends."""
    code = "import sys; from sway_gate.cli import main; main(sys.argv[1:])"
    return {name.partition(".")[0] for name in modules_after(code, *argv, cwd=cwd)}


CLI = {"numpy", "jinja2", "msgspec", "yaml", "rich", "safetensors", "huggingface_hub"}
LIGHT = {
    "version": (["--version"], CLI),
    "help": (["--help"], CLI),
    "a command's help": (["gate", "--help"], CLI),
    "a spec error": (["gate", "broken.yaml"], {"numpy", "huggingface_hub", "rich", "email"}),
    "a missing spec": (["gate", "none.yaml"], {"numpy", "huggingface_hub", "rich", "email"}),
    "static": (["static", "adapter"], {"huggingface_hub", "yaml"}),
    "explain": (["explain", "delta_kl"], {"huggingface_hub", "rich"}),
    "cache": (["cache"], {"numpy", "huggingface_hub"}),
}


@pytest.mark.parametrize(("argv", "absent"), LIGHT.values(), ids=LIGHT)
def test_light_commands_load_little(tmp_path, argv, absent):
    (tmp_path / "broken.yaml").write_text("version: 1\nsuite: 3\n", encoding="utf-8")
    (tmp_path / "adapter").mkdir()
    assert loaded(*argv, cwd=tmp_path) & (absent | HEAVY) == set()


NOT_OF_THE_MODEL = {
    *("peft", "bitsandbytes", "datasets", "pandas", "sklearn", "sentence_transformers"),
    *("torchvision", "torchaudio", "librosa", "soundfile", "cv2", "matplotlib", "tensorboard"),
}
"""Vision, audio, training and analysis: a check of a plain LoRA needs none of them."""


@pytest.mark.slow
def test_a_check_of_a_plain_lora_loads_only_what_its_model_needs(tmp_path):
    argv = ["check", str(demo.HEALTHY), "--base", str(demo.MODEL), "--no-cache"]
    assert loaded(*argv, cwd=tmp_path) & {"torch", *NOT_OF_THE_MODEL} == {"torch"}
