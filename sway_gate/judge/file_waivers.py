"""Applies waivers to the findings of the check of the adapter's files."""

import datetime
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import structs

from sway_gate.judge.waivers import accepted, applied, lapsed
from sway_gate.results import Finding, Verdict
from sway_gate.spec.schema import Waiver

_VERDICTS: Final = {"verdict": Verdict.FAIL, "warning": Verdict.WARN}


def with_file_waivers(
    findings: Sequence[Finding], waivers: Sequence[Waiver], today: datetime.date
) -> tuple[Finding, ...]:
    """The findings, at the level "waived" where a waiver accepts one.

    A finding whose waiver has expired decides that the adapter fails. Broken files and notes cannot
    be waived.
    """
    by_id = {waiver.finding: waiver for waiver in waivers if waiver.finding}
    return tuple(
        _with_waiver(found, by_id[found.id], today)
        if found.id in by_id and found.level in _VERDICTS
        else found
        for found in findings
    )


def _with_waiver(found: Finding, waiver: Waiver, today: datetime.date) -> Finding:
    own = applied(waiver, _VERDICTS[found.level], today)
    if own.is_expired:
        message = f"{lapsed(own)}; fix the finding or renew it: {found.message}"
        return structs.replace(found, level="verdict", message=message, waiver=own)
    message = f"{accepted(own)}: {found.message}"
    return structs.replace(found, level="waived", message=message, remedy="", waiver=own)


def file_waiver_notes(findings: Sequence[Finding], waivers: Sequence[Waiver]) -> Iterator[str]:
    """Notes on the waivers that do not apply."""
    known = {found.id for found in findings if found.waiver}
    for waiver in waivers:
        if waiver.finding and waiver.finding not in known:
            reason = "because the check of the files does not report it"
            yield f"the waiver of {waiver.finding} is not needed, {reason}: remove it"
