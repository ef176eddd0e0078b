"""Judge one adapter with finetunecheck: a custom probe of the data, and its bundled probes."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

Fields = dict[str, Any]
TARGET = "own_data"


def judge(request: Fields) -> Fields:
    """The verdict of its runner; the score is its ROI score, from 0 to 100."""
    probe = import_module("finetunecheck.probes.custom").CustomProbe.from_samples(
        TARGET,
        request["samples"],
        judge_type=request["judge"],
        category=request["category"],
    )
    import_module("finetunecheck.probes.registry").ProbeRegistry.register(probe)
    config = import_module("finetunecheck.config").EvalConfig(
        base_model=request["base"],
        finetuned_model=request["adapter"],
        target_tasks=[TARGET],
        general_probes=request["general"],
        num_samples=request["num_samples"],
        max_tokens=request["max_tokens"],
        device="cpu",
    )
    results = import_module("finetunecheck.eval.runner").EvalRunner(config).run()
    return {
        "verdict": results.verdict.value,
        "score": results.roi_score,
        "report": {
            "components": results.roi_component_values,
            "coverage": results.roi_coverage,
            "concerns": results.concerns,
            "base": {name: score.mean_score for name, score in results.base_scores.items()},
            "fine-tuned": {name: score.mean_score for name, score in results.ft_scores.items()},
        },
    }


if __name__ == "__main__":
    found = judge(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
