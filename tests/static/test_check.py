"""The static check: a case per finding, norms against an explicit ΔW, no input that raises."""

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save

from sway_gate.reports.static import render, to_dict
from sway_gate.static import content, patterns
from sway_gate.static.check import StaticReport, check_files
from sway_gate.static.config import AdapterConfig
from sway_gate.static.findings import compact
from sway_gate.static.norms import ModuleNorm
from sway_gate.static.weights import BITS
from tests.helpers.processes import modules_after
from tests.helpers.property import HealthCheck, given, settings, st

Tensors = dict[str, np.ndarray]
BASE = "org/base"
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def key(module: str, part: str) -> str:
    return f"base_model.model.{module}.{part}" + (
        "" if "_embedding_" in part or "magnitude" in part else ".weight"
    )


def pair(module: str, r: int = 4, d_in: int = 12, d_out: int = 10, **parts: Any) -> Tensors:
    rng = np.random.default_rng(len(module))
    a, b = rng.standard_normal((r, d_in)), rng.standard_normal((d_out, r))
    return {
        key(module, p): np.asarray(x, np.float32)
        for p, x in ({"lora_A": a, "lora_B": b} | parts).items()
    }


def name(layer: int, proj: str = "q_proj") -> str:
    return f"model.layers.{layer}.self_attn.{proj}"


Q0, Q1 = name(0), name(1)
HEALTHY = {**pair(Q0), **pair(Q1)}
CONFIG = {
    "peft_type": "LORA",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj"],
    "base_model_name_or_path": BASE,
}


def adapter(
    folder: Path, tensors: Tensors | bytes = HEALTHY, config: dict[str, Any] | bytes | None = None
) -> Path:
    """`config` as a dict is what differs from `CONFIG`; bytes are written as they are."""
    folder.mkdir(exist_ok=True)
    text = config if isinstance(config, bytes) else json.dumps(CONFIG | (config or {})).encode()
    (folder / "adapter_config.json").write_bytes(text)
    (folder / "adapter_model.safetensors").write_bytes(
        tensors if isinstance(tensors, bytes) else save(tensors)
    )
    return folder


def by_level(report: StaticReport) -> dict[str, str]:
    return {finding.id: finding.level for finding in report.findings}


def message(report: StaticReport, id: str) -> str:
    return next(finding.message for finding in report.findings if finding.id == id)


def test_a_healthy_adapter_has_no_finding(tmp_path: Path) -> None:
    report = check_files(adapter(tmp_path), BASE)
    assert (report.findings, report.exit_code) == ((), 0)
    assert [(m.module, m.layer, m.r) for m in report.modules] == [(Q0, 0, 4), (Q1, 1, 4)]
    assert report.config == AdapterConfig(
        peft_type="LORA",
        r=4,
        lora_alpha=8,
        target_modules=("q_proj",),
        base_model_name_or_path=BASE,
    )


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "README.md"])
def test_a_file_stands_for_its_folder(tmp_path: Path, file: str) -> None:
    adapter(tmp_path)
    (tmp_path / "README.md").touch()
    assert len(check_files(tmp_path / file).modules) == 2


@pytest.mark.parametrize("path", ["absent", "absent/adapter_config.json", "nul\0byte", "x" * 5000])
def test_a_missing_folder_is_broken(tmp_path: Path, path: str) -> None:
    report = check_files(tmp_path / path)
    assert set(by_level(report)) <= {"folder-missing", "unreadable"}
    assert report.exit_code == 2


CONFIGS = [
    pytest.param(
        b"version https://git-lfs.github.com/spec/v1\noid",
        "config-lfs-pointer",
        "Git LFS",
        id="lfs",
    ),
    pytest.param(b" " * (4 << 20) + b"{}", "config-too-large", "4 MiB", id="large"),
    pytest.param(b'{"a": "\xff"}', "config-not-utf8", "byte 7", id="latin-1"),
    pytest.param(b'{\n "r": 4,,\n}', "config-not-json", "malformed", id="comma"),
    pytest.param(b"", "config-not-json", "malformed", id="empty"),
    pytest.param(b'{"r": NaN}', "config-not-json", "NaN is not JSON", id="nan"),
    pytest.param(b'{"r": ' + b"9" * 5000 + b"}", "config-not-json", "malformed", id="digits"),
    pytest.param(b'{"\\ud800": 1}', "config-not-json", "surrogate", id="surrogate"),
    pytest.param(b"[" * 100_000, "config-not-json", "nested too deep", id="deep"),
    pytest.param(b"[1]", "config-not-object", "not an object", id="list"),
    pytest.param(b'{"r": 4}', "peft-type-missing", "peft_type", id="no type"),
    pytest.param(b'{"peft_type": 3}', "peft-type-missing", "peft_type", id="type no string"),
]


@pytest.mark.parametrize(("data", "id", "says"), CONFIGS)
def test_a_broken_config(tmp_path: Path, data: bytes, id: str, says: str) -> None:
    report = check_files(adapter(tmp_path, config=data))
    assert by_level(report) == {id: "broken"}
    assert says in message(report, id)
    assert (report.exit_code, report.config, report.modules) == (2, None, ())


def test_malformed_json_is_placed_by_line_and_column(tmp_path: Path) -> None:
    path = adapter(tmp_path, config=b'{\n "r": four\n}') / "adapter_config.json"
    assert check_files(tmp_path).findings[0].path == f"{path}:2:7"


FIELDS = [
    ("r", 0),
    ("r", -4),
    ("r", 4.5),
    ("r", "4"),
    ("r", True),
    ("r", None),
    ("r", 10**30),
    ("lora_alpha", "8"),
    ("lora_alpha", None),
    ("lora_alpha", 1e999),
    ("target_modules", 7),
    ("target_modules", [1]),
    ("rank_pattern", {"q_proj": 0}),
    ("rank_pattern", []),
    ("alpha_pattern", {"q_proj": "8"}),
    ("modules_to_save", "lm_head"),
    ("modules_to_save", ["m"] * 101),
    ("use_dora", "yes"),
    ("bias", 1),
    ("bias", "x"),
    ("bias", None),
    ("rank_pattern", None),
    ("lora_dropout", 2),
    ("target_modules", []),
    ("layers_to_transform", 0.5),
    ("layers_pattern", "layers"),
    ("trainable_token_indices", [-1]),
    ("eva_config", True),
    ("base_model_name_or_path", ["a"]),
]


