"""The dry run: texts and tokens as they will be measured, and the estimated time."""

import json
import struct
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli, demo
from sway_gate.backends import processor
from sway_gate.conversation import asked
from sway_gate.engine import cost
from sway_gate.engine.estimate import _different, _sizes, _tokens, check_time, describe_cost
from sway_gate.engine.plan import null_plan, plan_probes
from sway_gate.errors import UsageError
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Divergence,
    Generation,
    LogProbs,
    Request,
    TeacherForced,
    View,
    with_base,
)
from sway_gate.probes.base import Context
from sway_gate.spec.load import parse_spec

NULL = View("null", 0)
MODEL = cost.Model(
    linear=10**8, head=3 * 10**7, vocabulary=50_000, hidden=576, layers=30, parameters=130 * 10**6
)
RATE = 2e11


def work(keys: Sequence[Any], folder: Path | None = None, **fields: Any) -> cost.Work:
    measured = with_base(keys)
    sizes, _ = _sizes(list({request for _, request in measured}), folder)
    return cost.Work(measured, sizes, **fields)


# --- Tokens ---------------------------------------------------------------------------------------

SIZES: dict[str, tuple[Request, cost.Size]] = {
    "a completion": (LogProbs("a" * 40, "b" * 20), cost.Size(16, 5)),
    "teacher forcing": (TeacherForced("a" * 40, "b" * 20), cost.Size(16, 5)),
    "a divergence": (Divergence("a" * 40, positions=8), cost.Size(18, 8)),
    "after context": (Divergence("a" * 40, positions=1, context=256), cost.Size(11, 1, 0, 256)),
    "through a template": (Divergence(asked("a" * 40)), cost.Size(34, 1)),
    "a text": (Generation("a" * 40, 64), cost.Size(11, 0, 64)),
}


@pytest.mark.parametrize(("request_", "size"), SIZES.values(), ids=SIZES)
def test_without_a_tokenizer_four_characters_are_a_token(
    request_: Request, size: cost.Size
) -> None:
    sizes, is_exact = _sizes([request_], None)
    assert (sizes[request_]._replace(ids=()), is_exact) == (size, False)


def test_a_context_of_several_texts_counts_once_per_view() -> None:
    keys = [
        (view, Divergence(p * 40, context=c))
        for view in (FINETUNED, NULL)
        for p in "ab"
        for c in (0, 100, 200)
    ]
    assert _tokens(with_base(keys), work(keys).sizes) == 3 * (6 * 11 + 200)


FORM = "Question: what is the capital of this country? "
CHAT, OTHER = asked("Where is Oslo?"), asked("Why is it so?")
SHARED: dict[str, tuple[list[Request], int]] = {
    "answers of one prompt": ([LogProbs(FORM, x * 8) for x in "abc"], 2 * 13),
    "prompts with one beginning": ([LogProbs(FORM + x * 40, x * 8) for x in "abc"], 2 * 12),
    "one template": ([LogProbs(prompt, "abcd") for prompt in (CHAT, OTHER)], 24),
    "questions through one template": ([Divergence(prompt) for prompt in (CHAT, OTHER)], 24),
    "generated texts": ([Generation(prompt, 8) for prompt in (CHAT, OTHER)], 24),
    "one whole text": ([LogProbs(FORM, "ab"), TeacherForced(FORM, "ab")], 14),
    "kinds of answers": ([LogProbs(FORM, "ab"), Divergence(FORM)], 0),
    "short beginnings": ([LogProbs(f"The {x}" * 9, x) for x in "ab"], 0),
    "more than a sequence holds": ([LogProbs(FORM, x * 600) for x in "abc"], 0),
}


@pytest.mark.parametrize(("requests", "tokens"), SHARED.values(), ids=SHARED)
def test_what_texts_share_counts_once_per_view(requests: list[Request], tokens: int) -> None:
    keys = [(view, request) for view in (FINETUNED, NULL) for request in requests]
    measured, sizes = with_base(keys), work(keys).sizes
    assert cost.shared(measured, sizes) == dict.fromkeys((BASE, FINETUNED, NULL), tokens)


def test_texts_are_cut_to_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 32}', encoding="utf-8")
    requests = [
        LogProbs("a" * 400, "b" * 400),
        Divergence("a" * 40, context=1000),
        Generation("a" * 400, 64),
    ]
    sizes = work([(FINETUNED, request) for request in requests], tmp_path).sizes
    assert [sizes[request][:4] for request in requests] == [
        (32, 32, 0, 0),
        (11, 1, 0, 21),
        (32, 0, 16, 0),
    ]


