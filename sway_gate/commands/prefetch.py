"""`sway prefetch`: download the models that a spec names."""

import argparse

from sway_gate.commands._common import Add, load_confined, no_verdict, print_text, spec_argument


def add_to(add: Add) -> None:
    prefetch = add("prefetch", _prefetch, "Download the models that a spec names.")
    prefetch.set_defaults(online=True)
    spec_argument(prefetch)
    no_verdict(prefetch)


def _prefetch(args: argparse.Namespace) -> int:
    from sway_gate.gate.prefetch import prefetch

    return print_text("\n".join(prefetch(load_confined(args))))
