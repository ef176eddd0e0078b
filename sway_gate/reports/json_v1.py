"""The JSON report, schema version 1. `docs/json.md` describes each field.

The structs in this module define the format, and only this module uses them. A change of
`sway_gate.results` therefore cannot change the format; it can only break the conversion, which the
tests detect. Fields can be added at the end of a struct. To rename, remove or retype a field needs
a new version.
"""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from sway_gate.errors import UsageError
from sway_gate.files import did_you_mean, not_read, read_regular
from sway_gate.judge.composite import contradiction, effective_weights
from sway_gate.output import STDOUT
from sway_gate.reports.notebook import NotebookResult
from sway_gate.results import GateResult, Symptom
from sway_gate.text import clean, cut, escaped, is_number, one_line

# No probe's details are deeper; walking deeper ones could exhaust the stack.
MAX_DEPTH = 64
# Maximum size of an input; a hundred times the largest report that the gate writes.
MAX_BYTES = 64 * 2**20
MAX_PROBES = 10_000
_UTF8_BOM, _UTF16_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")

Number = float | None
"""NaN and infinities are written as null."""


class CategoryV1(msgspec.Struct, frozen=True, kw_only=True):
    weight: float
    score: Number
    required: bool = False
    effective_weight: Number = None


class ModelV1(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    digest: str
    revision: str | None
    is_full: bool = False


class NullsV1(msgspec.Struct, frozen=True, kw_only=True):
    runs: int
    null: str
    seed_base: int
    rank_multipliers: tuple[float, ...]


class FindingV1(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    level: str
    message: str
    remedy: str
    path: str
    waiver: "WaiverV1 | None" = None


class WaiverV1(msgspec.Struct, frozen=True, kw_only=True):
    reason: str
    by: str
    expires: str
    verdict: Literal["pass", "fail", "warn", "skip", "error"]
    is_expired: bool


class RuleV1(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    verdict: Literal["pass", "fail", "warn"]
    value: Number
    limit: Number
    bound: Number
    is_upper: bool
    text: str = ""


class ExchangeV1(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["worst", "best", "unrelated"]
    probe: str
    prompt: str
    base: str
    finetuned: str
    right: str
    base_probability: Number
    probability: Number
    finding: str
    of_data: bool


class ProbeV1(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    category: str
    verdict: Literal["pass", "fail", "warn", "skip", "error", "waived"]
    score: Number
    weight: float
    raw: Number
    units: str
    z: Number
    p: Number
    n_null: int
    ci_95: tuple[Number, Number] | None
    effect_ok: bool | None
    z_by_rank: dict[str, Number]
    message: str
    advice: str
    line: int | None
    null_z: Number = None
    null_values: tuple[Number, ...]
    details: dict[str, Any]
    items: tuple[Number, ...] = ()
    bound: Number = None
    margin: Number = None
    test_statistic: Number = None
    score_z: Number = None
    symptoms: tuple[str, ...] = ()
    suspected: tuple[str, ...] = ()
    waiver: WaiverV1 | None = None
    rules: tuple[RuleV1, ...] = ()
    effective_weight: Number = None
    caveat: str = ""


class RegressionV1(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    message: str


class BaselineV1(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    adapter: ModelV1
    score: Number
    tolerance: float
    verdict: Literal["pass", "fail", "error"]
    regressions: tuple[RegressionV1, ...]
    warnings: tuple[str, ...]


class DiagnosisV1(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    sentence: str
    advice: str
    suspected: str = ""


class GateV1(msgspec.Struct, frozen=True, kw_only=True):
    schema_version: Literal[1]
    verdict: Literal["pass", "fail", "error"]
    exit_code: Literal[0, 1, 2, 3]
    score: Number
    threshold: float
    categories: dict[str, CategoryV1]
    adapter: ModelV1
    base: ModelV1
    nulls: NullsV1 | None
    determinism: str
    device: str
    dtype: str
    seed: int
    versions: dict[str, str]
    timing: dict[str, Number]
    spec: str
    findings: tuple[FindingV1, ...]
    notes: tuple[str, ...]
    cached: bool
    probes: tuple[ProbeV1, ...]
    asked: dict[str, str] = {}
    texts: str = ""
    baseline: BaselineV1 | None = None
    diagnosis: DiagnosisV1 | None = None
    tier: Literal["quick", "full"] = "full"
    side_by_side: tuple[ExchangeV1, ...] = ()
    prompt_format: str = ""


def to_json(result: GateResult) -> bytes:
    """Encode `result` as UTF-8 JSON of schema version 1, indented, with a final newline.

    Keys are in the order of the structs.
    """
    fields = plain(_with_weights(result, msgspec.to_builtins(result, enc_hook=_listed)))
    report = msgspec.convert({"schema_version": 1, **fields}, GateV1)
    text = json.dumps(msgspec.to_builtins(report), indent=2, ensure_ascii=False, allow_nan=False)
    return escaped(text).encode() + b"\n"


def _with_weights(result: GateResult, fields: dict[str, Any]) -> dict[str, Any]:
    of_categories, of_probes = effective_weights(result)
    for name, category in fields["categories"].items():
        category["effective_weight"] = of_categories.get(name)
    for probe in fields["probes"]:
        probe["effective_weight"] = of_probes.get(probe["name"])
    return fields


def from_json(data: bytes) -> GateResult:
    """Decode a result that `to_json` wrote; non-finite numbers become NaN or None.

    Unknown fields are ignored. Raises UsageError if `data` is not a report of schema version 1, if
    a score is not from 0 to 1, or if it says pass and its parts do not.
    """
    if not data.strip():
        raise UsageError("the file is empty; pass a file written with --json")
    try:
        report = msgspec.json.decode(_as_utf8(data), type=GateV1)
        _check_probes(report.probes)
        fields = plain(msgspec.to_builtins(report))
        for probe in fields["probes"]:
            for name in ("null_values", "items", "ci_95", "z_by_rank"):
                probe[name] = _with_nan(probe[name])
            if probe["null_z"] is not None:
                # A harm of an older version: its z does not depend on the nulls.
                probe |= {"n_null": 0, "null_values": [], "p": None}
            for name in ("symptoms", "suspected"):
                probe[name] = [symptom for symptom in probe[name] if symptom in get_args(Symptom)]
        fields["timing"] = _with_nan(fields["timing"])
        result = msgspec.convert(fields, GateResult)
    except (ValueError, OverflowError, RecursionError) as error:
        # A quoted value may be a secret of another file.
        reason = re.sub("Invalid enum value .* - ", "Invalid value - ", one_line(str(error)))
        raise UsageError(
            f"not a sway-gate JSON report of schema_version 1: {reason[:200]}; "
            "pass a file written with --json"
        ) from None
    if why := _beyond_scores(result) or contradiction(result):
        raise UsageError(f"inconsistent report: {why}; run the gate again")
    return result


def _beyond_scores(result: GateResult) -> str:
    """The first score that is not from 0 to 1; "" if there is none."""
    scores = {"composite": result.score, "threshold": result.threshold}
    if result.baseline:
        scores["composite of the baseline"] = result.baseline.score
    scores |= {f"score of {name}": own.score for name, own in result.categories.items()}
    scores |= {f"score of {probe.name}": probe.score for probe in result.probes}
    for name, score in scores.items():
        if score is not None and not 0 <= score <= 1:
            return f"the {one_line(name)} is {score:.4g}, not from 0 to 1"
    return ""


def _as_utf8(data: bytes) -> bytes:
    """Remove a byte order mark, as Windows tools write it. Raises ValueError for UTF-16."""
    if data.startswith(_UTF16_BOMS):
        raise ValueError(
            "the text is UTF-16, as some shells redirect output; write the report with --json FILE"
        )
    return data.removeprefix(_UTF8_BOM)


def _check_probes(probes: Sequence[ProbeV1]) -> None:
    if len(probes) > MAX_PROBES:
        raise ValueError(f"more than {MAX_PROBES:,} probes")
    names = Counter(probe.name for probe in probes)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"several probes are named {cut(repeated[0], 60)!r}")


def load(path: str) -> GateResult:
    """Read a report from the file `path`, or from standard input for "-".

    Raises UsageError if the file cannot be read or is not a report.
    """
    label = one_line(path)
    try:
        if path == STDOUT:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            data = read_regular(path, MAX_BYTES + 1)
    except IsADirectoryError:
        raise UsageError(
            f"{label}: is a folder, not a JSON report; write one with `sway gate SPEC --json "
            "FILE`, or compare two adapters with `sway diff`"
        ) from None
    except FileNotFoundError:
        remedy = did_you_mean(path) or "write one with `sway gate SPEC --json FILE`"
        raise UsageError(f"{label}: no such file; {remedy}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{label}: {not_read(error)}; pass a file written with --json") from None
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{label}: larger than {MAX_BYTES // 2**20} MiB; pass a report written with --json"
        )
    try:
        return NotebookResult.of(from_json(data))
    except UsageError as error:
        raise UsageError(f"{label}: {error}") from None


def _listed(value: Any) -> Any:
    """Convert arrays, tensors and their scalars to lists and numbers, without importing numpy."""
    return value.tolist()


def plain(value: Any, depth: int = 0) -> Any:
    """Convert `value` to valid JSON data: no NaN, infinities or lone surrogates; keys are text.

    Raises ValueError if it is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    match value:
        case dict():
            return {_encodable(str(key)): plain(item, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, depth + 1) for item in value]
        case str():
            return _encodable(value)
        case int() | float() if not isinstance(value, bool):
            return value if is_number(value) else None
    return value


def _encodable(text: str) -> str:
    """Escape `text` if it contains a lone surrogate (from a file name that is not UTF-8)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return clean(text)
    return text


def _with_nan(values: Any) -> Any:
    """Replace None by NaN in a list or an object of numbers."""
    match values:
        case dict():
            return {key: math.nan if value is None else value for key, value in values.items()}
        case list():
            return [math.nan if value is None else value for value in values]
    return values
