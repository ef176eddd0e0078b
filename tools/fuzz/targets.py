"""The readers of untrusted files. Each target: a strategy of files, and the use that must hold."""

import gzip
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow
import pyarrow.parquet
from hypothesis import strategies as st
from safetensors.numpy import load

from sway_gate import cache
from sway_gate.compare.results import compare_course
from sway_gate.judge.composite import contradiction
from sway_gate.model_files import config as model_config
from sway_gate.model_files import hub
from sway_gate.reports import json_v1, junit, markdown, static, terminal, trace
from sway_gate.spec.load import parse_spec
from sway_gate.spec.schema import is_weight
from sway_gate.static.check import check_files
from sway_gate.text import clean
from sway_gate.training_data.load import load_sections
from tests.hostile.case import CONFIG, DEMO, WEIGHTS, filled, safetensors, spec
from tests.recorded.stored import INPUTS
from tools.fuzz.values import as_json, changed, mutated

Files = Mapping[str, bytes]


class Target(NamedTuple):
    files: st.SearchStrategy[Files]
    use: Callable[[Path, Files], object]
    """Reads the files, which lie in the folder; may raise only SwayError."""


def _file(name: str, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[Files]:
    return content.map(lambda data: {name: data})


def _printable(text: str) -> None:
    assert clean(text) == text, f"control characters: {text!a}"


# --- spec

_SPECS = [
    filled(str(spec(entry)["sway.yaml"]))
    for entry in (
        "{name: a, kind: delta_kl, prompts: [a], weight: 1.5}",
        "{name: a, kind: null_adapter, runs: 4}\n  - {name: b, kind: leakage, weight: 2}",
        "{name: a, kind: leakage}\nsections: [{kind: prose, content: a}]",
    )
]
_TREE = {
    "version": 1,
    "models": {"base": {"base": "org/a"}, "ft": {"base": "org/a", "adapter": "org/b"}},
    "defaults": {"seed": 0, "coverage_threshold": 0.6, "score_weights": {"adherence": 0.5}},
    "suite": [
        {"name": "n", "kind": "null_adapter", "runs": 3, "rank_multipliers": [1.0]},
        {"name": "d", "kind": "delta_kl", "prompts": ["a"], "weight": 1.0, "assert_z_gte": 3.0},
        {"name": "l", "kind": "leakage", "enabled": True},
    ],
    "sections": [{"kind": "instruction", "pairs": [{"prompt": "a", "gold": "b"}]}],
    "data": ["a.jsonl"],
}


def _read_spec(folder: Path, files: Files) -> None:
    read = parse_spec(files["sway.yaml"].decode(errors="surrogateescape"), "sway.yaml", str(folder))
    assert any(probe.is_probe and probe.enabled for probe in read.suite)
    assert all(is_weight(probe.weight) for probe in read.suite)
    assert 0 <= read.defaults.coverage_threshold <= 1


# --- adapters and bases

_HEADER = {
    "__metadata__": {"format": "pt"},
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": {
        "dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32],
    },
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": {
        "dtype": "F32", "shape": [4, 2], "data_offsets": [32, 64],
    },
}  # fmt: skip
_SMALL = safetensors(_HEADER, bytes(range(64)))
_BASE = json.loads((DEMO / "model/config.json").read_text(encoding="utf-8"))
_SMALL_CONFIG = CONFIG | {"r": 2, "target_modules": ["q_proj"]}


def _check_adapter(folder: Path, files: Files) -> None:
    report = check_files(folder, str(folder / "base"))
    for line in static.render(report, verbose=True).splitlines():
        _printable(line)
    json.dumps(static.to_dict(report), allow_nan=False).encode()
    if report.exit_code == 0:
        _loads(files["adapter_model.safetensors"])


def _loads(weights: bytes) -> None:
    """The library that the gate uses reads what the check accepts."""
    try:
        load(weights)
    except KeyError:  # numpy lacks this dtype
        return


def _adapters(
    weights: st.SearchStrategy[bytes],
    config: st.SearchStrategy[bytes],
    base: st.SearchStrategy[bytes],
) -> st.SearchStrategy[Files]:
    names = ("adapter_model.safetensors", "adapter_config.json", "base/config.json")
    return st.tuples(weights, config, base).map(lambda made: dict(zip(names, made, strict=True)))


def _read_base(folder: Path, _: Files) -> None:
    hub.weight_files(folder)
    model_config.context_tokens(folder)
    model_config.has_chat_template(folder)
    model_config.chat_template(folder)
    check_files(DEMO / "healthy", str(folder), folder)


# --- data

_ROWS = (
    {"prompt": "What?", "completion": "That."},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"instruction": "a", "input": "b", "output": "c", "system": "d", "history": [["e", "f"]]},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {"prompt": [{"role": "user", "content": "a"}], "completion": "b", "label": True},
    {"text": "a b c"},
)
_LINES = b"".join(as_json(row) + b"\n" for row in _ROWS[:1] * 30)
_DATA = ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.md", "a.txt", "a.jsonl.gz", "state.json")
_DOCUMENTS = (
    {"data": list(_ROWS)},
    {"prompt": ["a", "b"], "completion": {"0": "c", "1": "d"}},
    {"_data_files": [{"filename": "data.arrow"}]},
    [_ROWS[0] | {"score": float("nan")}],
)


