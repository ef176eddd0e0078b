import pytest

from sway_gate import stats
from sway_gate.judge.diagnosis import TABLE
from sway_gate.measurements import Divergence, View
from tests.helpers.judged import by_source, judged

EIGHT = tuple("abcdefgh")
CASES = {
    # name: (ft, null, fields, verdict, words)
    "far above the nulls": (0.2, 0.004, {}, "pass", "above 8 null adapters"),
    "like a null": (0.1, 0.1, {}, "fail", "indistinguishable"),
    "below the nulls": (0.05, 0.1, {}, "fail", "σ"),
    "above, but too small to matter": (
        0.0004,
        0.00002,
        {"prompts": EIGHT},
        "fail",
        "mean divergence: 0.0004, must be at least 0.001",
    ),
    "above, too small on two prompts": (
        0.0005,
        0.00002,
        {},
        "warn",
        "mean divergence: 0.0005, must be at least 0.001, but the 95% interval reaches inside",
    ),
    "above, hardly large enough on two prompts": (
        0.0015,
        0.00005,
        {},
        "warn",
        "inconclusive: mean divergence: 0.0015, at least 0.000",
    ),
    "the same, allowed": (0.0015, 0.00005, {"assert_mean_gte": 0.0003}, "pass", "mean √JS"),
    "the same, with a limit of 0.1.0": (
        0.0015,
        0.00005,
        {"assert_mean_gte": 0.02, "prompts": EIGHT},
        "fail",
        "mean divergence: 0.0015, must be at least 0.02",
    ),
    "no change at all": (0.0, 0.0, {}, "fail", "indistinguishable"),
    "a stricter z": (0.2, 0.1, {"assert_z_gte": 20.0}, "fail", "20σ"),
    "kl": (0.2, 0.004, {"divergence": "kl"}, "pass", "mean √KL"),
}


@pytest.mark.parametrize(("ft", "null", "fields", "verdict", "words"), CASES.values(), ids=CASES)
def test_verdicts(
    ft: float, null: float, fields: dict[str, object], verdict: str, words: str
) -> None:
    number = by_source(0.0, ft, null)
    fields = {"prompts": ("a", "b"), **fields}
    result = judged("delta_kl", lambda view, _: number(view), **fields)
    assert (result.verdict, result.category) == (verdict, "adherence"), result.message
    assert words in result.message


@pytest.mark.parametrize(
    ("level", "fields", "symptom"),
    [
        (0.29, {}, "never trained"),
        (0.31, {}, "broken"),
        (0.31, {"divergence": "kl"}, "never trained"),
    ],
)
def test_random_weights_that_replace_all_tokens_break_the_model(
    level: float, fields: dict[str, object], symptom: str
) -> None:
    number = by_source(0.0, level, level)
    result = judged("delta_kl", lambda view, _: number(view), prompts=EIGHT, **fields)
    assert (result.verdict, result.symptoms) == ("fail", (symptom,))


FEW = {
    # runs, ft, limit -> verdict and advice at the same distance from different numbers of nulls
    "3 nulls, far": (3, 0.5, 3.0, "pass", ""),
    "3 nulls, suggestive": (3, 0.17, 3.0, "warn", "set null_adapter runs to 8 to decide"),
    "8 nulls, far": (8, 0.5, 3.0, "pass", ""),
    "8 nulls, suggestive": (8, 0.15, 3.0, "warn", "add items to this probe to decide"),
    "a limit below": (8, 0.16, 2.0, "pass", ""),
    "a limit above is not softened": (8, 0.13, 6.0, "fail", TABLE["never trained"].advice),
    "8 nulls, above none": (8, 0.104, 3.0, "fail", TABLE["never trained"].advice),
    "3 nulls, among them": (3, 0.1, 3.0, "fail", TABLE["never trained"].advice),
}


