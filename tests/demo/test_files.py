"""The demo's files: small, complete and without machine paths; its specs match its models."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from sway_gate import demo
from sway_gate.spec.load import load_spec
from sway_gate.spec.schema import Pair
from sway_gate.static.check import check_files

ADAPTERS = [demo.HEALTHY, demo.UNTRAINED]
CONFIGS = [
    demo.MODEL / "config.json",
    demo.MODEL / "tokenizer_config.json",
    *(a / "adapter_config.json" for a in ADAPTERS),
]
WEIGHTS = [demo.MODEL / "model.safetensors", *(a / "adapter_model.safetensors" for a in ADAPTERS)]
SPECS = [Path(path) for _, path in demo.specs()]


def test_the_demo_takes_few_megabytes() -> None:
    files = [
        path
        for path in demo.FOLDER.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sum(path.stat().st_size for path in files) <= 5.5e6


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_config_tells_nothing_of_where_it_was_made(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not {"transformers_version", "peft_version"} & set(json.loads(text))
    assert '"/' not in text
    assert ":\\\\" not in text


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.parent.name)
def test_weights_are_half_precision(path: Path) -> None:
    with safe_open(path, "np") as file:
        names = file.keys()
        assert {file.get_slice(name).get_dtype() for name in names} == {"F16"}


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.name)
def test_the_static_check_alone_finds_no_fault(folder: Path) -> None:
    assert check_files(folder).exit_code == 0


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_spec_holds_the_document(path: Path) -> None:
    document = (demo.FOLDER / "document.md").read_text(encoding="utf-8")
    *prose, questions = load_spec(str(path)).sections
    texts = [section.content for section in prose] + [
        pair.gold for pair in questions.pairs if isinstance(pair, Pair)
    ]
    assert len(texts) == 12
    assert [text for text in texts if text not in document] == []


@pytest.mark.parametrize(
    ("path", "adapter"), list(zip(SPECS, ADAPTERS, strict=True)), ids=lambda path: path.stem
)
def test_spec_names_model_and_adapter(path: Path, adapter: Path) -> None:
    models = load_spec(str(path)).models
    assert Path(models.base.base).samefile(demo.MODEL)
    assert Path(models.ft.adapter or "").samefile(adapter)
