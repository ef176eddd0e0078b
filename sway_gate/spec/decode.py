"""Decodes the bytes of a YAML file of limited size."""

from typing import Final

from sway_gate.errors import SpecError

MAX_BYTES: Final = 4 * 2**20


def decoded(data: bytes, label: str) -> str:
    """The text of `data`, at most MAX_BYTES of UTF-8. Raises SpecError."""
    if len(data) > MAX_BYTES:
        raise SpecError(
            [f"{label}: larger than {MAX_BYTES // 2**20} MiB; move long texts to files under data"]
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError([f"{label}:{line}:1: not UTF-8 text; save the file as UTF-8"]) from None
