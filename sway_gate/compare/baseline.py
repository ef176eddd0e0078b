"""The baseline: an accepted JSON report; a regression from it fails the gate."""

import msgspec

from sway_gate.compare.inputs import is_same_base
from sway_gate.compare.results import compare_results
from sway_gate.errors import UsageError
from sway_gate.judge.composite import EXIT_CODES
from sway_gate.results import Baseline, GateResult, ModelFacts, Regression, Verdict
from sway_gate.text import named, one_line


def check(accepted: GateResult, path: str, base: ModelFacts) -> None:
    """Check that a result can be compared with this baseline.

    Raises UsageError if the baseline is incomplete, or if its base is not `base`: all values are
    differences from the base.
    """
    if why := _incomplete(without(accepted)):
        raise UsageError(
            f"{path}: {why} and cannot be a baseline; create one with `sway baseline update`"
        )
    if not is_same_base(accepted.base, base):
        raise UsageError(
            f"{path}: was measured with base {_described(accepted.base)}, not {_described(base)}; "
            "create a baseline for this base with `sway baseline update`"
        )


def judge(
    result: GateResult, accepted: GateResult, path: str, tolerance: float = 0.0
) -> GateResult:
    """Return `result` with its comparison with the baseline.

    A regression turns a pass into a fail. An error stays an error if its only regressions are
    probes that could not be measured.
    """
    own = without(accepted)
    found = compare_results(own, result, tolerance, (path, result.spec))
    regressions = found.regressions()
    decided = any(r.kind and not (r.new and r.new.verdict == Verdict.ERROR) for r in regressions)
    fails = bool(regressions) and (result.verdict == "pass" or decided)
    verdict = "fail" if fails else result.verdict
    return msgspec.structs.replace(
        result,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        baseline=Baseline(
            path=path,
            adapter=own.adapter,
            score=own.score,
            tolerance=tolerance,
            verdict=result.verdict,
            regressions=tuple(Regression(name=r.name, message=r.why) for r in regressions),
            warnings=found.warnings,
        ),
    )


def without(result: GateResult) -> GateResult:
    """Return the result without its comparison, with the gate's own verdict and exit code."""
    if result.baseline is None:
        return result
    verdict = result.baseline.verdict
    return msgspec.structs.replace(
        result, verdict=verdict, exit_code=EXIT_CODES[verdict], baseline=None
    )


def accept(result: GateResult, label: str) -> GateResult:
    """Return the result as a new baseline. Raises UsageError if it is incomplete."""
    result = without(result)
    if why := _incomplete(result):
        raise UsageError(
            f"{label}: this result {why} and cannot be a baseline; run the gate again and "
            "accept a complete result"
        )
    return msgspec.structs.replace(result, cached=False)


def _incomplete(result: GateResult) -> str:
    """Reason why the result cannot be a baseline; "" if it can."""
    stuck = [probe.name for probe in result.probes if probe.verdict is Verdict.ERROR]
    if result.verdict == "error" or stuck:
        return f"could not measure {named(stuck)}" if stuck else "could not decide"
    if any(probe.is_left_out for probe in result.probes):
        return "omits probes for lack of time"
    if all(probe.verdict is Verdict.SKIP for probe in result.probes):
        return "contains no measured probe"
    return ""


def _described(model: ModelFacts) -> str:
    return one_line(f"{model.path} ({model.digest[:16]})" if model.digest else model.path)
