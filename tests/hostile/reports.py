"""Reports, traces and baselines that others wrote: forged, deep, or meant for another reader."""

import json
from typing import Any

from tests.helpers import ROOT
from tests.hostile.case import Case, Files, folder, pipe, sparse, spec, to

INPUTS = ROOT / "tests/recorded/inputs"
HEALTHY: dict[str, Any] = json.loads((INPUTS / "healthy.json").read_text(encoding="utf-8"))
SICK: dict[str, Any] = json.loads((INPUTS / "sick.json").read_text(encoding="utf-8"))
BAIT = "\x1b]0;x\x07\u202e\n::error::x\n##[add-mask]x<script>alert(1)</script>=cmd|' /C calc'!A0"
"""For terminals, CI runners, browsers and spreadsheets."""


def probe(**fields: Any) -> dict[str, Any]:
    """A passing report whose first probe has these fields."""
    first, *others = HEALTHY["probes"]
    return HEALTHY | {"probes": [first | fields, *others]}


def files(report: object) -> Files:
    return {"r.json": report if isinstance(report, bytes) else json.dumps(report)}


def refused(name: str, report: object, words: str = "not a sway-gate JSON report") -> Case:
    return Case(name, "report r.json", 2, words, files(report))


WAIVER = {
    "reason": "r",
    "by": "b",
    "expires": "2027-01-31",
    "verdict": "fail",
    "is_expired": False,
}


def waived(name: str, words: str, **fields: Any) -> Case:
    """A pass that a forged waiver of the first probe made."""
    return refused(name, probe(verdict="waived", **{"score": None, **fields}), words)


def baited(value: Any) -> Any:
    """The report with the bait at the end of each free text."""
    match value:
        case dict():
            return {key: item if key in FIXED else baited(item) for key, item in value.items()}
        case list():
            return [baited(item) for item in value]
        case str():
            return value + BAIT
    return value


FIXED = {
    "verdict",
    "role",
    "kind",
    "category",
    "symptoms",
    "level",
    "determinism",
    "asked",
    "schema_version",
}
EXCHANGE = {
    "role": "worst",
    "probe": "p",
    "prompt": "q | `a`\n# h\n```\n[x](javascript:alert(1))",
    "base": "b",
    "finetuned": "---\n...",
    "right": "&lt;",
    "base_probability": 1e308,
    "probability": -1.0,
    "of_data": False,
    "finding": "f",
}
QUOTING = SICK | {
    "side_by_side": [EXCHANGE, EXCHANGE | {"role": "best", "prompt": "x" * 10**6}],
    "probes": [p | {"waiver": WAIVER} for p in SICK["probes"]],
}

