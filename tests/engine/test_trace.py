"""The trace of a run, and its summary."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sway_gate import cli
from sway_gate.backends.base import EncodedRequest, OutOfMemory
from sway_gate.backends.packing import pack
from sway_gate.engine import trace
from sway_gate.engine.observe import RunObserver
from sway_gate.engine.run import Measured, run_plan
from sway_gate.errors import SwayError, UsageError
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.measurements import BASE, FINETUNED, Divergence, LogProbs, View, with_base
from sway_gate.output import silent
from sway_gate.reports import trace as reports
from sway_gate.spec.load import parse_spec
from tests.engine.test_run import Arithmetic, Key, Memory

NULL = View("null", 3)
ONE, TWO, MOVED = LogProbs("aaa", "b"), LogProbs("c", "d"), Divergence("ee")
DEMANDS: dict[str, list[Key]] = {
    "first": [(FINETUNED, ONE), (NULL, ONE), (FINETUNED, MOVED)],
    "second": [(FINETUNED, ONE), (FINETUNED, TWO)],
}
PLAN = [key for keys in DEMANDS.values() for key in keys]
SPEC = """\
version: 1
models:
  base: {kind: dummy, base: b}
  ft: {kind: dummy, base: b, adapter: the old mill by the river grinds the corn of the whole valley}
suite:
  - {name: moved, kind: delta_kl, prompts: [the old mill, by the river]}
  - {name: again, kind: delta_kl, prompts: [the old mill]}