def _data_files() -> st.SearchStrategy[Files]:
    rows = st.sampled_from(_ROWS).flatmap(changed).map(lambda row: _LINES + as_json(row) + b"\n")
    lists = st.lists(st.sampled_from(_ROWS).flatmap(changed), max_size=4).map(as_json)
    texts = mutated(
        *map(as_json, _DOCUMENTS),
        _LINES,
        b"prompt,completion\na,b\n",
        b"# a\n\ntext\n\n## b\n\ntext\n",
    )
    structured = _file("a.jsonl", rows) | _file("a.json", lists)
    anything = st.tuples(st.sampled_from(_DATA), texts).map(lambda made: dict([made]))
    return structured | anything


def _packed() -> st.SearchStrategy[Files]:
    """Tables and compressed rows, before and after mutation."""
    table, sink = pyarrow.Table.from_pylist([dict(_ROWS[0])] * 30), io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    arrow = io.BytesIO()
    with pyarrow.ipc.new_file(arrow, table.schema) as writer:
        writer.write_table(table)
    zstd = pyarrow.compress(_LINES, codec="zstd", asbytes=True)
    return (
        _file("a.parquet", mutated(sink.getvalue()))
        | _file("a.arrow", mutated(arrow.getvalue()))
        | _file("a.jsonl.zst", mutated(zstd))
        | _file("a.jsonl.gz", mutated(gzip.compress(_LINES)) | mutated(_LINES).map(gzip.compress))
    )


def _read_data(folder: Path, files: Files) -> None:
    paths = [str(folder) if name == "state.json" else str(folder / name) for name in files]
    found = load_sections(paths)
    for note in found.notes:
        _printable(note)


# --- reports, traces and the cache

_REPORTS = [
    json.loads((INPUTS / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("healthy", "sick", "golden")
]


def _read_report(_: Path, files: Files) -> None:
    result = json_v1.from_json(files["r.json"])
    assert result.verdict != "pass" or not contradiction(result)
    again = json_v1.from_json(json_v1.to_json(result))
    assert (again.verdict, again.exit_code) == (result.verdict, result.exit_code)
    for line in terminal.render(result, color=False).splitlines():
        _printable(line)
    for text in (markdown.render(result), junit.to_junit(result)):
        text.encode()
    compare_course([("a", result), ("b", again)])


_TRACE = b"".join(
    as_json(event) + b"\n"
    for event in (
        {"event": "start", "version": 1, "sway": "1", "spec": "s", "adapter": "a", "base": "b"},
        {"event": "plan", "probes": {"p": {"kind": "k", "texts": 1, "answers": 2}}, "answers": 2},
        {"event": "load", "seconds": 1.5, "device": "cpu", "dtype": "fp32"},
    )
)


def _read_trace(folder: Path, _: Files) -> None:
    summary = trace.sum_up(*trace.read(str(folder / "t")))
    for line in (trace.render(summary) + trace.render_markdown(summary)).splitlines():
        _printable(line)


_KEY = "k" * 32
_NAME = "0" * 64


def _read_cache(folder: Path, files: Files) -> None:
    """Entries that are not authentic are misses, and authentic ones of any shape do no harm."""
    os.environ.update(SWAY_CACHE_DIR=str(folder), SWAY_CACHE_KEY=_KEY)
    for kind in ("verdicts/", f"readings/{_NAME}/"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / _NAME).write_bytes(files["entry"])
        assert cache.load_entry(kind + _NAME) is None
        assert cache.store_entry(kind + _NAME, files["entry"])
    assert cache.load_verdict(_NAME) == files["entry"]
    cache.Readings.open(_NAME)


_READING = msgspec.msgpack.encode({"meta": {"a": "b"}, "values": {"0" * 32: bytes(8)}})

TARGETS: dict[str, Target] = {
    "spec": Target(
        _file("sway.yaml", changed(_TREE).map(as_json) | mutated(*(s.encode() for s in _SPECS))),
        _read_spec,
    ),
    "weights": Target(
        _adapters(
            changed(_HEADER).map(lambda header: safetensors(header, bytes(64))) | mutated(_SMALL),
            st.just(as_json(_SMALL_CONFIG)),
            st.just(b"{}"),
        ),
        _check_adapter,
    ),
    "configs": Target(
        _adapters(
            st.just(_SMALL),
            changed(_SMALL_CONFIG).map(as_json) | mutated(as_json(_SMALL_CONFIG)),
            changed(_BASE).map(as_json),
        ),
        _check_adapter,
    ),
    "bases": Target(
        st.dictionaries(
            st.sampled_from(
                (
                    "config.json",
                    "tokenizer_config.json",
                    "model.safetensors.index.json",
                    "chat_template.jinja",
                    "model.safetensors",
                    "tokenizer.json",
                )
            ),
            changed(_BASE | {"weight_map": {"a": "b"}, "chat_template": ["a"]}).map(as_json)
            | mutated(WEIGHTS[:4096], _SMALL),
            min_size=1,
            max_size=3,
        ),
        _read_base,
    ),
    "data": Target(_data_files(), _read_data),
    "packed data": Target(_packed(), _read_data),
    "reports": Target(
        _file(
            "r.json",
            st.sampled_from(_REPORTS).flatmap(changed).map(as_json)
            | mutated(*map(as_json, _REPORTS)),
        ),
        _read_report,
    ),
    "traces": Target(_file("t", mutated(_TRACE)), _read_trace),
    "cache": Target(
        _file("entry", mutated(_READING, b"sway-gate cache 3\n" + bytes(32)) | st.binary()),
        _read_cache,
    ),
}