@pytest.mark.parametrize(("field", "value"), FIELDS, ids=lambda value: str(value)[:20])
def test_a_field_of_the_wrong_type(tmp_path: Path, field: str, value: Any) -> None:
    text = json.dumps(CONFIG | {field: value}, indent=1).replace("Infinity", "1e999")
    (finding,) = check_files(adapter(tmp_path, config=text.encode())).findings
    line = next(i for i, line in enumerate(text.splitlines(), 1) if f'"{field}"' in line)
    assert (finding.id, finding.level) == ("config-field", "broken")
    assert finding.path.endswith(f"adapter_config.json:{line}")
    assert f"field {field}: " in finding.message


def test_all_wrong_fields_are_told_at_once(tmp_path: Path) -> None:
    report = check_files(adapter(tmp_path, config={"r": 0, "bias": 1, "use_dora": 2}))
    assert [finding.id for finding in report.findings] == ["config-field"] * 3


def test_null_fields_have_their_defaults(tmp_path: Path) -> None:
    nulls = dict.fromkeys(("modules_to_save", "use_dora", "target_parameters"))
    assert check_files(adapter(tmp_path, config=nulls), BASE).findings == ()


OTHER_METHODS = [
    ("IA3", "not-lora", "note"),
    ("PREFIX_TUNING", "unsupported-method", "broken"),
    ("XLORA", "unsupported-method", "broken"),
    ("X\n\x1b[1m", "unsupported-method", "broken"),
]


@pytest.mark.parametrize(("peft_type", "id", "level"), OTHER_METHODS)
def test_other_methods(tmp_path: Path, peft_type: str, id: str, level: str) -> None:
    report = check_files(adapter(tmp_path, config={"peft_type": peft_type, "r": None}), BASE)
    assert (by_level(report), report.modules) == ({id: level}, ())
    assert message(report, id).isprintable()


BASES = [
    pytest.param(BASE, BASE, {}, id="same"),
    pytest.param("Org/Base", BASE, {}, id="same but for case"),
    pytest.param(BASE, None, {}, id="not asked"),
    pytest.param(BASE, "org/other", {"base-mismatch": "broken"}, id="another hub id"),
    pytest.param("gpt2", "org/other", {"base-mismatch": "broken"}, id="hub id without owner"),
    pytest.param("/models/a", "/models/b", {"base-other-path": "note"}, id="another path"),
    pytest.param("/models/a/", "/models/b/../a", {}, id="same path"),
    pytest.param("/models/a", BASE, {"base-other-path": "note"}, id="path, hub id"),
    pytest.param("C:\\models\\a", BASE, {"base-other-path": "note"}, id="Windows path"),
    pytest.param("a\0" * 9000, BASE, {"base-other-path": "note"}, id="hostile"),
    pytest.param(None, BASE, {"base-missing": "note"}, id="null"),
    pytest.param("", BASE, {"base-missing": "note"}, id="empty"),
]


@pytest.mark.parametrize(("named", "base", "expected"), BASES)
def test_the_base(
    tmp_path: Path, named: str | None, base: str | None, expected: dict[str, str]
) -> None:
    assert (
        by_level(check_files(adapter(tmp_path, config={"base_model_name_or_path": named}), base))
        == expected
    )


def test_a_folder_here_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert by_level(check_files(adapter(tmp_path / "a"), "models")) == {"base-other-path": "note"}


def test_missing_files_are_told_together(tmp_path: Path) -> None:
    assert by_level(check_files(tmp_path)) == {
        "config-missing": "broken",
        "weights-missing": "broken",
    }


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_dangling_link_is_missing(tmp_path: Path) -> None:
    path = adapter(tmp_path) / "adapter_model.safetensors"
    path.unlink()
    path.symlink_to(tmp_path / "absent")
    assert by_level(check_files(tmp_path)) == {"weights-missing": "broken"}