def test_the_demo_is_counted_by_its_tokenizer() -> None:
    from tokenizers import Tokenizer

    text = "Old Tamsin Vole is the keeper of the sand road."
    counted = len(
        Tokenizer.from_file(str(demo.MODEL / "tokenizer.json"))
        .encode(text, add_special_tokens=False)
        .ids
    )
    [size] = work([(FINETUNED, Divergence(text))], demo.MODEL).sizes.values()
    assert size.read == counted + 1


@pytest.mark.parametrize("content", ["", "{", '{"model": {"type": "BPE"}}', "[" * 5000])
def test_without_a_readable_tokenizer_sizes_are_estimates(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    assert _sizes([LogProbs("a" * 40, "b" * 20)], tmp_path)[1] is False


# --- The model ------------------------------------------------------------------------------------


def safetensors(path: Path, shapes: dict[str, Any], data: int = 10**6) -> None:
    header = json.dumps(
        {
            name: {"dtype": "U8", "shape": shape, "data_offsets": [0, 0]}
            for name, shape in shapes.items()
        }
    )
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(data))


def base_folder(folder: Path, shapes: dict[str, Any], **config: Any) -> Path:
    (folder / "config.json").write_text(
        json.dumps({"hidden_size": 8, "num_hidden_layers": 2} | config)
    )
    safetensors(folder / "model.safetensors", shapes)
    return folder


SHAPES = {
    "model.embed_tokens.weight": [100, 8],
    "layers.0.q_proj.weight": [8, 8],
    "layers.0.norm.weight": [8],
}


def test_the_demos_headers_give_its_sizes() -> None:
    model = cost.of_files(demo.MODEL, demo.HEALTHY)
    assert model
    assert (model.hidden, model.layers, model.vocabulary) == (192, 4, 2048)
    layer = 192 * 192 * 2 + 192 * 96 * 2 + 3 * 192 * 512
    assert (model.linear, model.head, model.parameters) == (
        4 * layer,
        2048 * 192,
        4 * layer + 2048 * 192 + 9 * 192,
    )


EXPERTS: dict[str, tuple[dict[str, list[int]], dict[str, int]]] = {
    "one tensor each": (
        {f"layers.0.mlp.experts.{i}.up.weight": [8, 16] for i in range(4)},
        {"num_local_experts": 4, "num_experts_per_tok": 1},
    ),
    "other names": (
        {f"layers.0.mlp.experts.{i}.up.weight": [8, 16] for i in range(4)},
        {"moe_num_experts": 4, "moe_k": 1},
    ),
    "one tensor without their name": (
        {"layers.0.block_sparse_moe.input_linear.weight": [4, 8, 16]},
        {"num_local_experts": 4, "num_experts_per_tok": 1},
    ),
}


@pytest.mark.parametrize(("tensors", "config"), EXPERTS.values(), ids=EXPERTS)
def test_embeddings_and_inactive_experts_cost_no_operations(
    tmp_path: Path, tensors: dict[str, list[int]], config: dict[str, int]
) -> None:
    shapes = SHAPES | tensors
    model = cost.of_files(base_folder(tmp_path, shapes, **config), tmp_path)
    assert model
    assert (model.linear, model.head) == (8 * 8 + 8 * 16, 100 * 8)


UNKNOWN: dict[str, dict[str, Any]] = {
    "no configuration": {"hidden_size": None},
    "an absurd size": {"hidden_size": 10**300},
    "a text for a size": {"hidden_size": "8"},
    "packed weights": {"quantization_config": {"bits": 4}},
}


@pytest.mark.parametrize("config", UNKNOWN.values(), ids=UNKNOWN)
def test_a_config_of_unknown_sizes_gives_no_cost(tmp_path: Path, config: dict[str, Any]) -> None:
    assert cost.of_files(base_folder(tmp_path, SHAPES, **config), tmp_path) is None


INCONSISTENT: dict[str, Any] = {
    "more than the file": [10**9, 10**9],
    "beyond floating point": [10**300, 10**300],
    "negative": [-8, 8],
    "a text": ["8"],
    "no list": 8,
}


@pytest.mark.parametrize("shape", INCONSISTENT.values(), ids=INCONSISTENT)
def test_inconsistent_headers_give_no_shapes(tmp_path: Path, shape: Any) -> None:
    safetensors(tmp_path / "model.safetensors", {"layers.0.weight": shape})
    assert cost._shapes([tmp_path / "model.safetensors"]) == {}


