"""`sway demo`: gate the packaged demo adapters."""

import argparse

from sway_gate.commands._common import Add, deliver, measuring, print_text, quiet_argument


def add_to(add: Add) -> None:
    demo = add("demo", _demo, "Gate a healthy and an untrained demo adapter, offline.", "sway demo")
    demo.exit_codes = "exit codes: 0 both verdicts are right, 1 this installation is broken"
    quiet_argument(demo, "the verdicts and failed probes")


def _demo(args: argparse.Namespace) -> int:
    """Gate both demo adapters. Return 0 if the healthy one passes and the untrained one fails."""
    from sway_gate import demo
    from sway_gate.gate.run import run_gate
    from sway_gate.spec.load import load_spec

    print_text(
        "Two adapters of a tiny model. All files are in this package; nothing is downloaded."
    )
    verdicts = []
    for title, path in demo.specs():
        print_text(f"\n== {title}\n$ sway gate {path}\n")
        with measuring(args) as (options, progress):
            result = run_gate(load_spec(path), options, progress)
        deliver(args, result)
        verdicts.append(result.verdict)
    healthy, untrained = verdicts
    verdict = f"\nhealthy adapter: {healthy.upper()}, untrained adapter: {untrained.upper()}"
    if (healthy, untrained) == ("pass", "fail"):
        return print_text(f"{verdict} (as expected)")
    print_text(f"{verdict}; expected PASS and FAIL: this installation is broken; run `sway doctor`")
    return 1
