"""Artefacts of an adapter with known truth: merges, quantized models, GGUF files, and faults."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from benchmarks.real.paths import ADAPTERS, BASE
from benchmarks.to_gguf import convert, quantize

ANOTHER_BASE = ADAPTERS / "prose-linear-r16"
SAME, NOT_COMPARED = "same", "not compared"


class Subject(NamedTuple):
    """An adapter, another one that was trained on the same data, and the name of this data."""

    adapter: Path
    other: Path
    data: str


SUBJECTS = (
    Subject(ADAPTERS / "facts-middle-r16", ADAPTERS / "facts-strong-r16", "facts"),
    Subject(ADAPTERS / "style-slow-r32", ADAPTERS / "style-linear-r16", "style"),
)


class Artefact(NamedTuple):
    """`truth`: the verdict that is right; `make` writes the artefact to a path.

    `same` also stands for `same within quantization`.
    """

    name: str
    truth: str
    make: Callable[[Path], Any]


def merged(
    out: Path,
    adapter: Path,
    dtype: torch.dtype = torch.bfloat16,
    *,
    base: Path = BASE,
    scale: float = 1.0,
    modules: str = "",
    quantization: str = "",
) -> Path:
    """Merge `scale` times the adapter in the modules whose name contains `modules`."""
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if quantization:
        loaded = loaded_as(base, quantization)
        model.load_state_dict(loaded.dequantize().state_dict(), strict=False)
    model = PeftModel.from_pretrained(model, str(adapter))
    for name, module in model.named_modules():
        if isinstance(getattr(module, "scaling", None), dict):
            factor = scale if modules in name else 0.0
            module.scaling = {key: value * factor for key, value in module.scaling.items()}
    model.merge_and_unload().to(dtype).save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    return out


def loaded_as(folder: Path, quantization: str) -> Any:
    """The model, quantized by bitsandbytes."""
    make: Any = BitsAndBytesConfig
    options = {
        "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "int8": {"load_in_8bit": True},
    }
    return AutoModelForCausalLM.from_pretrained(
        folder,
        quantization_config=make(**options[quantization]),
        device_map="cpu",
        dtype=torch.float32,
    )


def requantized(out: Path, source: Path, quantization: str) -> None:
    loaded_as(source, quantization).save_pretrained(out)
    AutoTokenizer.from_pretrained(source).save_pretrained(out)


def copied(source: Path, out: Path, change: Callable[[Path], None]) -> None:
    """A copy of a folder with a change."""
    shutil.copytree(source, out)
    change(out)


def with_fields(folder: Path, **fields: Any) -> None:
    path = folder / "tokenizer_config.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(known | fields), encoding="utf-8")


def with_template(folder: Path) -> None:
    """The template without its default system turn."""
    path = folder / "chat_template.jinja"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("{% if loop.first")] + text[text.index("{{'<|im_start|>'") :])


def without_layer(folder: Path, fill: float) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.12.mlp.down_proj.weight"
    tensors[name] = torch.full_like(tensors[name], fill)
    save_file(tensors, path, {"format": "pt"})


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def artefacts(folder: Path, base_gguf: Path, subject: Subject) -> list[Artefact]:
    """All artefacts, in the order in which they are made: later ones use earlier ones."""
    fp32, bf16, f16 = (folder / f"merged, {kind}" for kind in ("fp32", "bf16", "F16.gguf"))
    half, other = folder / "half the strength, F16.gguf", folder / "another adapter, F16.gguf"
    adapter = subject.adapter

    def own(out: Path, **options: Any) -> Path:
        return merged(out, adapter, **options)

    strength, another = "adapter at another strength", "another base or adapter"
    not_applied, template = "adapter not applied", "template differs"
    return [
        Artefact(fp32.name, SAME, lambda out: own(out, dtype=torch.float32)),
        Artefact(bf16.name, SAME, own),
        Artefact("merged, fp16", SAME, lambda out: own(out, dtype=torch.float16)),
        Artefact("merged, then nf4", SAME, lambda out: requantized(out, fp32, "nf4")),
        Artefact("merged, then int8", SAME, lambda out: requantized(out, fp32, "int8")),
        Artefact(f16.name, SAME, lambda out: convert(fp32, out, "F16")),
        Artefact("merged, BF16.gguf", SAME, lambda out: convert(fp32, out, "BF16")),
        *(
            Artefact(f"merged, {kind}.gguf", SAME, lambda out, kind=kind: quantize(f16, out, kind))
            for kind in ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q4_1")
        ),
        Artefact("the base", not_applied, lambda out: shutil.copytree(BASE, out)),
        Artefact("the base, Q4_1.gguf", not_applied, lambda out: shutil.copy(base_gguf, out)),
        Artefact("the base, then nf4", not_applied, lambda out: requantized(out, BASE, "nf4")),
        Artefact("half the strength", strength, lambda out: own(out, scale=0.5)),
        Artefact("twice the strength", strength, lambda out: own(out, scale=2.0)),
        Artefact("merged as if use_rslora", strength, lambda out: own(out, scale=4.0)),
        Artefact(half.name, strength, lambda out: gguf_of(out, adapter, scale=0.5)),
        Artefact("half the strength, Q4_0.gguf", strength, lambda out: quantize(half, out, "Q4_0")),
        Artefact("another adapter", another, lambda out: merged(out, subject.other)),
        Artefact(other.name, another, lambda out: gguf_of(out, subject.other)),
        Artefact("another adapter, Q4_0.gguf", another, lambda out: quantize(other, out, "Q4_0")),
        Artefact("merged onto another base", another, lambda out: onto_another_base(out, adapter)),
        Artefact(
            "merged onto the base in nf4",
            "merged onto a quantized base",
            lambda out: own(out, quantization="nf4"),
        ),
        Artefact(
            "merged in the attention only", another, lambda out: own(out, modules="self_attn")
        ),
        Artefact(
            "q and k not permuted, F16.gguf",
            another,
            lambda out: convert(fp32, out, "F16", permuted=False),
        ),
        Artefact(
            "a layer of zeros",
            another,
            lambda out: copied(bf16, out, lambda f: without_layer(f, 0)),
        ),
        Artefact(
            "a layer of NaN",
            "broken",
            lambda out: copied(bf16, out, lambda f: without_layer(f, float("nan"))),
        ),
        Artefact("weights cut off", NOT_COMPARED, lambda out: copied(bf16, out, truncated)),
        Artefact("another chat template", template, lambda out: copied(bf16, out, with_template)),
        Artefact(
            "another end of text",
            template,
            lambda out: copied(bf16, out, lambda f: with_fields(f, eos_token="<|endoftext|>")),
        ),
        Artefact(
            "another chat template, F16.gguf", template, lambda out: gguf_with_template(out, fp32)
        ),
    ]


def gguf_of(out: Path, adapter: Path, scale: float = 1.0) -> None:
    folder = merged(out.with_suffix(".folder"), adapter, torch.float32, scale=scale)
    convert(folder, out, "F16")
    shutil.rmtree(folder)


def gguf_with_template(out: Path, source: Path) -> None:
    folder = out.with_suffix(".folder")
    copied(source, folder, with_template)
    convert(folder, out, "F16")
    shutil.rmtree(folder)


def onto_another_base(out: Path, adapter: Path) -> None:
    """Onto a base that was trained further."""
    base = merged(out.with_suffix(".base"), ANOTHER_BASE)
    merged(out, adapter, base=base)
    shutil.rmtree(base)


def make(folder: Path, base_gguf: Path, subject: Subject) -> Iterator[tuple[Artefact, Path]]:
    """Make the artefacts, unless they exist. An unfinished one is made again."""
    unfinished = folder / "unfinished"
    for artefact in artefacts(folder, base_gguf, subject):
        out = folder / artefact.name
        if not out.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            artefact.make(unfinished / artefact.name)
            (unfinished / artefact.name).rename(out)
        yield artefact, out
