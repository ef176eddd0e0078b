"""`sway diff`: judges each adapter as a separate run does, loads the base once, and compares."""

import json
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import yaml

from sway_gate import cli
from sway_gate.backends import hf, loading
from sway_gate.gate.diff import diff_adapters, with_adapter
from sway_gate.gate.open import OpenBase
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.spec.load import load_spec
from tests.compare.test_results import LEARNED, LITTLE, write_spec
from tests.helpers.models import save_adapter, save_base
from tests.helpers.simulation import one_fast

SUITE: list[dict[str, Any]] = [
    {"name": "nulls", "kind": "null_adapter", "runs": 3},
    {
        "name": "moved",
        "kind": "delta_kl",
        "prompts": ["one", "two words", "and three words"],
        "assert_mean_gte": 0.0,
    },
    {"name": "learned", "kind": "section_internalization", "max_prose_chars": 60},
]
SECTIONS = [
    {"kind": "prose", "content": "the old mill by the river"},
    {"kind": "prose", "content": "x y z"},
]
SORTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "small lora": {"size": 0.02, "seed": 2},
    "dora": {"use_dora": True},
    "saved head": {"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]},
    "saved embeddings": {
        "modules_to_save": ["embed_tokens"],
        "target_modules": ["q_proj"],
        "seed": 3,
    },
}


@pytest.fixture(scope="module", params=one_fast("qwen2-gqa-tied", "llama"))
def folder(request: Any, tmp_path_factory: Any) -> Path:
    """A base, an adapter of each kind, and a spec with one of them."""
    made = Path(tmp_path_factory.mktemp("models"))
    base = save_base(made / "base", request.param)
    for sort, fields in SORTS.items():
        save_adapter(made / sort, base, **fields)
    document = {
        "version": 1,
        "models": {
            "base": {"base": str(base)},
            "ft": {"base": str(base), "adapter": str(made / "lora")},
        },
        "suite": SUITE,
        "sections": SECTIONS,
        "control": "plain words about nothing",
    }
    (made / "sway.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return made


PAIRS = [
    ("lora", "small lora", 1),
    ("dora", "lora", 1),
    ("lora", "dora", 1),
    ("saved head", "saved embeddings", 2),  # peft merged the first one into the base
    ("lora", "saved head", 1),
    ("dora", "dora", 1),
]


@pytest.mark.parametrize(("a", "b", "times"), PAIRS)
def test_a_shared_base_gives_the_results_of_separate_runs(
    folder: Path, monkeypatch: Any, a: str, b: str, times: int
) -> None:
    loads = []
    open_base = loading.open_base
    monkeypatch.setattr(
        loading, "open_base", lambda source: loads.append(source.base) or open_base(source)
    )
    loaded, options = load_spec(str(folder / "sway.yaml")), Options(cache=False)
    both = diff_adapters(loaded, str(folder / a), str(folder / b), options)
    assert len(loads) == times
    alone = [run_gate(with_adapter(loaded, str(folder / name)), options) for name in (a, b)]
    assert [result.probes for result in both] == [result.probes for result in alone]
    assert [result.adapter.digest for result in both] == [result.adapter.digest for result in alone]


def test_another_base_is_loaded(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    other = save_base(tmp_path / "other", "gpt2")
    (tmp_path / "other.yaml").write_text(
        (folder / "sway.yaml").read_text("utf-8").replace(str(folder / "base"), str(other)), "utf-8"
    )
    adapter = save_adapter(
        tmp_path / "adapter", other, target_modules=["c_attn"], fan_in_fan_out=True
    )
    options = Options(cache=False)
    second = with_adapter(load_spec(str(tmp_path / "other.yaml")), str(adapter))
    base = OpenBase()
    run_gate(load_spec(str(folder / "sway.yaml")), options, base=base)
    found = run_gate(second, options, base=base)
    assert found.probes == run_gate(second, options).probes


def test_the_next_adapter_replaces_the_one_before_in_memory(folder: Path, monkeypatch: Any) -> None:
    loaded, load = list[Any](), hf.load

    def recorded(*args: Any) -> hf.HfBackend:
        backend = load(*args)
        loaded.append(ref(backend))
        return backend

    monkeypatch.setattr(hf, "load", recorded)
    spec, base = load_spec(str(folder / "sway.yaml")), OpenBase()
    for name in ("lora", "saved head", "saved embeddings", "lora"):
        run_gate(with_adapter(spec, str(folder / name)), Options(cache=False), base=base)
        assert sum(one() is not None for one in loaded) == 1


def test_cached_results_are_not_measured_again(folder: Path, monkeypatch: Any) -> None:
    line = [
        "diff",
        str(folder / "sway.yaml"),
        "--a",
        str(folder / "lora"),
        "--b",
        str(folder / "small lora"),
    ]
    assert cli.main(line) == 0
    monkeypatch.setattr("sway_gate.gate.open._load", lambda *_: pytest.fail("the model was loaded"))
    assert cli.main(line) == 0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: Any) -> Path:
    """A current folder with a spec that needs no files."""
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path / "sway.yaml")
    return tmp_path


def test_diff_compares_items(place: Path, capsys: Any) -> None:
    assert (
        cli.main(["diff", "--a", LITTLE, "--b", LEARNED, "--json", "d.json", "--markdown", "d.md"])
        == 0
    )
    assert "B is better in learned" in capsys.readouterr().out
    [found] = json.loads((place / "d.json").read_bytes())["comparisons"]
    assert [c["method"] for c in found["changes"]] == ["items", "items"]
    assert (found["old"]["adapter"]["path"], found["new"]["adapter"]["path"]) == (LITTLE, LEARNED)
    assert "a | b" in (place / "d.md").read_text("utf-8").replace("&#124;", "|")


def test_an_adapter_is_as_good_as_itself(place: Path, capsys: Any) -> None:
    assert cli.main(["diff", "--a", LEARNED, "--b", LEARNED]) == 0
    assert capsys.readouterr().out.startswith("no significant difference")


WRONG = {
    "one adapter": ("diff sway.yaml --a x", 2),
    "no spec": ("diff none.yaml --a x --b y", 2),
    "report over the spec": ("diff spec.json --a x --b y --json spec.json", 2),
}


@pytest.mark.parametrize(("line", "code"), WRONG.values(), ids=WRONG)
def test_wrong_usage(place: Path, capsys: Any, line: str, code: int) -> None:
    (place / "spec.json").write_text((place / "sway.yaml").read_text("utf-8"), "utf-8")
    assert cli.main(line.split()) == code
    assert "error: " in capsys.readouterr().err


def test_an_undecided_diff_is_3(place: Path, capsys: Any) -> None:
    text = (place / "sway.yaml").read_text("utf-8").split("  - {name: moved")[0]
    (place / "sway.yaml").write_text(text + "  - {name: moved, kind: delta_kl}\n", "utf-8")
    assert cli.main(["diff", "--a", LITTLE, "--b", LEARNED]) == 3


ADAPTERS = {"folder": ("here", True), "hub id": ("org/name", False)}


@pytest.mark.parametrize(("named", "is_folder"), ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_is_a_local_folder_or_a_hub_id(place: Path, named: str, is_folder: bool) -> None:
    (place / "here").mkdir()
    loaded = with_adapter(load_spec("sway.yaml"), named)
    assert loaded.models.ft.adapter == (str(place / named) if is_folder else named)