def test_a_pickle_alone_is_refused(tmp_path: Path) -> None:
    (adapter(tmp_path) / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    (finding,) = check_files(tmp_path).findings
    assert (finding.id, finding.level) == ("weights-pickle", "broken")
    assert "safe_serialization=True" in finding.remedy


def test_a_pickle_beside_safetensors_is_ignored(tmp_path: Path) -> None:
    (adapter(tmp_path) / "adapter_model.bin").touch()
    assert by_level(check_files(tmp_path)) == {"pickle-ignored": "note"}


@pytest.mark.parametrize(
    "name",
    ["train.py", "A.SO", "scaler.pkl", "w.npy", "m.keras", "d.tar.gz", "optimizer.py"],
)
def test_files_that_run_code_are_named(tmp_path: Path, name: str) -> None:
    (adapter(tmp_path) / name).touch()
    report = check_files(tmp_path)
    assert by_level(report) == {"code-files": "note"}
    assert f"'{name}'" in message(report, "code-files")


@pytest.mark.parametrize(
    "name", ["README.md", "tokenizer.json", "training_args.bin", "optimizer.pt", "rng_state_0.pth"]
)
def test_files_of_models_and_trainers_are_not_named(tmp_path: Path, name: str) -> None:
    (adapter(tmp_path) / name).write_text("{}")
    assert check_files(tmp_path).findings == ()


def raw(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: Any = (2,), begin: Any = 0, end: Any = 8, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


LIES = [
    pytest.param(
        b"version https://git-lfs.github.com/spec/v1\n", "weights-lfs-pointer", id="lfs pointer"
    ),
    pytest.param(b"", "weights-truncated", id="empty"),
    pytest.param(b"1234567", "weights-truncated", id="7 bytes"),
    pytest.param(b"\xff" * 8, "weights-truncated", id="header of 2**64 - 1 bytes"),
    pytest.param(save(HEALTHY)[:100], "weights-truncated", id="cut in the header"),
    pytest.param(save(HEALTHY)[:-4], "tensor-out-of-file", id="cut in the data"),
    pytest.param(raw(b" " * (17 << 20)), "header-too-large", id="large header"),
    pytest.param(raw(b"{"), "header-not-json", id="no JSON"),
    pytest.param(raw(b"\xff{}"), "header-not-json", id="no UTF-8"),
    pytest.param(raw(b"[" * 100_000), "header-not-json", id="deep"),
    pytest.param(raw([1]), "header-not-json", id="no object"),
    pytest.param(raw(b'{"t": 1, "t": 2}'), "header-duplicate-key", id="double tensor"),
    pytest.param(raw(b'{"__metadata__": []}'), "metadata-malformed", id="metadata of a list"),
    pytest.param(raw(b'{"__metadata__": {"a": 1}}'), "metadata-malformed", id="metadata of a 1"),
    pytest.param(
        raw(b'{"t": {"dtype": 1, "dtype": 2}}'), "header-duplicate-key", id="double field"
    ),
    pytest.param(raw({"t": entry(), "t\n": entry()}), "tensor-malformed", id="name not printable"),
    pytest.param(raw({"t" * 600: entry()}), "tensor-malformed", id="long name"),
    pytest.param(raw({"t": 1}), "tensor-malformed", id="entry a number"),
    pytest.param(raw({"t": [1]}), "tensor-malformed", id="entry a list"),
    pytest.param(raw({"t": {}}), "tensor-malformed", id="entry empty"),
    pytest.param(raw({"t": entry((-2,))}, bytes(8)), "tensor-malformed", id="negative size"),
    pytest.param(raw({"t": entry((2.0,))}, bytes(8)), "tensor-malformed", id="float size"),
    pytest.param(raw({"t": entry((True,))}, bytes(8)), "tensor-malformed", id="bool size"),
    pytest.param(raw({"t": entry((2**70, 0), 0, 0)}), "tensor-malformed", id="giant size"),
    pytest.param(
        raw({"t": entry((1,) * 9, 0, 4)}, bytes(4)), "tensor-malformed", id="9 dimensions"
    ),
    pytest.param(raw({"t": entry("")}, bytes(8)), "tensor-malformed", id="shape a string"),
    pytest.param(
        raw({"t": entry((2,), 8, 0)}, bytes(8)), "tensor-malformed", id="end before begin"
    ),
    pytest.param(raw({"t": entry((2,), -8, 0)}, bytes(8)), "tensor-malformed", id="begin negative"),
    pytest.param(
        raw({"t": entry((2,), "0", "8")}, bytes(8)), "tensor-malformed", id="offsets strings"
    ),
    pytest.param(raw({"t": entry(dtype="F31")}, bytes(8)), "dtype-unknown", id="dtype F31"),
    pytest.param(raw({"t": entry(dtype=[1])}, bytes(8)), "dtype-unknown", id="dtype a list"),
    pytest.param(raw({"t": entry((3,))}, bytes(8)), "tensor-size", id="shape too large"),
    pytest.param(raw({"t": entry((2**48,) * 8)}, bytes(8)), "tensor-size", id="shape of 2**384"),
    pytest.param(raw({"t": entry((2, 0))}, bytes(8)), "tensor-size", id="empty shape"),
    pytest.param(
        raw({"t": entry((2,), 8, 16)}, bytes(8)), "tensor-out-of-file", id="beyond the end"
    ),
    pytest.param(
        raw({"t": entry(), "u": entry((2,), 4, 12)}, bytes(12)), "tensor-overlap", id="overlap"
    ),
    pytest.param(
        raw({"t": entry(), "u": entry()}, bytes(8)), "tensor-overlap", id="the same bytes"
    ),
    pytest.param(
        raw({"t": entry(), "u": entry((2,), 12, 20)}, bytes(20)), "tensor-hole", id="hole"
    ),
    pytest.param(raw({"t": entry((2,), 4, 12)}, bytes(12)), "tensor-hole", id="hole at the start"),
    pytest.param(raw({"t": entry()}, bytes(9)), "trailing-bytes", id="a byte too many"),
]


@pytest.mark.parametrize(("data", "id"), LIES)
def test_a_lying_file_is_named(tmp_path: Path, data: bytes, id: str) -> None:
    report = check_files(adapter(tmp_path, data))
    assert by_level(report) == {id: "broken"}
    assert "\n" not in message(report, id)


def test_a_pointer_says_what_to_run(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\n"
    report = check_files(adapter(tmp_path, pointer, pointer))
    assert ["git lfs pull" in finding.remedy for finding in report.findings] == [True, True]


# Dtypes as bits, so that this oracle shares nothing with the code: a value, zero, NaN, infinity.
BIT_CASES = {
    "F64": ("<u8", 0x3FF8 << 48, 1 << 63, 0x7FF8 << 48, 0xFFF0 << 48),
    "F32": ("<u4", 0x3FC00000, 1 << 31, 0x7FC00001, 0xFF800000),
    "F16": ("<u2", 0x3E00, 0x8000, 0x7E01, 0xFC00),
    "BF16": ("<u2", 0x3FC0, 0x8000, 0x7FC1, 0xFF80),
}


def filled(dtype: str, b: int, more: int | None = None) -> bytes:
    """One module with A [4, 6] of 1.5, B [5, 4] of the bits `b`, one of them `more`."""
    bits, one, *_ = BIT_CASES[dtype]
    values = np.full(44, one, bits)
    values[24:], size = b, values.itemsize
    values[30] = b if more is None else more
    header = {
        key(Q0, "lora_A"): entry((4, 6), 0, 24 * size, dtype),
        key(Q0, "lora_B"): entry((5, 4), 24 * size, 44 * size, dtype),
    }
    return raw(header, values.tobytes())


@pytest.mark.parametrize("dtype", BIT_CASES)
@pytest.mark.parametrize("bad", [3, 4], ids=["NaN", "-Inf"])
def test_nan_and_inf_in_every_dtype(tmp_path: Path, dtype: str, bad: int) -> None:
    report = check_files(
        adapter(tmp_path, filled(dtype, BIT_CASES[dtype][1], BIT_CASES[dtype][bad]))
    )
    assert (by_level(report), report.modules, report.exit_code) == (
        {"non-finite": "verdict"},
        (),
        1,
    )
    assert f"in 1 of 2 tensors: '{key(Q0, 'lora_B')}' (1 of 20)" in message(report, "non-finite")


@pytest.mark.parametrize("dtype", BIT_CASES)
@pytest.mark.parametrize("zero", ["+0", "-0"])
def test_zero_in_every_dtype(tmp_path: Path, dtype: str, zero: str) -> None:
    report = check_files(
        adapter(tmp_path, filled(dtype, BIT_CASES[dtype][2] if zero == "-0" else 0))
    )
    assert (by_level(report), report.exit_code) == ({"never-trained": "verdict"}, 1)


@pytest.mark.parametrize("dtype", BIT_CASES)
def test_values_in_every_dtype(tmp_path: Path, dtype: str) -> None:
    report = check_files(adapter(tmp_path, filled(dtype, BIT_CASES[dtype][1])))
    # ΔW is (8/4)·4·1.5·1.5 = 18 everywhere: of rank one.
    assert report.modules[0].frobenius == pytest.approx(18 * 30**0.5)
    assert report.modules[0].stable_rank == pytest.approx(1)


def test_a_single_subnormal_is_trained(tmp_path: Path) -> None:
    report = check_files(adapter(tmp_path, filled("F32", 0, more=1)))
    assert report.findings == ()


def test_nan_is_found_beyond_the_first_chunk(tmp_path: Path) -> None:
    bias = np.zeros((1 << 20) + 9, np.float32)
    bias[-1] = np.nan
    report = check_files(
        adapter(tmp_path, HEALTHY | {"base_model.model.fc.bias": bias}, {"bias": "all"})
    )
    assert by_level(report) == {"non-finite": "verdict"}


def zeroed(module: str, part: str = "lora_B") -> Tensors:
    return {key(module, part): np.zeros_like(HEALTHY[key(module, part)])}


HEAD = {"base_model.model.lm_head.weight": np.ones((3, 2), np.float32)}
WHOLE = {"whole-weights": "note"}
UNTRAINED = [
    pytest.param(zeroed(Q0) | zeroed(Q1), {}, {"never-trained": "verdict"}, id="all B"),
    pytest.param(
        zeroed(Q0, "lora_A") | zeroed(Q1), {}, {"never-trained": "verdict"}, id="an A, a B"
    ),
    pytest.param(zeroed(Q1), {}, {"dead-layers": "warning"}, id="one B"),
    pytest.param(
        zeroed(Q0) | zeroed(Q1) | HEAD,
        {"modules_to_save": ["lm_head"]},
        {"lora-all-zero": "warning"} | WHOLE,
        id="with a head",
    ),
    pytest.param(
        zeroed(Q0) | zeroed(Q1) | HEAD,
        {},
        {"never-trained": "verdict"} | WHOLE,
        id="with a frozen head",
    ),
    pytest.param(
        {key(f"vision_tower.{Q0}", p): np.zeros((4, 4), np.float32) for p in ("lora_A", "lora_B")},
        {},
        {},
        id="a B of the image tower",
    ),
    pytest.param({}, {"lora_alpha": 0}, {"alpha-zero": "verdict"}, id="alpha 0"),
    pytest.param({}, {"lora_alpha": -8}, {"alpha-negative": "warning"}, id="alpha below 0"),
    pytest.param(
        {}, {"alpha_pattern": {Q0: -8}}, {"alpha-negative": "warning"}, id="one alpha below 0"
    ),
    pytest.param({}, {"init_lora_weights": "pissa"}, {"init-not-zero": "note"}, id="pissa"),
    pytest.param({}, {"init_lora_weights": False}, {"init-not-zero": "note"}, id="random start"),
    pytest.param({}, {"init_lora_weights": "gaussian"}, {}, id="gaussian"),
]


@pytest.mark.parametrize(("tensors", "config", "expected"), UNTRAINED)
def test_untrained(
    tmp_path: Path, tensors: Tensors, config: dict[str, Any], expected: dict[str, str]
) -> None:
    report = check_files(adapter(tmp_path, HEALTHY | tensors, config))
    assert by_level(report) == expected
    assert report.exit_code == int("verdict" in expected.values())


def test_dead_layers_are_named_by_range(tmp_path: Path) -> None:
    tensors = {k: v for i in range(6) for k, v in pair(name(i)).items()}
    tensors |= {
        k: np.zeros_like(v)
        for k, v in tensors.items()
        if "lora_B" in k and ".5." not in k and ".3." not in k
    }
    report = check_files(adapter(tmp_path, tensors))
    assert "4 of 6 modules" in message(report, "dead-layers")
    assert "model.layers.{0-2,4}.self_attn.q_proj" in message(report, "dead-layers")


def layers(scale: float, count: int = 6) -> Tensors:
    """Layers with equal updates, except that one is `scale` times as large."""
    tensors = {k: v for i in range(count) for k, v in pair(name(i)).items()}
    tensors[key(name(2), "lora_B")] *= np.float32(scale)
    return tensors


HUGE_HEAD = pair("lm_head", lora_B=np.full((10, 4), 1e4))
SIZES = [
    pytest.param(layers(101), {"norm-outlier": "warning"}, id="above the limit"),
    pytest.param(layers(99), {}, id="below the limit"),
    pytest.param(layers(0.001), {}, id="a small one"),
    pytest.param(layers(1000, count=3), {}, id="too few layers"),
    pytest.param(layers(1) | HUGE_HEAD, {}, id="another module"),
]


@pytest.mark.parametrize(("tensors", "expected"), SIZES)
def test_an_update_far_larger_than_in_other_layers(
    tmp_path: Path, tensors: Tensors, expected: dict[str, str]
) -> None:
    targets = r"(model\.layers\.\d\.self_attn\.q_proj|lm_head)"
    report = check_files(adapter(tmp_path, tensors, {"target_modules": targets}))
    assert by_level(report) == expected


def test_the_layer_with_the_large_update_is_named(tmp_path: Path) -> None:
    report = check_files(adapter(tmp_path, layers(1000)))
    assert "'model.layers.{2}.self_attn.q_proj'" in message(report, "norm-outlier")


EMBED = "model.embed_tokens"
EMBEDDING = {
    key(EMBED, "lora_embedding_A"): np.ones((4, 30), np.float32),
    key(EMBED, "lora_embedding_B"): np.ones((6, 4), np.float32),
    key(EMBED, "base_layer"): np.ones((30, 6), np.float32),
}
MAGNITUDES = {key(m, "lora_magnitude_vector"): np.ones(10, np.float32) for m in (Q0, Q1)}
TARGETS = {"target_modules": ["q_proj", "embed_tokens"]}
REGEX = {"target_modules": r"model\.layers\.\d+\.self_attn\.(q|k)_proj"}
SHAPES = [
    pytest.param(EMBEDDING, TARGETS, WHOLE, id="embedding"),
    pytest.param(HEAD, {"modules_to_save": ["lm_head"]}, WHOLE, id="saved module"),
    pytest.param(
        {"base_model.model.fc.bias": np.ones(3, np.float32)}, {"bias": "all"}, {}, id="bias"
    ),
    pytest.param(
        {"base_model.model.fc.bias": np.ones(3, np.float32)},
        {},
        {"unknown-tensor": "warning"},
        id="unexpected bias",
    ),
    pytest.param({"what": np.ones(3, np.int8)}, {}, {"unknown-tensor": "warning"}, id="unknown"),
    pytest.param({"scalar": np.ones(())}, {}, {"unknown-tensor": "warning"}, id="scalar"),
    pytest.param(
        {},
        {"modules_to_save": ["score"]},
        {"saved-module-without-tensors": "warning"},
        id="no saved module",
    ),
    pytest.param(pair(Q0, r=3), {}, {"rank-mismatch": "broken"}, id="rank"),
    pytest.param(pair(Q0, r=3), {"rank_pattern": {"0.self_attn.q_proj": 3}}, {}, id="rank_pattern"),
    pytest.param(
        pair(Q0, r=3), {"rank_pattern": {r"^model.*\.0\..*": 3}}, {}, id="rank_pattern as a regex"
    ),
    pytest.param(
        pair(Q0, r=3),
        {"rank_pattern": {"proj": 3}},
        {"rank-mismatch": "broken"},
        id="rank_pattern, no dot",
    ),
    pytest.param(
        {}, {"rank_pattern": {"q_proj": 4, r"layers.0.*": 9}}, {}, id="first pattern counts"
    ),
    pytest.param(
        pair(Q0, lora_A=np.ones((3, 12))), {}, {"factor-ranks-differ": "broken"}, id="ranks differ"
    ),
    pytest.param(
        {key("x.q_proj", "lora_A"): np.ones((4, 3))},
        {},
        {"pair-incomplete": "broken"},
        id="A alone",
    ),
    pytest.param(
        {key("x.q_proj", "lora_B"): np.ones((3, 4))},
        {},
        {"pair-incomplete": "broken"},
        id="B alone",
    ),
    pytest.param(pair(Q0, lora_A=np.ones(0)), {}, {"factor-shape": "broken"}, id="A a shard"),
    pytest.param(pair(Q0, lora_B=np.ones((0, 4))), {}, {"factor-shape": "broken"}, id="B empty"),
    pytest.param(pair(Q0, lora_B=np.ones(())), {}, {"factor-shape": "broken"}, id="B a scalar"),
    pytest.param(
        pair(Q0, lora_A=np.ones((0, 12)), lora_B=np.ones((10, 0))),
        {},
        {"factor-shape": "broken"},
        id="r = 0",
    ),
    pytest.param(MAGNITUDES, {"use_dora": True}, {"dora-norms": "note"}, id="DoRA"),
    pytest.param(
        {},
        {"use_dora": True},
        {"dora-norms": "note", "dora-magnitude": "broken"},
        id="DoRA without magnitudes",
    ),
    pytest.param(MAGNITUDES, {}, {"dora-magnitude": "broken"}, id="magnitudes without DoRA"),
    pytest.param(
        MAGNITUDES | {key(Q0, "lora_magnitude_vector"): np.ones(9, np.float32)},
        {"use_dora": True},
        {"dora-norms": "note", "dora-magnitude": "broken"},
        id="magnitudes of another size",
    ),
    pytest.param(
        pair(Q0, r=8),
        {"target_parameters": ["q.weight"], "target_modules": None},
        {"norms-skipped": "note"},
        id="experts",
    ),
    pytest.param(pair(Q0, r=3), {"use_bdlora": {"x": 1}}, {"variant": "note"}, id="variant"),
    pytest.param(
        pair(Q0, r=2049),
        {"rank_pattern": {Q0: 2049}},
        {"norms-skipped": "note"},
        id="rank beyond the limit",
    ),
    pytest.param(
        pair(name(2, "o_proj")),
        {},
        {"tensor-without-target": "broken"},
        id="module without target",
    ),
    pytest.param(
        {},
        {"target_modules": ["q_proj", "v"]},
        {"target-without-tensors": "warning"},
        id="target alone",
    ),
    pytest.param(
        {},
        {"target_modules": ["proj"]},
        {"target-without-tensors": "warning", "tensor-without-target": "broken"},
        id="half a name",
    ),
    pytest.param({}, {"target_modules": "all-linear"}, {}, id="all-linear"),
    pytest.param({}, {"target_modules": None}, {}, id="default targets"),
    pytest.param({}, REGEX, {}, id="regex"),
    pytest.param(
        pair(name(2, "o_proj")),
        REGEX,
        {"tensor-without-target": "broken"},
        id="module outside the regex",
    ),
    pytest.param({}, {"target_modules": "("}, {"regex-invalid": "broken"}, id="no regex"),
    pytest.param(
        {}, {"target_modules": "(" * 900 + ")" * 900}, {"regex-invalid": "broken"}, id="deep regex"
    ),
    pytest.param(
        {}, {"rank_pattern": {"(": 4}}, {"regex-invalid": "broken"}, id="pattern no regex"
    ),
]


@pytest.mark.parametrize(("tensors", "config", "expected"), SHAPES)
def test_config_against_tensors(
    tmp_path: Path, tensors: Tensors, config: dict[str, Any], expected: dict[str, str]
) -> None:
    assert by_level(check_files(adapter(tmp_path, HEALTHY | tensors, config))) == expected


def test_no_lora_tensors(tmp_path: Path) -> None:
    assert by_level(
        check_files(adapter(tmp_path, {"lora_unet_q.lora_down.weight": np.ones((4, 4))}))
    ) == {"no-lora-tensors": "broken"}


def test_eight_bit_floats_have_no_norms(tmp_path: Path) -> None:
    data = raw(
        {
            key(Q0, p): entry((4, 4), 16 * i, 16 * i + 16, "F8_E4M3")
            for i, p in enumerate(("lora_A", "lora_B"))
        }
    )
    assert by_level(check_files(adapter(tmp_path, data + b"\x01" * 32))) == {
        "norms-skipped": "note",
    }


@pytest.mark.parametrize("dtype", ["E5M2", "E4M3", "E5M2FNUZ", "E4M3FNUZ", "E8M0"])
def test_each_code_of_an_eight_bit_float(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    suffix = {"E4M3": "fn", "E8M0": "fnu"}.get(dtype, "")
    codes = torch.arange(256, dtype=torch.uint8)
    values = codes.view(getattr(torch, f"float8_{dtype.lower()}{suffix}"))
    finite = values.float().isfinite().tolist()
    found = [content._scan(codes[i : i + 1].numpy(), f"F8_{dtype}") for i in range(256)]
    assert [one.nonfinite == 0 for one in found] == finite
    is_zero = (values.float() == 0).tolist()
    assert [not one.nonzero for one in found[1:]] == is_zero[1:]


def test_nan_in_eight_bit_floats_fails(tmp_path: Path) -> None:
    header = {
        key(Q0, part): entry((4, 4), 16 * i, 16 * i + 16, "F8_E4M3")
        for i, part in enumerate(("lora_A", "lora_B"))
    }
    report = check_files(adapter(tmp_path, raw(header, b"\x01" * 31 + b"\xff")))
    assert "(1 of 16)" in message(report, "non-finite")
    assert report.exit_code == 1


def test_four_bit_floats_are_noted(tmp_path: Path) -> None:
    header = {
        key(Q0, part): entry((4, 4), 8 * i, 8 * i + 8, "F4")
        for i, part in enumerate(("lora_A", "lora_B"))
    }
    found = by_level(check_files(adapter(tmp_path, raw(header, b"\x11" * 16))))
    assert found == {"dtype-not-inspected": "note", "norms-skipped": "note"}


@pytest.mark.parametrize("dtype", ["I32", "I8", "U8", "BOOL", "C64"])
def test_lora_matrices_without_floats_are_refused(tmp_path: Path, dtype: str) -> None:
    size = 16 * BITS[dtype] // 8
    header = {
        key(Q0, part): entry((4, 4), size * i, size * i + size, dtype)
        for i, part in enumerate(("lora_A", "lora_B"))
    }
    report = check_files(adapter(tmp_path, raw(header, bytes(2 * size))))
    assert by_level(report)["dtype-not-float"] == "broken"
    assert f"of dtype {dtype}, " in message(report, "dtype-not-float")


def as_bfloat16(tensors: Tensors) -> tuple[bytes, Tensors]:
    """The file, and the values that are left of `tensors`."""
    bits = {
        name: np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16
        for name, x in tensors.items()
    }
    header, data = {}, b""
    for name_, x in bits.items():
        header[name_] = entry(x.shape, len(data), len(data) + 2 * x.size, "BF16")
        data += x.astype("<u2").tobytes()
    return raw(header, data), {name_: (x << 16).view(np.float32) for name_, x in bits.items()}


def oracle(tensors: Tensors, module: str, scale: float) -> tuple[float, float, float, float]:
    """Frobenius and spectral norm, stable and effective rank, from the singular values of ΔW."""
    a, b = (tensors[key(module, part)].astype(float) for part in ("lora_A", "lora_B"))
    sigma = np.linalg.svd(scale * b @ a, compute_uv=False)
    share = sigma[sigma > 1e-9 * sigma[0]] / sigma.sum()
    entropy = -(share * np.log(share)).sum()
    return np.sqrt((sigma**2).sum()), sigma[0], (sigma**2).sum() / sigma[0] ** 2, np.exp(entropy)


def numbers(row: ModuleNorm) -> tuple[float, float, float, float]:
    return row.frobenius, row.spectral, row.stable_rank, row.effective_rank


SIZES = [
    (4, 12, 10),
    (4, 10, 12),
    (1, 9, 7),
    (8, 3, 40),
    (8, 40, 3),
    (6, 1, 1),
    (5, 5, 5),
    (32, 300, 200),
]


@pytest.mark.parametrize(("r", "d_in", "d_out"), SIZES, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, "BF16"], ids=str)
def test_norms_are_those_of_the_explicit_update(
    tmp_path: Path, r: int, d_in: int, d_out: int, dtype: Any
) -> None:
    tensors = pair(Q0, r, d_in, d_out)
    if dtype == "BF16":
        data, tensors = as_bfloat16(tensors)
    else:
        data = save(tensors := {name: x.astype(dtype) for name, x in tensors.items()})
    (row,) = check_files(adapter(tmp_path, data, {"r": r, "lora_alpha": 3})).modules
    assert numbers(row) == pytest.approx(oracle(tensors, Q0, 3 / r), rel=1e-6)


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}], ids=["LoRA", "rsLoRA"])
def test_scaling_follows_the_patterns(tmp_path: Path, config: dict[str, Any]) -> None:
    patterns = {
        "rank_pattern": {"layers.1.self_attn.q_proj": 9},
        "alpha_pattern": {"0.self_attn.q_proj": 5, "q_proj": 7},
    }
    tensors = pair(Q0) | pair(Q1, r=9)
    report = check_files(adapter(tmp_path, tensors, patterns | config))
    for row, alpha, r in zip(report.modules, (5, 7), (4, 9), strict=True):
        assert numbers(row) == pytest.approx(
            oracle(tensors, row.module, alpha / (r**0.5 if config else r)), rel=1e-6
        )


