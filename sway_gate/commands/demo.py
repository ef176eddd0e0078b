"""`sway demo`: gate the packaged demo adapters."""

import argparse

from sway_gate.commands._common import Add, deliver, measuring, tell


def add_to(add: Add) -> None:
    add("demo", _demo, "Gate a healthy and an untrained demo adapter, offline.")


def _demo(args: argparse.Namespace) -> int:
    """Gate both demo adapters: 0 where the healthy one passes and the untrained one fails."""
    from sway_gate import demo
    from sway_gate.gate.run import run_gate
    from sway_gate.spec.load import load_spec

    tell("Two adapters over a tiny model, all of it in this package: nothing is downloaded.")
    verdicts = []
    for title, path in demo.specs():
        tell(f"\n== {title}\n$ sway gate {path}\n")
        with measuring(args) as (options, progress):
            result = run_gate(load_spec(path), options, progress)
        deliver(args, result)
        verdicts.append(result.verdict)
    healthy, untrained = verdicts
    is_right = (healthy, untrained) == ("pass", "fail")
    tell(
        f"\nThe healthy adapter: {healthy.upper()}. The untrained adapter: {untrained.upper()}."
        f" {'As it must be.' if is_right else 'They must be PASS and FAIL: this installation does not judge soundly.'}"
    )
    return 0 if is_right else 1