"""


def traced(backend: Any, store: Any = None) -> tuple[list[Any], Measured]:
    """The events of a run of both probes, and its answers."""
    events: list[Any] = []
    probes = {name: (f"kind of {name}", with_base(keys)) for name, keys in DEMANDS.items()}
    observer = RunObserver(events.append, probes)
    return events, run_plan(with_base(PLAN), lambda: backend, store, silent, observer)


def passes(events: list[Any]) -> list[trace.Pass]:
    return [event for event in events if isinstance(event, trace.Pass)]


def test_the_first_event_is_the_plan() -> None:
    first = traced(Arithmetic())[0][0]
    found = {name: (p.kind, p.texts, p.answers) for name, p in first.probes.items()}
    assert found == {"first": ("kind of first", 2, 4), "second": ("kind of second", 2, 4)}
    assert (
        first.answers == 6
    )  # ONE under three views, TWO under two, MOVED under one; not its reference


def test_an_observer_changes_no_answer() -> None:
    plain = run_plan(with_base(PLAN), Arithmetic, None, silent).answers
    watched = traced(Arithmetic())[1].answers
    assert all(plain.get(*key) == watched.get(*key) for key in PLAN)


def test_each_call_of_the_backend_is_a_pass() -> None:
    backend = Arithmetic()
    events = passes(traced(backend)[0])
    assert [(p.views, p.rows) for p in events] == [
        (tuple(map(str, views)), len(rows)) for views, rows in backend.passes
    ]
    assert [p.number for p in events] == list(range(1, len(events) + 1))


def test_the_cost_of_a_shared_answer_is_split_evenly() -> None:
    of_one = next(p for p in passes(traced(Arithmetic())[0]) if "null 3" in p.views)
    # Base and adapter for both probes, the null only for the first.
    assert of_one.asked_by == pytest.approx({"first": 2 / 3, "second": 1 / 3}, abs=1e-6)
    assert (of_one.shared, of_one.saved) == (2, pytest.approx(of_one.seconds * 2 / 3))


def test_shares_of_every_pass_add_up() -> None:
    assert [sum(p.asked_by.values()) for p in passes(traced(Arithmetic())[0])] == pytest.approx(
        [1.0] * 3, abs=1e-5
    )


def test_stored_answers_are_reported_and_not_measured_again() -> None:
    store = Memory()
    traced(Arithmetic(), store)
    events = traced(Arithmetic(), store)[0]
    assert [type(event) for event in events] == [trace.PlanEvent, trace.Stored]
    assert (events[1].answers, events[1].probes) == (6, {"first": 4, "second": 4})


class Narrow(Arithmetic):
    def forward(self, views: Any, rows: Any, base_log_probs: Any = None) -> Any:
        if len(views) > 2:
            raise OutOfMemory
        return super().forward(views, rows, base_log_probs)


def test_a_failed_pass_and_its_parts_are_reported() -> None:
    events = passes(traced(Narrow())[0])
    failed = [p for p in events if p.failed]
    assert [(p.failed, p.saved, len(p.views)) for p in failed] == [("OutOfMemory", 0.0, 3)]
    assert sum(len(p.views) for p in events if not p.failed and p.kind != "js") == 5


ROWS = {
    "padded": ([(4, 0), (2, 0)], 0, {"tokens": 12, "padding": 4, "prefix": 0}),
    "a prefix for both": ([(4, 2), (3, 2)], 0, {"tokens": 10, "padding": 2, "prefix": 4}),
    "a prefix of the last pass": ([(4, 2), (3, 2)], 1, {"tokens": 6, "padding": 2, "prefix": 8}),
}


@pytest.mark.parametrize(("lengths", "earlier", "expected"), ROWS.values(), ids=ROWS)
def test_tokens_of_a_pass(lengths: Any, earlier: int, expected: dict[str, int]) -> None:
    events: list[Any] = []
    observer = RunObserver(events.append, {})
    rows = [EncodedRequest(tuple(range(n)), (n - 1,), prefix_len=prefix) for n, prefix in lengths]
    for _ in range(1 + earlier):
        observer.passed([FINETUNED, NULL], pack(rows, lambda: 0), 1.0, "")
    assert {name: getattr(events[-1], name) for name in expected} == expected


def test_a_beginning_that_prompts_of_texts_share_is_not_read_again() -> None:
    events: list[Any] = []
    rows = [EncodedRequest(tuple(range(n)), (n - 1,), kind="text", length=8) for n in (5, 6, 6)]
    sequences = pack(rows, lambda: 0)
    RunObserver(events.append, {}).passed([BASE, FINETUNED], sequences, 1.0, "", shared=4)
    found = events[-1].tokens, events[-1].prefix, events[-1].padding
    assert found == (2 * (4 + 1 + 2 + 2), 2 * 2 * 4, 2 * 1)


# --- Files ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    (tmp_path / "sway.yaml").write_text(SPEC, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def test_a_run_writes_its_trace(folder: Path) -> None:
    code = cli.main(["run", "sway.yaml", "--trace", "t.jsonl", "--quiet"])
    events = lines("t.jsonl")
    assert [events[0]["event"], events[0]["version"], events[-1]["event"]] == ["start", 1, "end"]
    assert events[-1]["verdict"] == {0: "pass", 1: "fail", 3: "error"}[code]
    assert {"plan", "load", "encode", "pass"} <= {event["event"] for event in events}


def test_a_traced_run_judges_again_from_the_store(folder: Path) -> None:
    from tests.helpers.models import save_adapter, save_base

    base = save_base(folder / "base", "llama")
    adapter = save_adapter(folder / "adapter", base)
    folders = f"base: {base.as_posix()}", f"adapter: {adapter.as_posix()}"
    models = f"base: {{{folders[0]}}}\n  ft: {{{', '.join(folders)}}}"
    loaded = parse_spec(
        f"version: 1\nmodels:\n  {models}\nsuite: {SPEC.partition('suite:')[2]}", "s", str(folder)
    )
    events: list[trace.Event] = []
    known = [run_gate(loaded, options).cached for options in (Options(), Options())]
    assert (known, run_gate(loaded, Options(observe=events.append)).cached) == (
        [False, True],
        False,
    )
    # The random adapter stays between its nulls, so that a second stage draws more of them.
    stage = [trace.PlanEvent, trace.Stored]
    kinds = [type(event) for event in events]
    assert kinds == [trace.Started, *stage, *stage, trace.Ended]


def test_a_run_that_fails_midway_leaves_its_trace(folder: Path, monkeypatch: Any) -> None:
    def burn(*_: Any) -> None:
        raise SwayError("the machine is\non fire")

    monkeypatch.setattr("sway_gate.backends.dummy.DummyModel.next_token_log_probs", burn)
    assert cli.main(["run", "sway.yaml", "--trace", "t.jsonl"]) == 3
    assert [event["event"] for event in lines("t.jsonl")][:3] == ["start", "plan", "load"]
    assert lines("t.jsonl")[-1]["event"] == "failed"
    assert "the machine is on fire" in lines("t.jsonl")[-1]["error"]


def test_each_event_is_in_the_file_at_once(folder: Path) -> None:
    with trace.recording("t.jsonl") as observe:
        observe(trace.Encoded(seconds=1.0, texts=2))
        assert lines("t.jsonl") == [{"event": "encode", "seconds": 1.0, "texts": 2}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_ends_in_one_line(folder: Path, capsys: Any) -> None:
    assert cli.main(["run", "sway.yaml", "--trace", "/dev/full"]) == 3
    assert (
        capsys.readouterr().err
        == "error: cannot write the trace /dev/full: No space left on device\n"
    )


REFUSED = {
    "no folder": ("none/t.jsonl", "does not exist; create it first"),
    "standard output": ("-", "a trace is written to a file"),
    "the spec": ("sway.yaml", "has the name of a spec"),
}


@pytest.mark.parametrize(("path", "words"), REFUSED.values(), ids=REFUSED)
def test_unwritable_paths_are_refused(folder: Path, capsys: Any, path: str, words: str) -> None:
    assert cli.main(["run", "sway.yaml", f"--trace={path}"]) == 2
    assert words in capsys.readouterr().err


# --- Summed up ------------------------------------------------------------------------------------


def a_pass(number: int, seconds: float, **fields: Any) -> trace.Pass:
    given: dict[str, Any] = {
        "kind": "js", "views": ("base", "finetuned"), "rows": 3, "tokens": 90, "padding": 10,
        "prefix": 0, "new_tokens": 0,
        "asked_by": {"first": 0.75, "second": 0.25}, "shared": 0, "saved": 0.5,
    }  # fmt: skip
    return trace.Pass(number=number, seconds=seconds, **(given | fields))


EVENTS: list[Any] = [
    trace.Started(spec="sway.yaml", adapter="a", base="b"),
    trace.PlanEvent(
        probes={
            "first": trace.ProbeDemand(kind="delta_kl", texts=3, answers=9),
            "second | *": trace.ProbeDemand(kind="leakage", texts=2, answers=4),
        },
        answers=10,
    ),
    trace.Stored(answers=2, probes={"first": 2, "second | *": 1}),
    trace.Loaded(seconds=4.0, device="cpu", dtype="float32"),
    trace.Encoded(seconds=1.0, texts=5),
    a_pass(1, 2.0, asked_by={"first": 0.75, "second | *": 0.25}),
    a_pass(2, 6.0, kind="recall", asked_by={"second | *": 1.0}),
    trace.Ended(seconds=14.0, verdict="pass"),
]


def test_events_are_summed_up_by_probe_and_kind() -> None:
    s = reports.sum_up(EVENTS, slowest=1)
    assert [(p.name, p.seconds, p.passes, p.stored) for p in s.probes] == [
        ("second | *", 6.5, 2, 1),
        ("first", 1.5, 1, 2),
    ]
    assert [(k.kind, k.seconds, k.padding) for k in s.kinds] == [
        ("recall", 6.0, 10),
        ("js", 2.0, 10),
    ]
    assert [p.number for p in s.slowest] == [2]
    assert (s.pass_seconds, s.saved_seconds, s.asked, s.answers, s.stored) == (8.0, 1.0, 13, 10, 2)
    assert (s.base_answers, s.comparisons) == (6, 6)


def test_a_failed_pass_costs_and_answers_nothing() -> None:
    s = reports.sum_up([*EVENTS, a_pass(3, 1.0, failed="OutOfMemory")])
    assert (s.passes, s.failed_passes, s.pass_seconds, s.base_answers) == (3, 1, 9.0, 6)


WORDS = {
    "a verdict": (EVENTS, "sway.yaml: pass in 14.0 s"),
    "an error": (
        [*EVENTS[:-1], trace.Failed(error="out of luck")],
        "ended without a verdict: out of luck",
    ),
    "neither": (EVENTS[:-1], "incomplete trace: the run is still in progress or was killed"),
    "all stored": (
        [*EVENTS[:2], trace.Stored(answers=10, probes={})],
        "all answers came from the cache",
    ),
    "no model": ([EVENTS[0], EVENTS[-1]], "no forward passes"),
    "padding": (EVENTS, "180 tokens processed, 10% padding"),
    "the slowest": (EVENTS, "2     recall     6.00     3      2      90      10%  second | *"),
}


@pytest.mark.parametrize(("events", "words"), WORDS.values(), ids=WORDS)
def test_the_report_of_a_trace(events: list[Any], words: str) -> None:
    assert words in reports.render(reports.sum_up(events))


def test_markdown_escapes_names() -> None:
    page = reports.render_markdown(reports.sum_up(EVENTS))
    assert "| second &#124; &#42; | leakage | 6.50 | 81% | 2 | 4 | 1 |" in page


def written(path: Path, *rows: bytes) -> str:
    path.write_bytes(b"\n".join(rows) + b"\n")
    return str(path)


def test_the_command_writes_each_format(tmp_path: Path, capsys: Any) -> None:
    path = written(tmp_path / "t.jsonl", *map(msgspec.json.encode, EVENTS))
    for form, words in {
        "terminal": "pass in 14.0 s",
        "md": "# sway trace",
        "json": '"schema_version": 1',
    }.items():
        assert cli.main(["trace", path, "--format", form]) == 0
        assert words in capsys.readouterr().out


NO_TRACE = {
    "nothing": b"",
    "no JSON": b"{",
    "another version": b'{"event":"start","version":2,"spec":"s","adapter":"a","base":"b"}',
    "no start": msgspec.json.encode(EVENTS[-1]),
    "a deep one": b"[" * 100_000,
    "a huge number": b'{"event":"end","seconds":1e999,"verdict":"pass"}',
    "negative time": b'{"event":"encode","seconds":-1,"texts":1}',
    "endless time": b'{"event":"encode","seconds":1e308,"texts":1}',
    "a negative count": b'{"event":"encode","seconds":1,"texts":-1}',
    "no UTF-8": b'{"event":"failed","error":"\xff"}',
}


@pytest.mark.parametrize("data", NO_TRACE.values(), ids=NO_TRACE)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="is not a trace of version 1"):
        reports.read(written(tmp_path / "t.jsonl", data))


@pytest.mark.parametrize("data", NO_TRACE.values(), ids=NO_TRACE)
def test_lines_without_an_event_are_counted(tmp_path: Path, data: bytes) -> None:
    start = msgspec.json.encode(EVENTS[0])
    events, unreadable = reports.read(written(tmp_path / "t.jsonl", start, data, start))
    assert len(events) + unreadable == 3
    assert "skipped lines" in reports.render(reports.sum_up(events, unreadable)) or not unreadable


def test_a_line_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    start, end = msgspec.json.encode(EVENTS[0]), msgspec.json.encode(EVENTS[-1])
    events, unreadable = reports.read(
        written(tmp_path / "t.jsonl", start, b"x" * (3 * 2**20) + end, end)
    )
    assert ([type(event) for event in events], unreadable) == ([trace.Started, trace.Ended], 1)


def test_a_trace_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(reports, "_MAX_EVENTS", 5)
    path = written(tmp_path / "t.jsonl", *map(msgspec.json.encode, EVENTS))
    with pytest.raises(UsageError, match="more than 5 lines"):
        reports.read(path)


def test_a_long_name_does_not_widen_the_table() -> None:
    s = reports.sum_up(
        [
            EVENTS[0],
            trace.PlanEvent(
                probes={"n" * 9000: trace.ProbeDemand(kind="k", texts=1, answers=1)}, answers=1
            ),
        ]
    )
    assert max(map(len, reports.render(s).splitlines())) < 200
