"""Applies waivers to the results of the probes.

A waived probe is neither a failure nor evidence: it has no score, and the composite omits it.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence

from msgspec import structs

from sway_gate.results import AppliedWaiver, Finding, ProbeResult, Verdict
from sway_gate.spec.schema import Waiver
from sway_gate.text import named

_WAIVABLE = (Verdict.FAIL, Verdict.WARN)
_NO_FINDING = {
    Verdict.SKIP: "was skipped",
    Verdict.ERROR: "could not run",
    Verdict.WARN: "was left out for lack of time",
}


def with_waivers(
    results: Iterable[ProbeResult], waivers: Sequence[Waiver], today: datetime.date
) -> tuple[ProbeResult, ...]:
    """The results, with the verdict WAIVED where a waiver accepts a FAIL or a WARN."""
    by_probe = {waiver.probe: waiver for waiver in waivers if waiver.probe}
    return tuple(
        _with_waiver(result, by_probe[result.name], today) if result.name in by_probe else result
        for result in results
    )


def _with_waiver(result: ProbeResult, waiver: Waiver, today: datetime.date) -> ProbeResult:
    own = applied(waiver, result.verdict, today)
    if own.is_expired:
        remedy = "fix the finding or renew it" if _is_finding(result) else "remove it"
        message = f"{lapsed(own)}; {remedy}: {result.message}"
        return structs.replace(result, waiver=own, message=message)
    if not _is_finding(result):
        return result
    return structs.replace(
        result,
        verdict=Verdict.WAIVED,
        waiver=own,
        score=None,
        message=f"{accepted(own)}: {result.message}",
        advice="",
    )


def applied(waiver: Waiver, verdict: Verdict, today: datetime.date) -> AppliedWaiver:
    """The waiver of a result whose verdict is `verdict` without it."""
    return AppliedWaiver(
        reason=waiver.reason,
        by=waiver.by,
        expires=waiver.expires.isoformat(),
        verdict=verdict,
        is_expired=waiver.expires < today,
    )


def accepted(own: AppliedWaiver) -> str:
    """The beginning of the message of a waived result."""
    return f"waived by {own.by} until {own.expires} ({own.reason})"


def lapsed(own: AppliedWaiver) -> str:
    """The beginning of the message of a result whose waiver has expired."""
    return f"the waiver by {own.by} expired on {own.expires} ({own.reason})"


def _is_finding(result: ProbeResult) -> bool:
    """Whether it can be waived: a probe that was left out for lack of time has found nothing."""
    return result.verdict in _WAIVABLE and not result.is_left_out


def is_valid(result: ProbeResult) -> bool:
    """Whether the verdict WAIVED follows from a waiver."""
    own = result.waiver
    return own is not None and own.verdict in _WAIVABLE and result.score is None


def is_waived(found: Finding) -> bool:
    """Whether the level "waived" follows from a waiver."""
    own = found.waiver
    return own is not None and own.verdict in _WAIVABLE and not own.is_expired


def waiver_notes(results: Sequence[ProbeResult], waivers: Sequence[Waiver]) -> Iterator[str]:
    """Notes on the waivers that do not apply."""
    waived = {waiver.probe for waiver in waivers}
    for result in results:
        if result.name in waived and result.verdict is Verdict.PASS:
            yield f"the waiver of {result.name} is not needed, because the probe passes: remove it"
        elif result.name in waived and not _is_finding(result):
            why = _NO_FINDING[result.verdict]
            yield f"the waiver of {result.name} has no effect, because the probe {why}"


def expired(results: Iterable[ProbeResult]) -> list[str]:
    """Names of the probes whose waiver has expired."""
    return [r.name for r in results if r.waiver is not None and r.waiver.is_expired]


def waived(results: Iterable[ProbeResult], findings: Iterable[Finding] = ()) -> list[str]:
    """Names of the waived probes, and ids of the waived findings."""
    of_probes = [result.name for result in results if result.verdict is Verdict.WAIVED]
    return [*of_probes, *(found.id for found in findings if found.level == "waived")]


def has_expired(results: Sequence[ProbeResult], findings: Sequence[Finding]) -> bool:
    """Whether the waiver of a probe or of a finding has expired."""
    return bool(_all_expired(results, findings))


def _all_expired(results: Sequence[ProbeResult], findings: Sequence[Finding]) -> list[str]:
    gone = [found.id for found in findings if found.waiver and found.waiver.is_expired]
    return [*expired(results), *gone]


def waiver_sentence(results: Sequence[ProbeResult], findings: Sequence[Finding]) -> str:
    """What the diagnosis says about waivers; "" if there is nothing to say."""
    if gone := _all_expired(results, findings):
        return f"No rule is violated, but a waiver expired: {named(gone)}."
    severe = [f for f in findings if f.waiver and f.waiver.verdict is Verdict.FAIL]
    if found := waived(results, severe):
        return f"No rule is violated except in waived findings: {named(found)}."
    return ""
