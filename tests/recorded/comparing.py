"""Compare recordings: exactly on the same machine, otherwise with a tolerance for numbers."""

import difflib
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

ABSOLUTE = 1e-3
"""Smallest magnitude for the relative tolerance; smaller numbers are compared as if they had it."""
SHOWN = 30
"""Maximum number of lines of a reported difference."""
_LIBRARIES = ("numpy", "torch", "transformers", "peft", "sentence-transformers", "scikit-learn")
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
_DRAWN = re.compile(r"[▀-▟⠀-⣿]+")
_SPACES = re.compile(r"[ \t]+")


def machine() -> dict[str, str]:
    """Properties of the machine on which the exact numbers of a measurement depend."""
    import torch

    return {
        "cpu": _cpu(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "system": sys.platform,
        "python": python(),
        **{name: _version(name) for name in _LIBRARIES},
    }


def python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _cpu() -> str:
    """Name of the CPU model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    parted = (line.partition(":") for line in lines)
    facts = {name.strip(): value.strip() for name, _, value in parted}
    wanted = ("model name", "cpu family", "model", "stepping")
    return " ".join(facts[name] for name in wanted if name in facts) or platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def differences(
    held: Mapping[str, str], now: Mapping[str, str], rounding: float | None = None
) -> Iterator[str]:
    """A description of each recording that is missing, new or different.

    `rounding` is the allowed relative difference of numbers; None compares exactly.
    """
    for name in sorted(held.keys() | now.keys()):
        if name not in now:
            yield f"{name}: recorded, but not produced"
        elif name not in held:
            yield f"{name}: produced, but not recorded"
        elif held[name] != now[name]:
            lines = held[name].splitlines(), now[name].splitlines()
            if rounding is not None:
                lines = lines[0], _forgiven(*lines, rounding)
            if lines[0] != lines[1]:
                yield f"{name}:\n{_diff(*lines)}"


def _forgiven(held: list[str], now: list[str], rounding: float) -> list[str]:
    """`now`, with each line replaced by the recorded one if they differ only by rounding."""
    if len(held) != len(now):
        return now
    pairs = zip(held, now, strict=True)
    return [old if is_alike(old, new, rounding) else new for old, new in pairs]


def is_alike(held: str, now: str, rounding: float) -> bool:
    """Whether the words are equal and the numbers are equal within `rounding`.

    Bars and plots are ignored: they depend on the numbers.
    """
    if _words(held) != _words(now):
        return False
    pairs = zip(_NUMBER.findall(held), _NUMBER.findall(now), strict=True)
    return all(_is_near(a, b, rounding) for a, b in pairs)


def _words(text: str) -> str:
    return _SPACES.sub(" ", _DRAWN.sub("", _NUMBER.sub("#", text)))


def _is_near(held: str, now: str, rounding: float) -> bool:
    """Whether two numbers are equal within `rounding` or one unit of the last digit.

    Whole numbers are counts and must be equal.
    """
    if held == now:
        return True
    if not set(".e") & set(held + now):
        return False
    a, b = (float(text.replace(",", "").replace("−", "-")) for text in (held, now))
    allowed = max(rounding * max(abs(a), abs(b), ABSOLUTE), 1.01 * _unit(held), 1.01 * _unit(now))
    return abs(a - b) <= allowed


def _unit(text: str) -> float:
    """The value of one unit of the last digit of a number."""
    mantissa, _, exponent = text.partition("e")
    places = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - places)


def _diff(held: list[str], now: list[str]) -> str:
    lines = list(difflib.unified_diff(held, now, "recorded", "now", n=2, lineterm=""))
    more = [f"… {len(lines) - SHOWN} more lines"] if len(lines) > SHOWN else []
    return "\n".join(f"  {line[:300]}" for line in [*lines[:SHOWN], *more])