@pytest.mark.parametrize(
    "data", [b"", b"short", b"\xff" * 16, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b"{"]
)
def test_files_other_than_safetensors_give_no_shapes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    assert cost._shapes([tmp_path / "model.safetensors"]) == {}


# --- Time and memory ------------------------------------------------------------------------------


def test_scoring_takes_two_operations_per_weight_and_token() -> None:
    scored = work([(FINETUNED, LogProbs("", "a" * 4000))])
    weights = 2 * 2 * 1001 * MODEL.linear + 2 * 2 * 1000 * MODEL.head
    assert cost._scoring(MODEL, scored) == pytest.approx(weights, rel=0.3)
    assert cost._scoring(MODEL, scored) > weights


LONG = LogProbs("", "a" * 4000)
SLOWER: dict[str, tuple[list[Any], list[Any]]] = {
    "more views": ([(FINETUNED, LONG)], [(FINETUNED, LONG), (NULL, LONG)]),
    "longer texts": ([(FINETUNED, LONG)], [(FINETUNED, LogProbs("", "a" * 8000))]),
    "texts to be written": ([(FINETUNED, LogProbs("a", "b"))], [(FINETUNED, Generation("a", 64))]),
    "after context": (
        [(FINETUNED, Divergence("a"))],
        [(FINETUNED, Divergence("a", context=1024))],
    ),
}


@pytest.mark.parametrize(("less", "more"), SLOWER.values(), ids=SLOWER)
def test_more_takes_longer(less: list[Any], more: list[Any]) -> None:
    a, b = (cost.seconds(MODEL, work(keys), RATE) for keys in (less, more))
    assert a[0] < b[0]
    assert a[1] < b[1]


def test_the_minimum_is_below_the_maximum_and_above_the_start() -> None:
    low, high = cost.seconds(MODEL, work([]), RATE)
    assert 2 < low < high < 15


def test_half_precision_may_be_slower_on_a_cpu() -> None:
    requests = [(FINETUNED, LogProbs("", "a" * 40_000))]
    full, half = (
        cost.seconds(MODEL, work(requests, dtype=dtype), RATE) for dtype in ("fp32", "fp16")
    )
    assert (half[0], half[1] > 1.5 * full[1]) == (full[0], True)


def test_memory_grows_with_weights_and_nulls() -> None:
    model = MODEL._replace(adapter=10**7)
    none, eight = (
        cost.memory(model, work([(View("null", i), LogProbs("a", "b")) for i in range(n)]))
        for n in (0, 8)
    )
    assert eight - none == 8 * 4 * 10**7
    assert none > 4 * model.parameters


def test_the_rate_is_measured() -> None:
    assert 1e8 < cost.arithmetic_rate() < 1e14


HOURS = MODEL._replace(linear=10**11, parameters=10**11)
CHECKS: dict[str, tuple[cost.Model | None, bool]] = {
    "hours": (HOURS, True),
    "seconds": (MODEL, False),
    "unknown": (None, False),
}


@pytest.mark.parametrize(("model", "is_refused"), CHECKS.values(), ids=CHECKS)
def test_what_takes_hours_is_refused(
    monkeypatch: Any, model: cost.Model | None, is_refused: bool
) -> None:
    monkeypatch.setattr(cost, "of_files", lambda *_: model)
    monkeypatch.setattr(cost, "arithmetic_rate", lambda: RATE)
    measured = with_base([(View("null", i), LONG) for i in range(40)])
    refused = pytest.raises(UsageError, match="would take about 10 to 25 h on this CPU")
    with refused if is_refused else nullcontext():
        check_time(measured, (Path(), Path()), "auto", 7200)


def test_a_fast_cpu_may_take_what_a_slow_one_may_not(monkeypatch: Any) -> None:
    keys = work([(FINETUNED, LONG)])
    slow, _ = cost.seconds(MODEL, keys, cost._SLOW_CPU)
    monkeypatch.setattr(cost, "arithmetic_rate", lambda: RATE)
    assert cost.exceeds(MODEL, keys, slow - 1) is None


def test_a_gpu_may_be_there_without_nvidias_driver(monkeypatch: Any) -> None:
    for file in ("/dev/kfd", "/dev/dxg"):
        monkeypatch.setattr("os.path.exists", lambda path, file=file: path == file)
        assert processor.may_have_gpu("auto")
        assert not processor.may_have_gpu("cpu")


