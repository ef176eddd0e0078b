"""Rows that grow: error rates by simulation, and that more rows contain the first ones."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from msgspec import structs
from scipy import stats as reference

from sway_gate import probes
from sway_gate.engine.plan import RowsLook, null_plan, plan_probes
from sway_gate.judge.criteria import of_bound
from sway_gate.judge.probe import is_open_to_rows, of_rows
from sway_gate.measurements import Floats
from sway_gate.probes import _answers as answers
from sway_gate.probes.base import Bound, Context, Growing, Supply
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.probes import KINDS
from sway_gate.spec.schema import ModelRef, Models, Pair, Reserve, Section, Spec
from sway_gate.stats import Z_95, Margin, mean_above, pooled_share, share_above
from tests.helpers.simulation import one_fast

ERROR, DRAWS = 0.05, 1500
GROWING = [kind for kind in KINDS if isinstance(probes.module(kind), Growing)]
MODELS = Models(base=ModelRef(base="b"), ft=ModelRef(base="b", adapter="a"))
Data = dict[str, Callable[[int], Section]]


def pair(prompt: str, gold: str) -> Section:
    return Section(kind="instruction", id=prompt, pairs=(Pair(prompt=prompt, gold=gold),))


DATA: Data = {
    "answers": lambda i: pair(f"Who keeps gate {i}?", f"Its keeper is number {i}."),
    "labels": lambda i: pair(f"Sort the letter {i}.", "rare" if i % 9 == 0 else "often"),
    "prose": lambda i: Section(kind="prose", id=str(i), content=f"Chapter {i}. " + f"w{i} " * 200),
}


def context(row: Callable[[int], Section], samples: int = 4) -> Context:
    first, *more = (tuple(row(48 * k + i) for i in range(48)) for k in range(samples))
    reserve = Reserve(samples=tuple(more), rows=5000)
    return Context(first, reserve=reserve)


def held_out(row: Callable[[int], Section]) -> Context:
    """The same rows as held-out rows of another training."""
    found = context(row)
    training = tuple(pair(f"Other {i}?", f"Else {i}.") for i in range(8))
    if row is DATA["prose"]:
        training = tuple(structs.replace(row(i), content=f"other{i} " * 300) for i in range(8))
    return Context(training, held_out=found.sections, held_out_reserve=found.reserve)


def looks(samples: int = 4) -> Iterator[tuple[int, float]]:
    """The number of samples at each look, and its share of the error, as the plan has them."""
    given = Spec(models=MODELS, suite=(KINDS["answer_recall"](name="r"),))
    found = context(DATA["prose"], samples)
    [planned] = plan_probes(given, found, null_plan(given))
    for look in (planned.rows, *planned.later):
        assert isinstance(look, RowsLook)
        yield 1 + len(look.context.reserve.samples), look.share


# ------------------------------------------------------------------------------------- error rates


def tokens(rng: np.random.Generator) -> Floats:
    """Right and surprising tokens of 160 rows whose recalls differ around .7 [2, rows]."""
    sizes = rng.integers(1, 5, 160)
    return np.stack([rng.binomial(sizes, rng.beta(3.5, 1.5, 160)), sizes]).astype(np.float64)


def recall(data: Floats, samples: int, share: float) -> Margin:
    found = pooled_share(*data[:, : 40 * samples])
    return share_above(found.share, found.effective_n, 0.7, share)


def gains(rng: np.random.Generator) -> Floats:
    return rng.normal(0.1, 0.2, 80)


def gain(data: Floats, samples: int, share: float) -> Margin:
    return mean_above(data[: 20 * samples], 0.1, 1e-3, error_share=share)


def rates(draw: Callable[..., Floats], test: Callable[..., Margin], shared: bool) -> Floats:
    """The shares of passes and of failures of an adapter whose true value is the limit."""
    rng, counts, steps = np.random.default_rng(3), np.zeros(2), list(looks())
    for _ in range(DRAWS):
        data = draw(rng)
        zs = (test(data, samples, share if shared else 1.0).z for samples, share in steps)
        if decided := next((z for z in zs if abs(z) > Z_95), 0.0):
            counts[int(decided < 0)] += 1
    return counts / DRAWS


@pytest.mark.parametrize(("draw", "test"), one_fast((tokens, recall), (gains, gain)))
def test_an_adapter_at_the_limit_is_decided_no_more_often_than_with_one_look(
    draw: Callable[..., Floats], test: Callable[..., Margin]
) -> None:
    error = 3 * np.sqrt(ERROR / DRAWS)
    assert (rates(draw, test, shared=True) <= ERROR + error).all()
    assert (rates(draw, test, shared=False) > ERROR + error).all()


@pytest.mark.parametrize("share", [1.0, 0.9, 0.05], ids=str)
@pytest.mark.parametrize("n", [2, 20, 40], ids=str)
def test_the_bound_of_a_look_has_its_share_of_the_error(n: int, share: float) -> None:
    x = np.random.default_rng(n).normal(0.3, 0.2, n)
    t = reference.t.isf(ERROR * share, n - 1)
    expected = x.mean() - t * x.std(ddof=1) / np.sqrt(n)
    assert mean_above(x, 0.1, 1e-9, error_share=share).bound == pytest.approx(expected)
    for margin in np.linspace(0.01, 0.99, 50):
        for test in (
            mean_above(x, margin, 1e-9, error_share=share),
            share_above(0.8, n, margin, share),
        ):
            assert (test.z > Z_95) == (test.bound > margin)


# ----------------------------------------------------------------------------------- plan of looks


@pytest.mark.parametrize(
    ("samples", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 3]), (4, [1, 2, 4])], ids=str
)
def test_each_look_has_twice_the_rows_and_all_share_the_error(
    samples: int, sizes: list[int]
) -> None:
    found = list(looks(samples))
    assert [size for size, _ in found] == sizes
    assert sum(share for _, share in found) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", GROWING)
@pytest.mark.parametrize("row", DATA.values(), ids=DATA)
def test_more_samples_contain_the_requests_of_fewer(
    kind: str, row: Callable[[int], Section]
) -> None:
    probe, spec = probes.module(kind), KINDS[kind](name=kind)
    assert isinstance(probe, Growing)
    whole = held_out(row) if kind == "generalization" else context(row)
    sizes: list[int] = []
    known: set[object] = set()
    for samples in (1, 2, 4):
        requests = probe.requests(spec, whole.of_samples(samples))
        wanted = {need.request for need in probe.needs(spec, requests)}
        assert known < wanted
        known = wanted
        sizes.append(probe.rows(requests))
    assert sizes == [sizes[0], 2 * sizes[0], 4 * sizes[0]]


ADVICE = {  # limit of a test over 40 rows, rows of the data -> remedy
    "rows of a file": (0.5, 400, "use about 96 items to decide, not 40"),
    "more than the samples of a file": (
        *(0.55, 400),
        "this test cannot decide: it has 40 of at most 160 rows, and needs about 270; read its "
        "numbers in the report, and decide yourself",
    ),
    "rows of the spec": (
        *(0.5, 0),
        "this test cannot decide: it has 40 of at most 40 rows without a data file, and needs "
        "about 68; read its numbers in the report, and decide yourself",
    ),
}


@pytest.mark.parametrize(("limit", "rows", "remedy"), ADVICE.values(), ids=ADVICE)
def test_the_advice_requires_only_rows_that_are_read(limit: float, rows: int, remedy: str) -> None:
    test = share_above(0.6, 40, limit)
    bound = Bound("recall", test, limit, supply=Supply.growing(40, Reserve(rows=rows)))
    assert of_bound(bound, 40, "limit", None).remedy == remedy


@pytest.mark.parametrize("name", ["answers", "labels"])
def test_the_items_of_the_first_sample_come_first(name: str) -> None:
    whole = context(DATA[name])
    first = answers.data_rows(whole, whole.sections)
    further = answers.further_rows(whole, first, whole.reserve)
    few, many = answers.design(first.rows).rows, answers.design(first.rows, further=further).rows
    assert len(few) < len(many)
    assert many[: len(few)] == few


def test_growing_kinds_have_no_null_adapters() -> None:
    assert GROWING == ["answer_specificity", "answer_recall", "generalization"]
    assert not any(probes.module(kind).KIND.is_calibrated for kind in GROWING)


def result(verdict: Verdict, z: float = 1.0, *, effect_ok: bool | None = True) -> ProbeResult:
    return ProbeResult(
        name="r",
        kind="answer_recall",
        category="attribution",
        verdict=verdict,
        message="m",
        z=z,
        effect_ok=effect_ok,
    )


OPEN = {
    "inconclusive": (result(Verdict.WARN, -1.0), True),
    "not significant yet": (result(Verdict.FAIL, 1.0), True),
    "away from it": (result(Verdict.FAIL, -1.0), False),
    "outside its limit": (result(Verdict.FAIL, 1.0, effect_ok=False), False),
    "skipped": (result(Verdict.SKIP, effect_ok=None), True),
    "passed": (result(Verdict.PASS), False),
    "error": (result(Verdict.ERROR, effect_ok=None), False),
}


@pytest.mark.parametrize(("found", "expected"), OPEN.values(), ids=OPEN)
def test_rows_grow_only_if_they_can_decide(found: ProbeResult, expected: bool) -> None:
    assert is_open_to_rows(found) is expected


STATED = {
    Verdict.PASS: "m; decided by 40 of 5,000 rows",
    Verdict.FAIL: "m; decided by 40 of 5,000 rows",
    Verdict.WARN: "m; not decided by 40 of 5,000 rows, the most that are read",
    Verdict.SKIP: "m",
}


@pytest.mark.parametrize(("verdict", "message"), STATED.items(), ids=map(str, STATED))
def test_the_message_states_how_many_rows_decide(verdict: Verdict, message: str) -> None:
    assert of_rows(result(verdict), 40, 5000).message == message


def test_the_samples_of_several_sources_are_joined() -> None:
    row = DATA["answers"]
    long = Reserve(samples=((row(0),), (row(1),)), rows=500)
    short = Reserve(samples=((row(2),),), rows=200)
    joined = Reserve.joined([Reserve(), long, short])
    assert joined == Reserve(samples=((row(0), row(2)), (row(1),)), rows=700)
