"""external_perplexity: non-inferiority of the mean over chunks."""

import pytest

from tests.helpers.judged import judged, spread


def perplexity(mean: float, sd: float, n: int = 8):  # type: ignore[no-untyped-def]
    deltas = iter(spread(mean, sd, n))
    kept: dict[object, float] = {}

    def answer(view, request):  # type: ignore[no-untyped-def]
        if view.source != "finetuned":
            return [-3.0] * 4
        kept.setdefault(request, next(deltas, 0.0))
        return [-3.0 + kept[request]] * 4

    return judged("external_perplexity", answer, max_chunks=n, chunk_chars=200)


PERPLEXITY = {
    "untouched": (0.0, 0.0, "pass"),
    "healthy": (-0.03, 0.03, "pass"),
    "inside, uncertain": (-0.07, 0.2, "warn"),
    "worse": (-0.2, 0.05, "fail"),
    "better": (0.1, 0.05, "pass"),
}


@pytest.mark.parametrize(("mean", "sd", "verdict"), PERPLEXITY.values(), ids=PERPLEXITY)
def test_external_perplexity(mean: float, sd: float, verdict: str) -> None:
    result = perplexity(mean, sd)
    assert result.verdict == verdict, result.message
    assert result.raw == pytest.approx(mean, abs=1e-9)


def test_harms_are_not_compared_with_nulls() -> None:
    result = perplexity(-0.2, 0.05)
    assert (result.n_null, result.null_values, result.p) == (0, (), None)
