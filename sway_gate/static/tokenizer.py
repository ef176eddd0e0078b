"""Check the tokenizer in an adapter's folder, and compare it with the base's."""

from collections.abc import Iterator
from pathlib import Path

from sway_gate.model_files import tokens
from sway_gate.results import Finding
from sway_gate.static.findings import broken, finding


def tokenizer_findings(here: Path, base: Path | None) -> Iterator[Finding]:
    """A tokenizer that cannot be read, or whose vocabulary is not the one in the folder `base`."""
    try:
        tokens.added_tokens(here)
    except tokens.Malformed as error:
        yield malformed(error)
        return
    moved, shared = tokens.other_ids(here, base) if base else (0, 0)
    if moved:
        message = f"{moved:,} of {shared:,} tokens have another id in the base's tokenizer"
        message = f"{message}, which is used"
        remedy = "use the base model that the adapter was trained on"
        yield finding("warning", "base-tokenizer", here / tokens.FILE, message, remedy)


def malformed(error: tokens.Malformed) -> Finding:
    message = f"the tokenizer cannot be read: {error.reason}"
    remedy = "copy the file again; without added tokens you can remove it"
    return broken("tokenizer-malformed", error.path, message, remedy)
