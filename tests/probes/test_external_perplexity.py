"""external_perplexity: non-inferiority of the mean over chunks."""

import numpy as np
import pytest

from sway_gate.measurements import LogProbs
from sway_gate.probes.base import Context
from sway_gate.probes.external_perplexity import requests
from sway_gate.spec.probes import ExternalPerplexity
from sway_gate.stats import Z_95, mean_above
from sway_gate.training_data import packaged
from tests.helpers.judged import judged, spread


def perplexity(mean: float, sd: float, n: int = 8):  # type: ignore[no-untyped-def]
    deltas = iter(spread(mean, sd, n))
    kept: dict[object, float] = {}

    def answer(view, request):  # type: ignore[no-untyped-def]
        if view.source != "finetuned":
            return [-3.0] * 4
        kept.setdefault(request, next(deltas, 0.0))
        return [-3.0 + kept[request]] * 4

    fields = {"max_chunks": n, "chunk_chars": 200, "assert_mean_delta_gte": -0.1}
    return judged("external_perplexity", answer, runs=None, **fields)


PERPLEXITY = {
    "untouched": (0.0, 0.0, "pass"),
    "healthy": (-0.03, 0.03, "pass"),
    "inside, uncertain": (-0.07, 0.2, "warn"),
    "outside, uncertain": (-0.12, 0.2, "warn"),
    "worse": (-0.2, 0.05, "fail"),
    "better": (0.1, 0.05, "pass"),
}


@pytest.mark.parametrize(("mean", "sd", "verdict"), PERPLEXITY.values(), ids=PERPLEXITY)
def test_external_perplexity(mean: float, sd: float, verdict: str) -> None:
    result = perplexity(mean, sd)
    assert result.verdict == verdict, result.message
    assert result.raw == pytest.approx(mean, abs=1e-9)


def test_a_harmless_adapter_hardly_ever_fails() -> None:
    """The change of a chunk is -.15 ± .08 nats, half of the default margin, in 500 adapters."""
    rng = np.random.default_rng(0)
    margin = ExternalPerplexity(name="p").assert_mean_delta_gte
    z = [mean_above(rng.normal(margin / 2, 0.08, 24), margin, 1e-3).z for _ in range(500)]
    assert sum(each < -Z_95 for each in z) == 0
    assert sum(each > Z_95 for each in z) > 490


def test_the_message_states_corpus_and_register() -> None:
    assert perplexity(-0.03, 0.0).message.startswith(
        "nats per token over 8 chunks of prose (general_en), as text"
    )


def chunks(**fields: object) -> list[str]:
    found = requests(ExternalPerplexity(name="p", **fields), Context(chat_template="on"))
    assert all(isinstance(request, LogProbs) and request.prompt == "" for request in found)
    return [str(request.completion) for request in found]


@pytest.mark.parametrize("corpus", ["general_en", "general_multi", "public_domain_en"])
@pytest.mark.parametrize("count", [5, 24, 60])
def test_chunks_are_spread_over_the_whole_corpus(corpus: str, count: int) -> None:
    passages = packaged.prose(corpus)
    found = chunks(corpus=corpus, max_chunks=count)
    used = [any(chunk in passage for chunk in found) for passage in passages]
    assert len(found) == count
    assert sum(used) == min(count, len(passages))
    gaps = np.diff(np.flatnonzero(used))
    assert gaps.max() <= -(-len(passages) // min(count, len(passages)))


def test_few_chunks_contain_all_five_languages() -> None:
    """The passages of a language follow one another."""
    text = " ".join(chunks(corpus="general_multi", max_chunks=10)).casefold()
    assert all(word in text for word in (" und ", " est ", " el ", " uma ", "的"))


def test_the_advice_does_not_require_more_prose_than_is_packaged() -> None:
    assert "use about" in perplexity(-0.07, 0.05, 4).advice
    most = len(requests(ExternalPerplexity(name="p", max_chunks=128, chunk_chars=200), Context()))
    advice = perplexity(-0.08, 0.2).advice
    assert advice.endswith(f"would be needed: more than {most} packaged chunks of prose")