def test_norms_of_a_rank_deficient_update(tmp_path: Path) -> None:
    a, b = np.ones((4, 12)), np.eye(10)[:, :4]
    tensors = pair(Q0, lora_A=a, lora_B=b)
    (row,) = check_files(adapter(tmp_path, tensors)).modules
    assert numbers(row) == pytest.approx((2 * 48**0.5, 2 * 48**0.5, 1, 1), rel=1e-6)


def test_a_convolution_is_flattened(tmp_path: Path) -> None:
    tensors = pair(Q0, d_in=18)
    shaped = {
        k: v.reshape(4, 2, 3, 3) if "lora_A" in k else v.reshape(10, 4, 1, 1)
        for k, v in tensors.items()
    }
    (row,) = check_files(adapter(tmp_path, shaped)).modules
    assert numbers(row) == pytest.approx(oracle(tensors, Q0, 2), rel=1e-6)


def test_a_zero_update_has_zero_ranks(tmp_path: Path) -> None:
    dead = check_files(adapter(tmp_path, HEALTHY | zeroed(Q1))).modules[1]
    assert numbers(dead) == (0, 0, 0, 0)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_norms_beyond_the_range_of_a_double(tmp_path: Path, size: float) -> None:
    tensors = {k: v.astype(float) * size for k, v in HEALTHY.items()}
    report = check_files(adapter(tmp_path, tensors))
    assert all(np.isfinite(numbers(row)).all() for row in report.modules)
    assert "non-finite" not in by_level(report)


