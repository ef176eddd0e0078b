"""`sway prefetch`: download the models that a spec names."""

import argparse

from sway_gate.commands._common import Add, load, print_text, spec_argument


def add_to(add: Add) -> None:
    prefetch = add(
        "prefetch",
        _prefetch,
        "Download the models that a spec names.",
        "sway prefetch sway.yaml",
    )
    prefetch.set_defaults(online=True)
    spec_argument(prefetch)


def _prefetch(args: argparse.Namespace) -> int:
    from sway_gate.gate.prefetch import prefetch

    return print_text("\n".join(prefetch(load(args))))
