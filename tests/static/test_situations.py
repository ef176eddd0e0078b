"""What people give: `sway static` and `sway check` refuse it, or accept it, with the same words."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from sway_gate import cli

pytest.importorskip("torch")

from tests.helpers.models import save_adapter, save_base

Make = Callable[[Path], str | None]
"""Writes the files of a situation into a folder that has `base` and `adapter`.

Returns what to give as adapter, "adapter" by default.
"""
COMMIT, OTHER = "a" * 40, "b" * 40
WEIGHTS = "adapter_model.safetensors"
Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    save_base(folder / "base", "llama")
    save_adapter(folder / "adapter", folder / "base", target_modules=["q_proj", "v_proj"])
    edit(folder, base_model_name_or_path="org/base")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("base", "adapter"):
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def edit(folder: Path, file: str = "adapter/adapter_config.json", **fields: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")


def rename(folder: Path, old: str, new: str) -> None:
    tensors = load_file(folder / "adapter" / WEIGHTS)
    save_file({k.replace(old, new): v for k, v in tensors.items()}, folder / "adapter" / WEIGHTS)


def write(folder: Path, *names: str, data: bytes = b"{}") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def cached(folder: Path, ref: str, commit: str = COMMIT, branch: str = "main") -> None:
    """Put the base into the hub cache."""
    repo = folder / "hub" / f"models--{ref.replace('/', '--')}"
    shutil.copytree(folder / "base", repo / "snapshots" / commit)
    write(repo, f"refs/{branch}", data=commit.encode())


# ------------------------------------------------------------------------- what is not an adapter


def checkpoints(folder: Path) -> str:
    for step in (900, 1000, 80):
        shutil.copytree(folder / "adapter", folder / f"out/checkpoint-{step}")
    write(folder, "out/runs/events", "out/config.json", "out/model.safetensors")
    return "out"


def model_checkpoints(folder: Path) -> str:
    for step in (100, 200):
        shutil.copytree(folder / "base", folder / f"out/checkpoint-{step}")
    write(folder, "out/runs/events", "out/training_args.bin")
    return "out"


def several(folder: Path) -> str:
    for name in ("default", "reward"):
        shutil.copytree(folder / "adapter", folder / "out" / name)
    return "out"


def other_mlx(folder: Path) -> str:
    write(folder, "out/adapters.npz", "out/0000100_adapters.npz")
    write(folder, "out/adapter_config.json", data=b'{"lora_layers": 4}')
    return "out"


def gguf(kind: str) -> Make:
    def make(folder: Path) -> str:
        from gguf import GGUFWriter

        (folder / "out").mkdir()
        writer = GGUFWriter(folder / "out/a.gguf", "llama")
        writer.add_type(kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return "out"

    return make


def files(*names: str, given: str = "out") -> Make:
    def make(folder: Path) -> str:
        write(folder, *names)
        return given

    return make


FOLDER = "give the folder that contains adapter_config.json and adapter_model.safetensors"
NOT_AN_ADAPTER: dict[str, tuple[Make, str, str]] = {
    "checkpoints": (
        checkpoints,
        "folder with 3 checkpoints (checkpoint-1000, checkpoint-900, checkpoint-80)",
        "the newest is {out}/checkpoint-1000",
    ),
    "checkpoints of a full model": (
        model_checkpoints,
        "folder with 2 checkpoints (checkpoint-200, checkpoint-100), not an adapter",
        "judge one of them with sway check --model, the newest is {out}/checkpoint-200",
    ),
    "several adapters": (
        several,
        "folder with 2 adapters (default, reward)",
        "for example {out}/default",
    ),
    "MLX": (other_mlx, "an MLX adapter under another name (adapters.npz)", "next to its adapter"),
    "GGUF adapter": (gguf("adapter"), "a GGUF adapter (a.gguf)", "from which it was converted"),
    "GGUF model": (gguf("model"), "a GGUF file (a.gguf)", FOLDER),
    "merged model": (lambda _: "base", "a full model (model.safetensors), not", FOLDER),
    "merged model in a pickle": (
        files("out/config.json", "out/pytorch_model.bin"),
        "a full model (pytorch_model.bin), not",
        FOLDER,
    ),
    "optimizer": (
        files("out/optimizer.pt", "out/trainer_state.json"),
        "a training without an adapter (optimizer.pt, trainer_state.json)",
        "save_pretrained()",
    ),
    "DeepSpeed": (
        files("out/global_step20/mp_rank_00_model_states.pt", "out/zero_to_fp32.py"),
        "a training without an adapter (global_step20, zero_to_fp32.py)",
        "gather the weights",
    ),
    "data folder": (files("out/train.jsonl"), "a folder with data (train.jsonl)", FOLDER),
    "data file": (files("train.jsonl", given="train.jsonl"), "a data file", "with --data"),
    "data file next to an adapter": (
        files("adapter/train.csv", given="adapter/train.csv"),
        "a data file",
        "with --data",
    ),
    "archive": (files("a.zip", given="a.zip"), "an archive", "unpack it"),
    "pickle": (files("a.pt", given="a.pt"), "a pickle file", FOLDER),
    "other file": (files("a.png", given="a.png"), "a file, not the folder", FOLDER),
}


@pytest.mark.parametrize(("make", "says", "remedy"), NOT_AN_ADAPTER.values(), ids=NOT_AN_ADAPTER)
def test_what_is_not_an_adapter_is_named(
    here: Path, make: Make, says: str, remedy: str, capsys: Any
) -> None:
    given = str(make(here))
    assert cli.main(["static", given]) == 2
    static = capsys.readouterr().out
    assert [line.startswith("ERROR") for line in static.splitlines()] == [False, True, False]
    assert says in static
    assert remedy.format(out="out") in static
    for base in ([], ["--base", "base"]):
        assert cli.main(["check", given, *base]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
        assert remedy.format(out=here / "out") in line


def test_a_file_of_the_adapter_stands_for_its_folder(here: Path, capsys: Any) -> None:
    write(here, "adapter/README.md")
    for name in ("adapter_config.json", WEIGHTS, "README.md"):
        assert cli.main(["static", f"adapter/{name}"]) == 0


# ------------------------------------------------------------------------------ refused adapters


def config(**fields: Any) -> Make:
    return lambda folder: edit(folder, **fields)


def renamed(old: str, new: str) -> Make:
    return lambda folder: rename(folder, old, new)


def head(folder: Path) -> None:
    tensors = load_file(folder / "adapter" / WEIGHTS)
    tensors["base_model.model.score.weight"] = next(iter(tensors.values()))
    save_file(tensors, folder / "adapter" / WEIGHTS)


def emptied(folder: Path, name: str) -> None:
    tensors = load_file(folder / "adapter" / WEIGHTS)
    save_file(tensors | {name: tensors[Q][:0]}, folder / "adapter" / WEIGHTS)


def empty_head(folder: Path) -> None:
    edit(folder, modules_to_save=["lm_head"])
    emptied(folder, "base_model.model.lm_head.weight")


def wider(folder: Path) -> None:
    """A base of another width."""
    base = load_file(folder / "base/model.safetensors")
    q = "model.layers.0.self_attn.q_proj.weight"
    save_file(base | {q: base[q][:, :16].copy()}, folder / "base/model.safetensors")


def shallower(folder: Path) -> None:
    base = load_file(folder / "base/model.safetensors")
    kept = {k: v for k, v in base.items() if ".layers.1." not in k}
    save_file(kept, folder / "base/model.safetensors")


def added_tokens(folder: Path) -> None:
    edit(folder, modules_to_save=["embed_tokens"])
    embed = load_file(folder / "base/model.safetensors")["model.embed_tokens.weight"]
    tensors = load_file(folder / "adapter" / WEIGHTS)
    tensors["base_model.model.model.embed_tokens.weight"] = embed.repeat(2, axis=0)
    save_file(tensors, folder / "adapter" / WEIGHTS)


def nested(folder: Path) -> None:
    edit(folder, "base/config.json", model_type="gemma3")


PREFIX, LAYERS = "base_model.model.", "base_model.model.model.layers"
REFUSED: dict[str, tuple[Make, str]] = {
    "torch.compile": (renamed(PREFIX, f"{PREFIX}_orig_mod."), "'_orig_mod.' of torch.compile"),
    "FSDP": (renamed(".0.", ".0._fsdp_wrapped_module."), "'_fsdp_wrapped_module.' of FSDP"),
    "checkpointing": (
        renamed(".0.", ".0._checkpoint_wrapped_module."),
        "'_checkpoint_wrapped_module.' of activation checkpointing",
    ),
    "DDP": (renamed(PREFIX, f"module.{PREFIX}"), "'module.' of a parallel wrapper"),
    "DDP inside": (renamed(PREFIX, f"{PREFIX}module."), "'module.' of a parallel wrapper"),
    "no prefix": (renamed(PREFIX, ""), "'base_model.model.' is missing"),
    "prefix twice": (renamed(PREFIX, PREFIX * 2), "'base_model.model.' twice"),
    "adapter's name": (renamed(".weight", ".reward.weight"), "the adapter's name 'reward'"),
    "text on multimodal": (nested, "the multimodal base has the layers under"),
    "multimodal on text": (
        renamed(LAYERS, f"{PREFIX}model.language_model.layers"),
        "the text-only base has the layers under 'model.layers.'",
    ),
    "images only": (
        renamed(LAYERS, f"{PREFIX}model.vision_tower.layers"),
        "only modules for images or sound are adapted: 'model.vision_tower.layers.{0-1}",
    ),
    "ZeRO-3": (lambda folder: emptied(folder, Q), "A or B is empty or not a matrix for"),
    "ZeRO-3, saved module": (empty_head, "1 tensors contain no values"),
    "prompt tuning": (config(peft_type="PROMPT_TUNING"), "'PROMPT_TUNING' is not supported"),
    "prefix tuning": (config(peft_type="PREFIX_TUNING"), "it adds prompts, not weights"),
    "X-LoRA": (config(peft_type="XLORA"), "depends on the input"),
    "newer method": (config(peft_type="QUASAR"), "upgrade sway-gate and peft"),
    "newer option": (config(use_quasar=True), "option 'use_quasar' is on, but not supported"),
    "aLoRA": (config(alora_invocation_tokens=[1]), "option 'alora_invocation_tokens' is on"),
    "layer replication": (config(layer_replication=[[0, 1]]), "it changes the base's layers"),
    "classifier": (config(task_type="SEQ_CLS"), "task_type is SEQ_CLS: classification of texts"),
    "embeddings": (config(task_type="FEATURE_EXTRACTION"), "embeddings, not a causal language"),
    "reward head": (head, "the head of another task"),
    "other shapes": (wider, "q_proj' is 32 x 32, in the base 32 x 16"),
    "fewer layers": (shallower, "modules that the base does not have: 'model.layers.{1}."),
    "added tokens": (added_tokens, "'model.embed_tokens' has 640 rows, the base 320"),
}


@pytest.mark.parametrize(("make", "says"), REFUSED.values(), ids=REFUSED)
def test_what_peft_cannot_load_is_refused(here: Path, make: Make, says: str, capsys: Any) -> None:
    make(here)
    assert cli.main(["static", "adapter", "--base", "base"]) == 2
    static = capsys.readouterr().out
    assert static.startswith("broken")
    assert says in static
    assert sum(line.startswith("ERROR") for line in static.splitlines()) == 1
    assert cli.main(["check", "adapter", "--base", "base"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def not_a_base(make: Callable[[Path], object]) -> Make:
    def made(folder: Path) -> None:
        shutil.rmtree(folder / "base")
        (folder / "base").mkdir()
        make(folder)

    return made


BASES: dict[str, tuple[Make, str]] = {
    "adapter": (
        not_a_base(lambda folder: write(folder, "base/adapter_config.json")),
        "this is the folder of an adapter, not of a base model; give the model that it changes",
    ),
    "model with an adapter": (
        lambda folder: write(folder, "base/adapter_config.json"),
        "this is the folder of an adapter",
    ),
    "no config": (
        lambda folder: os.remove(folder / "base/config.json"),
        "this is not a model: config.json is missing",
    ),
    "GGUF": (
        not_a_base(lambda folder: write(folder, "base/m.gguf")),
        "this is a GGUF model (m.gguf); give the same model as safetensors",
    ),
    "pickle": (
        not_a_base(lambda folder: write(folder, "base/config.json", "base/pytorch_model.bin")),
        "this is a model in pickle files (pytorch_model.bin), which are never loaded",
    ),
    "MLX": (
        lambda folder: edit(folder, "base/config.json", quantization={"bits": 4}),
        "this is a model quantized by MLX; give the model from which it was converted",
    ),
}


@pytest.mark.parametrize(("make", "says"), BASES.values(), ids=BASES)
def test_what_is_not_a_base_is_named(here: Path, make: Make, says: str, capsys: Any) -> None:
    make(here)
    assert cli.main(["static", "adapter", "--base", "base"]) == 2
    assert says.split("; ")[0] in capsys.readouterr().out
    assert cli.main(["check", "adapter", "--base", "base"]) == 2
    assert says in capsys.readouterr().err


# ------------------------------------------------------------------------------------ which base?


def refused_base(folder: Path) -> None:
    wider(folder)
    cached(folder, "org/other")


def pinned(revision: str, *branches: tuple[str, str]) -> Make:
    def make(folder: Path) -> None:
        edit(folder, revision=revision)
        for commit, branch in branches:
            cached(folder, "org/base", commit, branch)

    return make


def repackaged(named: str, base: str) -> Make:
    def make(folder: Path) -> None:
        edit(folder, base_model_name_or_path=named, revision="unsloth")
        cached(folder, base)

    return make


TRAINED = "the adapter was trained on "
ANY = "cannot verify that they are the same model"
# Files, the base that is given, exit codes of static and of the gate (0: judged), a note or a line.
WHICH: dict[str, tuple[Make, str, int, int, str]] = {
    "same id": (lambda f: cached(f, "org/base"), "org/base", 0, 0, ""),
    "same id in other case": (lambda f: cached(f, "Org/Base"), "Org/Base", 0, 0, ""),
    "folder": (lambda f: None, "base", 0, 0, ANY),
    "relative folder": (
        config(base_model_name_or_path="../base"),
        "{here}/base",
        0,
        0,
        "",
    ),
    "other id, shapes fit": (
        lambda f: cached(f, "org/other"),
        "org/other",
        0,
        0,
        f"{TRAINED}'org/base', this base is 'org/other'",
    ),
    "other id, other shapes": (refused_base, "org/other", 2, 2, "'org/other'; use the base model"),
    "other id, not here": (lambda f: None, "org/other", 2, 3, "org/other"),
    "4-bit name": (
        repackaged("unsloth/tiny-unsloth-bnb-4bit", "org/tiny"),
        "org/tiny",
        0,
        0,
        "by their names the same model, in another format or copy",
    ),
    "pinned revision": (pinned("v1", (COMMIT, "main"), (OTHER, "v1")), "org/base", 0, 0, ""),
    "pinned commit": (pinned(OTHER, (COMMIT, "main"), (OTHER, "x")), "org/base", 0, 0, ""),
    "pinned revision is main": (pinned("main", (COMMIT, "main")), "org/base", 0, 0, ""),
    "pinned revision not here": (
        pinned("v1", (COMMIT, "main")),
        "org/base",
        0,
        0,
        f"{TRAINED}revision 'v1' of 'org/base', this base is revision {COMMIT}",
    ),
}


@pytest.mark.parametrize(("make", "base", "static", "gate", "says"), WHICH.values(), ids=WHICH)
def test_static_and_gate_agree_on_the_base(
    here: Path, make: Make, base: str, static: int, gate: int, says: str, capsys: Any
) -> None:
    make(here)
    base = base.format(here=here)
    assert cli.main(["static", "adapter", "--base", base, "--json"]) == static
    (report,) = json.loads(capsys.readouterr().out)
    found = [f"{f['message']}; {f['remedy']}" for f in report["findings"]]
    assert says in "".join(found)
    assert says or not found
    spec = {
        "version": 1,
        "models": {"base": {"base": base}, "ft": {"base": base, "adapter": "adapter"}},
        "suite": [{"name": "moved", "kind": "delta_kl", "prompts": ["a"]}],
    }
    (here / "sway.yaml").write_text(json.dumps(spec), "utf-8")
    code = cli.main(["gate", "--json", "r.json"])
    if gate:
        assert code == gate
        assert says in capsys.readouterr().err
    else:
        result = json.loads((here / "r.json").read_text("utf-8"))
        stated = [*result["notes"], *(f["message"] for f in result["findings"])]
        assert code in (0, 1)
        assert says in "".join(stated)
        assert says or not any(TRAINED in note for note in stated)


def test_checkpoints_are_not_a_model(here: Path, capsys: Any) -> None:
    model_checkpoints(here)
    newest = f"not a model; give one of them, the newest is {here}/out/checkpoint-200"
    assert cli.main(["check", "--model", f"{here}/out", "--base", "base"]) == 2
    assert newest in capsys.readouterr().err
    assert cli.main(["check", "adapter", "--base", f"{here}/out"]) == 2
    assert newest in capsys.readouterr().err


def test_a_base_that_only_the_adapter_names_can_be_given(here: Path, capsys: Any) -> None:
    edit(here, base_model_name_or_path="unsloth/tiny-bnb-4bit", revision="unsloth")
    assert cli.main(["check", "adapter"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "run `hf download unsloth/tiny-bnb-4bit`, or pass --online" in line
    assert line.endswith("or give another copy of it with --base")


NAMED = {
    "in the current folder": ("base", "base"),
    "next to the adapter": ("./base", "base"),
    "from the adapter": ("../base", "base"),
    "in the adapter": ("./inner", "adapter/inner"),
}


@pytest.mark.parametrize(("named", "found"), NAMED.values(), ids=NAMED)
def test_a_relative_base_is_found(
    here: Path, monkeypatch: pytest.MonkeyPatch, named: str, found: str
) -> None:
    from sway_gate.suites.check import named_models

    (here / "adapter/inner").mkdir()
    edit(here, base_model_name_or_path=named)
    if named.startswith("."):
        monkeypatch.chdir("/")
    models = named_models(str(here / "adapter"), None)
    assert models.base.base == os.path.join(here, found)


def test_a_network_path_is_not_opened(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sway_gate.model_files import find

    monkeypatch.setattr(os.path, "isdir", lambda path: pytest.fail(f"opened {path}"))
    assert find.named_folder("\\\\server\\base", here) is None


def test_a_base_that_does_not_exist_is_an_error(here: Path, capsys: Any) -> None:
    assert cli.main(["static", "adapter", "--base", "./bas"]) == 2
    assert "--base ./bas: no such folder, and not a hub id" in capsys.readouterr().err