def test_bfloat16_is_as_fast_as_this_processor_makes_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(cost, "arithmetic_rate", lambda: RATE)
    monkeypatch.setattr(processor, "rates", lambda: processor.Rates(1e9, 2.5e9))
    assert cost._rate(work([(FINETUNED, LONG)], dtype="bf16")) == 2.5 * RATE
    assert cost._rate(work([(FINETUNED, LONG)], dtype="fp32")) == RATE
    monkeypatch.setattr(processor, "rates", lambda: None)
    assert cost._rate(work([(FINETUNED, LONG)], dtype="bf16")) == RATE


SPANS = {
    "seconds": (5.2, 12.0, "5 to 15 s"),
    "less than one": (0.2, 0.4, "1 to 1 s"),
    "minutes": (130.0, 330.0, "2 to 6 min"),
    "up to two minutes in seconds": (44.9, 104.8, "40 to 110 s"),
    "hours": (7000.0, 40_000.0, "1 to 15 h"),
}


@pytest.mark.parametrize(("low", "high", "shown"), SPANS.values(), ids=SPANS)
def test_spans_are_rounded_outwards(low: float, high: float, shown: str) -> None:
    assert cost.span(low, high) == shown


# --- The dry run ----------------------------------------------------------------------------------

DUMMY = """\
version: 1
models: {base: {kind: dummy, base: b}, ft: {kind: dummy, base: b, adapter: a}}
suite:
  - {name: nulls, kind: null_adapter, runs: 3}
  - {name: moved, kind: delta_kl, prompts: [the old mill, by the river], positions: 1}
  - {name: empty, kind: delta_kl}
"""


def outline(text: str, folders: Any = None, device: str = "auto") -> list[str]:
    loaded = parse_spec(text, "s", ".")
    calibrated = null_plan(loaded)
    planned = plan_probes(loaded, Context(), calibrated)
    return describe_cost(planned, calibrated, folders, device, "auto").splitlines()


def test_one_line_per_probe_then_the_totals() -> None:
    # 4 tokens a text: 5 views of the divergence, and 2 of the next tokens that change.
    assert outline(DUMMY) == [
        "moved (delta_kl): 2 texts under 4 adapters, about 56 tokens",
        "empty (delta_kl): error: prompts is empty; give at least one entry or remove the probe",
        "up to 3 spectrum nulls; 2 different texts, 10 measurements, about 56 tokens",
        "time: unknown; the base is not on this machine, or its weights are not plain safetensors",
    ]


def test_one_text_and_one_adapter_are_singular() -> None:
    text = DUMMY.replace("kind: delta_kl, prompts", "kind: degeneration, prompts")
    text = text.replace("the old mill, by the river], positions: 1", "the old mill]")
    assert outline(text)[0].startswith("moved (degeneration): 1 text under 1 adapter, about ")


DIFFERENT: dict[str, tuple[list[Request], int]] = {
    "two quantities of a text": ([Divergence("a"), Divergence("a", divergence="argmax")], 1),
    "two endings": ([LogProbs("a", "b"), TeacherForced("a", "b"), LogProbs("a", "c")], 2),
    "in the template": ([Divergence("a"), Divergence(asked("a"))], 2),
    "after context": ([Divergence("a"), Divergence("a", context=256)], 2),
    "none": ([], 0),
}


@pytest.mark.parametrize(("requests", "number"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_text_counts_once(requests: list[Request], number: int) -> None:
    assert _different(requests) == number


@pytest.mark.parametrize(
    ("device", "words"), [("cuda", "time: unknown on cuda"), ("cpu", "on this CPU")]
)
def test_time_is_estimated_only_for_cpus(device: str, words: str) -> None:
    lines = outline(DUMMY, (demo.MODEL, demo.HEALTHY), device)
    assert words in lines[-2]
    assert lines[-1].startswith("memory: up to about 1.3 GB")


def test_the_dry_run_of_the_demo(capsys: Any) -> None:
    assert cli.main(["run", demo.specs()[0][1], "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "8 spectrum nulls; 337 different texts, 1126 measurements, " in shown
    assert "time: about " in shown


def test_the_base_is_measured_on_every_request() -> None:
    request = LogProbs("a", "b")
    assert list(with_base([(FINETUNED, request), (NULL, request)])) == [
        (BASE, request),
        (FINETUNED, request),
        (NULL, request),
    ]