@pytest.mark.parametrize(("runs", "ft", "limit", "verdict", "advice"), FEW.values(), ids=FEW)
def test_between_noise_and_certainty_is_inconclusive(
    runs: int, ft: float, limit: float, verdict: str, advice: str
) -> None:
    number = by_source(0.0, ft, 0.1)
    result = judged(
        "delta_kl", lambda view, _: number(view), runs=runs, prompts=("a", "b"), assert_z_gte=limit
    )
    assert (result.verdict, result.advice) == (verdict, advice), result.message


def test_a_change_too_small_to_matter_scores_nothing() -> None:
    number = by_source(0.0, 0.0004, 0.00002)
    result = judged("delta_kl", lambda view, _: number(view), prompts=EIGHT)
    assert (result.score, result.effect_ok) == (0.0, False)
    assert result.z > 3


def test_value_is_the_mean_over_prompts() -> None:
    divergence = {"a": 0.1, "b": 0.3}
    result = judged(
        "delta_kl",
        lambda view, r: divergence[r.prompt] * (view.source == "finetuned"),
        prompts=("a", "b"),
    )
    assert result.raw == pytest.approx(0.2)


def test_without_prompts_it_is_an_error() -> None:
    result = judged("delta_kl", lambda *_: 0.0)
    assert (result.verdict, result.score) == ("error", None)
    assert "prompts is empty" in result.message


def test_without_calibration_the_fixed_rule_decides_visibly() -> None:
    result = judged("delta_kl", lambda view, _: 0.2, runs=None, prompts=("a",))
    assert (result.verdict, result.p, result.n_null) == ("pass", None, 0)
    assert result.score == stats.SCORE_AT_LIMIT
    assert "(no calibration)" in result.message
    assert "mean divergence: 0.2, at least 0.0" in result.message


def test_prompts_that_differ_give_a_wider_interval() -> None:
    by_prompt = dict(zip(EIGHT, (*[0.0005] * 7, 0.0115), strict=True))
    even, uneven = (
        judged("delta_kl", lambda view, r, f=f: f(r) if view.number == 0 else 0.0, prompts=EIGHT)
        for f in (lambda r: 0.001875, lambda r: by_prompt[r.prompt])
    )
    assert even.raw == pytest.approx(uneven.raw)
    assert (even.verdict, uneven.verdict) == ("pass", "warn")
    assert uneven.bound < even.bound < even.raw


def test_the_share_of_next_tokens_that_change_is_reported() -> None:
    changed = {"a": [1.0, 0.0, 0.0, 1.0], "b": [1.0, 1.0, 1.0, 0.0]}

    def answer(view: View, request: Divergence) -> object:
        if request.divergence == "argmax":
            assert view.source != "null"
            return changed[request.prompt]
        return by_source(0.0, 0.2, 0.004)(view)

    result = judged("delta_kl", answer, prompts=("a", "b"))
    assert result.details["changed"] == pytest.approx(5 / 8)
    assert [prompt["changed"] for prompt in result.details["prompts"]] == [0.5, 0.75]
    assert "62% of the next tokens change" in result.message


@pytest.mark.parametrize(
    ("source", "verdict"), [("finetuned", "fail"), ("null", "error")], ids=["adapter", "null"]
)
def test_views_without_numbers_are_never_green(source: str, verdict: str) -> None:
    result = judged(
        "delta_kl",
        lambda view, _: f"NaN or Inf under the {view} view" if view.source == source else 0.1,
        prompts=("a",),
    )
    assert result.verdict == verdict
    assert "NaN" in result.message


def test_rank_multipliers_give_a_profile() -> None:
    number = by_source(0.0, 0.5, 0.05, spread=0.5)
    result = judged(
        "delta_kl",
        lambda view, _: number(view) * view.scale**2,
        prompts=("a",),
        multipliers=(1.0, 0.5, 2.0),
    )
    assert list(result.z_by_rank) == ["1", "0.5", "2"]
    assert result.z_by_rank["0.5"] > result.z_by_rank["1"] > result.z_by_rank["2"]
    assert result.z == result.z_by_rank["1"]
