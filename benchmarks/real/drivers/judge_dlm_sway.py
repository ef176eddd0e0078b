"""Judge one adapter with dlm-sway: the suite of `sway autogen`, the verdict of `sway gate`.

`sway autogen` reads its sections from a .dlm document with dlm 0.9, which its extra requires and
PyPI does not have; this script gives the same sections to the same functions.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

Fields = dict[str, Any]


def section(fields: Fields) -> Any:
    """A section of dlm-sway."""
    kinds = import_module("dlm_sway.core.sections")
    return kinds.Section(
        id=fields["kind"],
        kind=fields["kind"],
        content=fields["content"],
        probes=tuple(kinds.SectionProbe(*pair) for pair in fields["pairs"]),
        preferences=tuple(kinds.SectionPreference(*triple) for triple in fields["triples"]),
    )


def suite(request: Fields, sections: tuple[Any, ...]) -> Fields:
    """The fields of the sway.yaml that `sway autogen` writes, with the changes of the request."""
    handle = import_module("dlm_sway.integrations.dlm.resolver").DlmHandle(
        dlm_id="",
        base_model=request["base"],
        adapter_path=Path(request["adapter"]),
        sections=sections,
        doc_text="",
    )
    spec: Fields = import_module("dlm_sway.integrations.dlm.autogen").build_spec_dict(handle)
    nulls, *probes = spec["suite"]
    for entry in probes:
        entry.update(request["changes"].get(entry["kind"], {}))
        for field, count in request["first"].get(entry["kind"], {}).items():
            entry[field] = entry[field][:count]
    nulls["calibrate_kinds"] = [kind for kind in kinds(probes) if kind in request["calibrated"]]
    return spec


def kinds(probes: list[Fields]) -> list[str]:
    """The kinds of probes."""
    return [entry["kind"] for entry in probes]


def judge(request: Fields) -> Fields:
    """The verdict of `sway gate`: fail at a failed probe or below the threshold."""
    sections = tuple(section(fields) for fields in request["sections"])
    spec = import_module("dlm_sway.suite.loader").from_dict(suite(request, sections))
    result = import_module("dlm_sway.suite.runner").run(
        spec,
        import_module("dlm_sway.backends").build(spec.models.ft),
        sections=sections,
        doc_text="\n\n".join(fields["content"] for fields in request["sections"]),
    )
    score = import_module("dlm_sway.suite.score").compute(result)
    has_failed = any(probe.verdict.value == "fail" for probe in result.probes)
    is_low = score.overall < spec.defaults.coverage_threshold
    return {
        "verdict": "fail" if has_failed or is_low else "pass",
        "score": score.overall,
        "report": {"band": score.band, "probes": [shown(probe) for probe in result.probes]},
    }


def shown(probe: Any) -> Fields:
    """The fields of a probe's result that explain the verdict."""
    names = ("kind", "score", "raw", "z_score", "message", "duration_s")
    return {"verdict": probe.verdict.value} | {name: getattr(probe, name) for name in names}


if __name__ == "__main__":
    found = judge(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
