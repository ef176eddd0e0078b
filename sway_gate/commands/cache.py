"""`sway cache`: where the cache is and how large."""

import argparse

from sway_gate.commands._common import Add, tell


def add_to(add: Add) -> None:
    cache = add("cache", _cache, "Tell where the cache is and how big; clear empties it.")
    cache.add_argument("action", nargs="?", choices=["clear"], metavar="clear")


def _cache(args: argparse.Namespace) -> int:
    from sway_gate import cache

    if args.action == "clear":
        return tell(f"{cache.cache_dir()}: removed {amount(*cache.clear())}")
    return tell(f"{cache.cache_dir()}: {amount(*cache.size())}")


def amount(entries: int, size_bytes: int) -> str:
    """The size of the cache as text: "3 entries, 0.1 MB"."""
    return f"{entries} {'entry' if entries == 1 else 'entries'}, {size_bytes / 1e6:.1f} MB"