COMPACT = [
    ([], ""),
    (["lm_head"], "'lm_head'"),
    (["h.0.q", "h.1.q", "h.3.q"], "'h.{0-1,3}.q'"),
    (["h.0.q", "h.0.v"], "'h.{0}.q', 'h.{0}.v'"),
    (list("abcde"), "'a', 'b', 'c' and 2 more"),
    (["0.up.7"], "'{0}.up.7'"),
]


@pytest.mark.parametrize(("modules", "text"), COMPACT, ids=str)
def test_compact(modules: list[str], text: str) -> None:
    assert compact(modules) == text


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_SECONDS", 0.3)


SLOW = r"([\w.]+)+!"
SLOW_CONFIGS = [
    {"target_modules": SLOW},
    {"exclude_modules": SLOW},
    {"rank_pattern": {SLOW: 4}},
    {"alpha_pattern": {SLOW: 4}},
    {"modules_to_save": [SLOW]},
    {"target_parameters": [SLOW]},
    {"rank_pattern": {f"a)|({SLOW[:-1]}!": 4}},  # valid only after peft puts it in parentheses
    {"peft_type": "IA3", "feedforward_modules": SLOW},
    {"auto_mapping": json.loads('{"a":' * 700 + json.dumps(SLOW) + "}" * 700)},
    {"peft_type": "OSF", "rank_pattern": {SLOW: 4}},
]


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("config", SLOW_CONFIGS, ids=lambda config: "-".join(config))
def test_a_pattern_that_does_not_end_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    report = check_files(adapter(tmp_path, config=config))
    assert report.exit_code == 2
    assert "takes more than 0.3 seconds on the names of modules" in message(report, "regex-slow")


