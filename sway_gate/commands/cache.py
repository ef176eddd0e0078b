"""`sway cache`: show or empty the cache."""

import argparse

from sway_gate.commands._common import Add, print_text


def add_to(add: Add) -> None:
    cache = add(
        "cache",
        _cache,
        "Show the cache's folder and size, or empty it.",
        "sway cache",
        "sway cache clear",
    )
    cache.add_argument(
        "action", nargs="?", choices=["clear"], metavar="clear", help="remove every entry"
    )


def _cache(args: argparse.Namespace) -> int:
    from sway_gate import cache

    if args.action == "clear":
        return print_text(f"{cache.cache_dir()}: removed {amount(*cache.clear())}")
    lines = [f"{cache.cache_dir()}: {amount(*cache.size())}", cache.refusal()]
    return print_text("\n".join(lines))


def amount(entries: int, size_bytes: int) -> str:
    """The size of the cache as text: "3 entries, 0.1 MB"."""
    return f"{entries} {'entry' if entries == 1 else 'entries'}, {size_bytes / 1e6:.1f} MB"
