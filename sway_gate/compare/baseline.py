"""The accepted result that later ones may not fall behind: a JSON report that is replaced on purpose only."""

import msgspec

from sway_gate.compare.inputs import is_same_base
from sway_gate.compare.results import compare_results
from sway_gate.errors import UsageError
from sway_gate.judge.composite import EXIT_CODES
from sway_gate.results import Baseline, GateResult, ModelFacts, Regression, Verdict
from sway_gate.text import named, one_line


def check(accepted: GateResult, path: str, base: ModelFacts) -> None:
    """Raises UsageError where nothing can be held to this baseline: it was measured over another base (all values are
    differences from it), or not measured whole."""
    if why := _lacks(without(accepted)):
        raise UsageError(f"{path}: {why}, and is no baseline; make one with `sway baseline update`")
    if not is_same_base(accepted.base, base):
        raise UsageError(
            f"{path}: was measured over another base, {_told(accepted.base)}, not {_told(base)}; no value can be "
            "compared: make a baseline for this base with `sway baseline update`"
        )


def judge(
    result: GateResult, accepted: GateResult, path: str, tolerance: float = 0.0
) -> GateResult:
    """`result` with what the baseline says of it: a regression makes a pass a fail. A probe that could not be measured
    leaves an error an error."""
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
    """The result as it was before it was put beside a baseline."""
    if result.baseline is None:
        return result
    verdict = result.baseline.verdict
    return msgspec.structs.replace(
        result, verdict=verdict, exit_code=EXIT_CODES[verdict], baseline=None
    )


def accept(result: GateResult, label: str) -> GateResult:
    """The result as a new baseline. Raises UsageError for a result that could not decide: nothing would be held to it."""
    result = without(result)
    if why := _lacks(result):
        raise UsageError(f"{label}: this result {why}, and is no baseline; make it whole first")
    return msgspec.structs.replace(result, cached=False)


def _lacks(result: GateResult) -> str:
    """Why nothing could be held to the result; "" where all of it was decided."""
    stuck = [probe.name for probe in result.probes if probe.verdict is Verdict.ERROR]
    if result.verdict == "error" or stuck:
        return f"could not measure {named(stuck)}" if stuck else "could not decide"
    if all(probe.verdict is Verdict.SKIP for probe in result.probes):
        return "holds no probe that was measured"
    return ""


def _told(model: ModelFacts) -> str:
    return one_line(f"{model.path} ({model.digest[:16]})" if model.digest else model.path)