SIZES = [
    {"r": 2**31},
    {"rank_pattern": {"up_proj": 2**31}},  # peft adapts modules that have no tensors too
    {"use_bdlora": {"nblocks": 2}, "r": 2**30},
    *({"peft_type": kind, "r": 2**31} for kind in ("LOHA", "VERA", "MISS", "RANDLORA", "HIRA")),
    {"peft_type": "ADALORA", "init_r": 2**31},
    {"peft_type": "OFT", "oft_block_size": 2**31},
    {"peft_type": "BOFT", "boft_block_num": 2**31},
    {"peft_type": "FOURIERFT", "n_frequency": 2**31},
    {"peft_type": "FOURIERFT", "n_frequency_pattern": {"q_proj": 2**31}},
    {"peft_type": "VBLORA", "num_vectors": 2**31},
    {"peft_type": "VBLORA", "vector_length": 2**31},
    {"peft_type": "PEANUT", "depth": 2**31},
    {"peft_type": "PSOFT", "psoft_svd_lowrank_niter": 2**31},
]


@pytest.mark.parametrize("config", SIZES, ids=lambda config: "-".join(map(str, config.values())))
def test_a_size_that_no_tensor_has_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    report = check_files(adapter(tmp_path, config=config))
    assert report.exit_code == 2
    assert "the largest dimension of a tensor is 12" in message(report, "size-too-large")


