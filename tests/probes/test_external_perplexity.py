"""external_perplexity: non-inferiority of the mean over chunks."""

import numpy as np
import pytest

from sway_gate.measurements import BASE, FINETUNED, Answers, Floats, LogProbs, ViewAnswers
from sway_gate.probes import external_perplexity as probe
from sway_gate.probes.base import Context
from sway_gate.probes.external_perplexity import requests
from sway_gate.spec.probes import ExternalPerplexity
from sway_gate.stats import Z_95
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


def simulated(
    adapters: int, mean: float, sd: float, correlation: float, **fields: object
) -> Floats:
    """z of adapters, over the chunks of the packaged passages.

    The change of a chunk has this mean, standard deviation and intraclass correlation.
    """
    rng, spec = np.random.default_rng(0), ExternalPerplexity(name="p", **fields)
    passages = requests(spec, Context())
    chunks = [chunk for passage in passages for chunk in passage]
    owner = np.repeat(np.arange(len(passages)), [len(passage) for passage in passages])
    of_passage = rng.normal(0.0, sd * correlation**0.5, (adapters, len(passages)))
    of_chunk = rng.normal(mean, sd * (1 - correlation) ** 0.5, (adapters, len(chunks)))
    return np.array(
        [
            _z(spec, passages, dict(zip(chunks, changes, strict=True)))
            for changes in of_passage[:, owner] + of_chunk
        ]
    )


def _z(spec: ExternalPerplexity, passages: probe.Passages, changes: dict[LogProbs, float]) -> float:
    values = {(BASE, chunk): np.zeros(1) for chunk in changes}
    values |= {(FINETUNED, chunk): np.array([change]) for chunk, change in changes.items()}
    view = ViewAnswers(Answers(values, {}), FINETUNED)
    (bound,) = probe.bounds(spec, probe.value(spec, Context(), passages, view))
    return bound.test.z


DESIGNS = {
    "the default": {},
    "of sway check": {"chunk_chars": 320, "max_chunks": 22},
    "five chunks of each passage": {"max_chunks": 109},
    "few passages": {"corpus": "public_domain_en", "max_chunks": 52},
    "passages of unequal length": {"corpus": "general_multi", "max_chunks": 72},
}


@pytest.mark.parametrize("fields", DESIGNS.values(), ids=DESIGNS)
def test_an_adapter_at_the_margin_passes_or_fails_in_5_percent_each(
    fields: dict[str, object],
) -> None:
    """As if each chunk counted, 20% would pass with five chunks of each passage."""
    z = simulated(500, -0.4, 0.08, 0.65, **fields)
    # Three standard errors of 500 simulations.
    assert np.mean(z > Z_95) == pytest.approx(0.05, abs=0.029)
    assert np.mean(z < -Z_95) == pytest.approx(0.05, abs=0.029)


def test_a_harmless_adapter_hardly_ever_fails() -> None:
    """The change of a chunk is -.15 ± .08 nats, half of the default margin, in 500 adapters."""
    z = simulated(500, -0.15, 0.08, 0.0)
    assert sum(z < -Z_95) == 0
    assert sum(z > Z_95) > 490


def test_the_message_states_corpus_and_register() -> None:
    assert perplexity(-0.03, 0.0).message.startswith(
        "8 chunks of 8 passages of prose (general_en), as text"
    )


def chunks(**fields: object) -> list[str]:
    passages = requests(ExternalPerplexity(name="p", **fields), Context(chat_template="on"))
    found = [request for passage in passages for request in passage]
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
    """More chunks of the same passages are no more items."""
    assert "use about" in perplexity(-0.07, 0.05, 4).advice
    few = perplexity(-0.08, 0.2).advice
    assert " of at most 22 packaged passages of prose, and needs about " in few
    advice = perplexity(-0.08, 0.2, 60).advice
    assert "22 of at most 22 packaged passages of prose, and needs about " in advice
