"""Caches that others can have written."""

import hashlib

from tests.hostile.case import Case, Content, folder, pipe, sparse, to

IN_PLACE = {"SWAY_CACHE_DIR": "{here}/cache"}
KEY = "0" * 64


def forged(data: bytes) -> bytes:
    """An entry as it looks without an HMAC."""
    return b"sway-gate cache 3\n" + hashlib.sha256(data).digest() + data


def shown(name: str, words: str, files: dict[str, Content], code: int = 0, **env: str) -> Case:
    return Case(name, "cache", code, words, files, env=IN_PLACE | env)


def cleared(name: str, words: str, files: dict[str, Content], *gone: str) -> Case:
    return Case(name, "cache clear", 0, words, files, env=IN_PLACE, writes=gone)


CASES = [
    shown("none", "0 entries", {}),
    shown("in a work tree", "git work tree", {".git": folder, "cache": folder}),
    shown("in a linked work tree", "git work tree", {".git": "gitdir: elsewhere\n"}),
    shown("short key", "fewer than 16 characters", {}, SWAY_CACHE_KEY="short"),
    shown("key for all to read", "mode 600", {"cache/key": b"k" * 32}),
    shown("key is a link", "mode 600", {"cache/key": to("../.git-credentials")}),
    shown("key is a pipe", "mode 600", {"cache/key": pipe}),
    shown("key is a folder", "mode 600", {"cache/key": folder}),
    shown("cache is a file", "0 entries", {"cache": "x"}),
    shown("cache is a pipe", "0 entries", {"cache": pipe}),
    shown("cache links to itself", "0 entries", {"cache": to("cache")}),
    shown("verdicts link to the parent", "0 entries", {"cache/verdicts": to("..")}),
    shown("entry is a link", "1 entry", {f"cache/verdicts/{KEY}": to("../../.git-credentials")}),
    shown("forged verdict", "1 entry", {f"cache/verdicts/{KEY}": forged(b"PASS")}),
    shown("sparse entry", "1 entry", {f"cache/verdicts/{KEY}": sparse(10**12)}),
    shown("foreign names", "0 entries", {"cache/verdicts/\x1b[2J": "x", "cache/readings/..x": "y"}),
    cleared(
        "clear a forged verdict",
        "removed 1 entry",
        {f"cache/verdicts/{KEY}": forged(b"")},
        f"cache/verdicts/{KEY}",
    ),
    cleared(
        "clear removes no other file",
        "removed 0 entries",
        {"cache/notes.txt": "mine", "cache/verdicts/notes": "x"},
    ),
    cleared(
        "clear follows no link",
        "removed 0 entries",
        {"cache/verdicts": to("../other"), f"other/{KEY}": "mine"},
    ),
    cleared(
        "clear removes the link only",
        "removed 1 entry",
        {f"cache/verdicts/{KEY}": to("../../other"), "other": "mine"},
        f"cache/verdicts/{KEY}",
    ),
    Case("clear of the root", "cache clear", 0, "removed 0 entries", env={"SWAY_CACHE_DIR": "/"}),
]