NO_SIZES = [
    {"r": 1024, "lora_alpha": 10**6},
    {"peft_type": "LOKR", "r": 10**6},
    {"peft_type": "VERA", "projection_prng_key": 10**9},
    {"peft_type": "ADALORA", "total_step": 10**6},
]


@pytest.mark.parametrize("config", NO_SIZES, ids=lambda config: "-".join(map(str, config.values())))
def test_large_numbers_that_are_no_sizes_are_accepted(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    found = by_level(check_files(adapter(tmp_path, config=config)))
    assert "size-too-large" not in found


QUICK = [
    r"(?:.*?(?:language|text).*?(?:self_attn|attn|mlp).*?(?:q_proj|k_proj|v_proj).*?)",
    r"^(?!.*visual).*\.(?:q|k)_proj",
    r"(.+\.)?layers\.\d+\.self_attn\.(q_proj|(a|b)+)",
    r".*q_proj",
]


@pytest.mark.parametrize("pattern", QUICK)
def test_patterns_match_as_python_matches_them(pattern: str) -> None:
    names = [*map(name, range(80)), "model.visual.q_proj", "lm_head"]
    [found] = patterns.matched([pattern], names)
    assert found == [one for one in names if re.fullmatch(pattern, one)]


REGEXES = st.text("ab(|)*+?{2,}[]^\\.:=!$", max_size=40) | st.text(max_size=60)


@settings(FUZZ, max_examples=4)  # each starts three processes
@given(pattern=REGEXES)
def test_no_pattern_raises(tmp_path: Path, pattern: str) -> None:
    adapter(tmp_path, config={"target_modules": pattern, "rank_pattern": {pattern: 4}})
    assert check_files(tmp_path).exit_code in (0, 2)


@FUZZ
@given(data=st.binary(max_size=300), size=st.none() | st.integers(0, 400))
def test_no_bytes_raise(tmp_path: Path, data: bytes, size: int | None) -> None:
    weights = data if size is None else size.to_bytes(8, "little") + data
    assert check_files(adapter(tmp_path, weights, data)).exit_code == 2


@FUZZ
@given(
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(),
)
def test_no_damage_raises(tmp_path: Path, edits: list[tuple[int, int]], cut: int) -> None:
    damaged = []
    for data in (save(HEALTHY), json.dumps(CONFIG).encode()):
        changed = bytearray(data)
        for at, value in edits:
            changed[at % len(data)] = value
        damaged.append(bytes(changed[: cut % len(data)] if cut % 3 == 0 else changed))
    report = check_files(adapter(tmp_path, *damaged))
    assert json.dumps(to_dict(report), ensure_ascii=False, allow_nan=False).encode()
    assert render(report, verbose=True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
ENTRIES = VALUES | st.builds(
    entry,
    st.lists(st.integers(-1, 4), max_size=3),
    st.integers(-1, 40),
    st.integers(-1, 40),
    st.sampled_from(["F32", "BF16", "U8"]),
)


@FUZZ
@given(
    config=st.dictionaries(
        st.sampled_from([*AdapterConfig.__struct_fields__, "x"]), VALUES, max_size=4
    ),
    entries=st.dictionaries(st.sampled_from([*HEALTHY, "__metadata__", "t"]), ENTRIES, max_size=4),
)
def test_no_json_raises(tmp_path: Path, config: dict[str, Any], entries: dict[str, Any]) -> None:
    report = check_files(adapter(tmp_path, raw(entries, bytes(40)), config))
    assert json.dumps(to_dict(report), ensure_ascii=False, allow_nan=False).encode()


def test_it_needs_no_model_library(tmp_path: Path) -> None:
    code = (
        f"from sway_gate.static.check import check_files; check_files({str(adapter(tmp_path))!r})"
    )
    libraries = {"torch", "transformers", "peft", "safetensors"}
    assert libraries.isdisjoint(modules_after(code))


def rendered(
    folder: Path, tensors: Tensors = HEALTHY, config: dict[str, Any] | None = None, **options: Any
) -> list[str]:
    return render(check_files(adapter(folder, tensors, config), BASE), **options).splitlines()


VERDICTS = [
    pytest.param({}, {}, "ok", id="ok"),
    pytest.param(zeroed(Q0) | zeroed(Q1), {}, "never trained", id="never trained"),
    pytest.param({key(Q0, "lora_A"): np.full((4, 12), np.nan)}, {}, "NaN or Inf", id="NaN"),
    pytest.param({}, {"lora_alpha": 0}, "scaled to zero", id="alpha 0"),
    pytest.param(
        zeroed(Q0) | zeroed(Q1),
        {"base_model_name_or_path": "gpt2"},
        "broken",
        id="broken and untrained",
    ),
]


@pytest.mark.parametrize(("tensors", "config", "verdict"), VERDICTS)
def test_the_first_line_is_the_verdict(
    tmp_path: Path, tensors: Tensors, config: dict[str, Any], verdict: str
) -> None:
    assert rendered(tmp_path, HEALTHY | tensors, config)[0] == f"{verdict}: {tmp_path}"


def test_findings_come_from_the_gravest_on(tmp_path: Path) -> None:
    lines = rendered(
        tmp_path,
        HEALTHY | zeroed(Q0) | {"what": np.ones(1)},
        {"r": 5, "init_lora_weights": "olora"},
    )
    labels = [line.split(":")[0] for line in lines if line[0].isupper()]
    assert labels == [
        "ERROR rank-mismatch",
        "WARNING unknown-tensor",
        "WARNING dead-layers",
        "NOTE init-not-zero",
    ]
    assert lines[2].startswith("  → ")


def test_the_table_has_a_row_for_each_module(tmp_path: Path) -> None:
    lines = rendered(tmp_path, HEALTHY | EMBEDDING, TARGETS, verbose=True)
    assert "3 modules, r 4, total ‖ΔW‖_F " in lines[2]
    assert [line.split()[0] for line in lines[3:]] == ["layer", "–", "0", "1"]
    assert [line.split()[-1] for line in lines[4:]] == [EMBED, Q0, Q1]


def test_no_text_forges_a_line(tmp_path: Path) -> None:
    named = "x\nok: \x1b[2J\u202e"
    lines = rendered(tmp_path, config={"base_model_name_or_path": named})
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


def test_json(tmp_path: Path) -> None:
    report = check_files(adapter(tmp_path))
    data = to_dict(report)
    assert (data["schema_version"], data["verdict"], data["exit_code"]) == (1, "ok", 0)
    assert msgspec.convert(data, StaticReport) == report