CASES = [
    refused("empty", b"", "the file is empty"),
    refused("deep", b"[" * 100_000),
    refused("deep details", probe(details={"a": json.loads("[" * 400 + "]" * 400)})),
    refused("list", []),
    refused("UTF-16", json.dumps(HEALTHY).encode("utf-16"), "UTF-16"),
    refused("not UTF-8", b'{"a": "\xff"}'),
    refused("NaN", json.dumps(HEALTHY | {"score": float("nan")}).encode()),
    refused("number of 5000 digits", b'{"schema_version": ' + b"9" * 5000 + b"}"),
    refused("another version", HEALTHY | {"schema_version": 2}),
    refused("unknown verdict", HEALTHY | {"verdict": "PASS"}),
    refused("text for a score", HEALTHY | {"score": "1"}),
    refused("probe twice", HEALTHY | {"probes": HEALTHY["probes"][:1] * 2}, "several probes"),
    refused(
        "probe twice with an escape",
        HEALTHY | {"probes": [HEALTHY["probes"][0] | {"name": "\x1b[2J"}] * 2},
        "several probes",
    ),
    refused(
        "ten thousand probes",
        HEALTHY | {"probes": [HEALTHY["probes"][0] | {"name": str(i)} for i in range(10_001)]},
        "more than",
    ),
    refused("forged pass of a failed probe", probe(verdict="fail"), "inconsistent report"),
    refused("forged pass of an error", probe(verdict="error"), "inconsistent report"),
    refused("forged pass below the threshold", HEALTHY | {"score": 0.0}, "inconsistent report"),
    refused("forged pass without a score", HEALTHY | {"score": None}, "inconsistent report"),
    refused(
        "forged pass of skipped probes",
        HEALTHY | {"probes": [p | {"verdict": "skip"} for p in HEALTHY["probes"]]},
        "inconsistent report",
    ),
    refused("forged pass without probes", HEALTHY | {"probes": []}, "inconsistent report"),
    refused("forged pass with exit code 1", HEALTHY | {"exit_code": 1}, "inconsistent report"),
    refused("forged fail with exit code 0", SICK | {"exit_code": 0}, "inconsistent report"),
    refused(
        "forged pass of broken files",
        HEALTHY
        | {"findings": [{"id": "x", "level": "broken", "message": "m", "remedy": "", "path": "p"}]},
        "inconsistent report",
    ),
    waived("forged pass without a waiver", "does not follow from a waiver"),
    waived(
        "forged pass of a waived error",
        "does not follow from a waiver",
        waiver=WAIVER | {"verdict": "error"},
    ),
    waived(
        "forged pass of an expired waiver",
        "inconsistent report",
        waiver=WAIVER | {"is_expired": True},
    ),
    refused("unknown role", SICK | {"side_by_side": [EXCHANGE | {"role": 'x" onload="'}]}),
    refused("unknown tier", HEALTHY | {"tier": BAIT}),
    *(
        Case(
            f"bait side by side as {form}",
            f"report r.json --format {form}",
            0,
            "alert(1)" if form == "json" else "",
            files(baited(QUOTING)),
            heavy=form == "html",
        )
        for form in (
            "terminal",
            "json",
            "markdown",
            "html",
            "junit",
            "sarif",
            "codequality",
            "modelcard",
        )
    ),
    *(
        Case(
            f"bait in a history as {form}",
            f"report --history reports --format {form}",
            0,
            "",
            {
                f"reports/a{BAIT.replace('/', '')}.json": json.dumps(baited(QUOTING)),
                "reports/b.json": json.dumps(HEALTHY),
            },
        )
        for form in ("terminal", "json", "markdown", "html")
    ),
    Case(
        "bait as the name of a report",
        "report --history reports",
        2,
        "::error::x \\x23#[add-mask]x",
        {f"reports/{BAIT.replace('/', '')}.json": "{}"},
    ),
    Case(
        "history of links to their folder",
        "report --history '**/*.json'",
        2,
        "** is not supported",
        {"a": to("."), "b": to(".")},
    ),
    Case("history of a pipe", "report --history .", 2, "r.json", {"r.json": pipe}),
    Case("history of a device", "report --history /dev/zero", 2, "/dev/zero"),
    Case("history of the secret", "report --history .git-credentials", 2, "not a sway-gate"),
    refused("pickle", b"\x80\x04cos\nsystem\n(S'touch ran'\ntR."),
    Case("from standard input", "report -", 2, "not a sway-gate", stdin=b"\x1f\x8b"),
    Case("large", "report r.json", 2, "larger than", {"r.json": sparse(3 * 10**9)}),
    Case("pipe", "report r.json", 2, "r.json", {"r.json": pipe}),
    Case("folder", "report r.json", 2, "is a folder", {"r.json": folder}),
    Case("link to itself", "report r.json", 2, "cannot be read", {"r.json": to("r.json")}),
    Case("device", "report /dev/zero", 2, "/dev/zero"),
    Case("the secret", "report .git-credentials", 2, "not a sway-gate"),
    Case(
        "the secret as a baseline",
        "compare .git-credentials r.json",
        2,
        "not a sway-gate",
        files(HEALTHY),
    ),
    Case("over itself", "report r.json -o r.json", 2, "would overwrite", files(HEALTHY)),
    Case(
        "over itself by a link",
        "report r.json -o s.json",
        2,
        "would overwrite",
        {**files(HEALTHY), "s.json": to("r.json")},
    ),
    Case(
        "weights over a config",
        "report r.json -o base/adapter_config.json",
        2,
        "adapter's file",
        {**files(HEALTHY), "base/config.json": "{}"},
    ),
    Case(
        "bait on a terminal",
        "report r.json",
        0,
        "FAIL",
        files(baited(SICK)),
        env={"FORCE_COLOR": "0"},
    ),
    Case(
        "bait as JSON", "report r.json --format json", 0, '"verdict": "fail"', files(baited(SICK))
    ),
    Case("bait as Markdown", "report r.json --format markdown", 0, "FAIL", files(baited(SICK))),
    Case("bait as HTML", "report r.json --format html", 0, "FAIL", files(baited(SICK)), heavy=True),
    Case("bait as JUnit", "report r.json --format junit", 0, "failure", files(baited(SICK))),
    Case("bait compared", "compare r.json r.json", 0, "NO SIGNIFICANT CHANGE", files(baited(SICK))),
    Case(
        "forged pass compared",
        "compare r.json s.json",
        2,
        "inconsistent report",
        {"r.json": json.dumps(HEALTHY), "s.json": json.dumps(probe(verdict="fail"))},
    ),
    Case(
        "forged baseline",
        "baseline update b.json --from r.json",
        2,
        "inconsistent report",
        files(probe(verdict="fail")),
    ),
    Case(
        "baseline over a spec",
        "baseline update sway.yaml --from r.json",
        2,
        "sway.yaml",
        {**files(HEALTHY), **spec()},
    ),
    Case(
        "baseline of another base",
        "gate sway.yaml --baseline r.json",
        2,
        "r.json",
        {**spec(), **files(HEALTHY)},
    ),
    # traces
    Case("trace of nothing", "trace t", 2, "is not a trace", {"t": ""}),
    Case("trace that is deep", "trace t", 2, "is not a trace", {"t": b"[" * 100_000}),
    Case("trace without line ends", "trace t", 2, "is not a trace", {"t": sparse(2**24)}),
    Case("trace that is a pipe", "trace t", 2, "t:", {"t": pipe}),
    Case("trace that is a device", "trace /dev/zero", 2, "/dev/zero"),
    Case("trace that is the secret", "trace .git-credentials", 2, "is not a trace"),
    Case(
        "trace with bait",
        "trace t",
        0,
        "\\x1b",
        {
            "t": json.dumps(
                {
                    "event": "start",
                    "version": 1,
                    "sway": "1",
                    "spec": BAIT,
                    "adapter": BAIT,
                    "base": BAIT,
                }
            )
            + "\n"
        },
    ),
    Case(
        "trace with bait as Markdown",
        "trace t --format md",
        0,
        "incomplete trace",
        {
            "t": json.dumps(
                {
                    "event": "start",
                    "version": 1,
                    "sway": "1",
                    "spec": BAIT,
                    "adapter": BAIT,
                    "base": BAIT,
                }
            )
            + "\n"
        },
    ),
    Case(
        "trace of endless numbers",
        "trace t",
        0,
        "without a valid event: 1",
        {
            "t": json.dumps(
                {
                    "event": "start",
                    "version": 1,
                    "sway": "1",
                    "spec": "s",
                    "adapter": "a",
                    "base": "b",
                }
            )
            + '\n{"event": "load", "seconds": 1e400, "device": "", "dtype": ""}\n'
        },
    ),
]
