"""Join answers to one prompt that have different labels (KTO) to preferences."""

from collections.abc import Iterator
from typing import Final

from sway_gate.spec.schema import Pair, Preference
from sway_gate.text import counted
from sway_gate.training_data.files import Note
from sway_gate.training_data.forms import Labelled

MAX_CHARS: Final = 2**27
"""Characters of answers that wait for an answer with the other label; later ones are left out."""

Placed = tuple[str, Pair]
"""A file with its line, and the answer there."""


class Labels:
    """Collects labelled answers by their prompts."""

    def __init__(self) -> None:
        self._by_prompt: dict[object, tuple[list[Placed], list[Placed]]] = {}
        self._chars = self._beyond = 0

    def add(self, where: str, found: Labelled) -> None:
        pair = found.pair
        self._chars += len(pair.prompt) + len(pair.gold)
        if self._chars > MAX_CHARS:
            self._beyond += 1
            return
        key = (pair.prompt, pair.conversation)
        self._by_prompt.setdefault(key, ([], []))[found.is_wanted].append((where, pair))

    def joined(self, note: Note) -> Iterator[tuple[str, Pair | Preference]]:
        """Preferences, then wanted answers without a counterpart; each with its file and line."""
        joined = kept = dropped = 0
        for unwanted, wanted in self._by_prompt.values():
            both = min(len(unwanted), len(wanted))
            joined, kept, dropped = joined + both, kept + len(wanted), dropped + len(unwanted)
            for (where, pair), (_, other) in zip(wanted, unwanted, strict=False):
                yield where, _preference(pair, other)
            yield from wanted[both:]
        if joined:
            note(f"{counted(joined, 'prompt')} with both labels became preferences")
        if kept > joined:
            note(f"wanted answers without an unwanted one are used as examples ({kept - joined:,})")
        if dropped > joined:
            note(f"unwanted answers without a wanted one are left out ({dropped - joined:,})")
        if self._beyond:
            note(f"later answers with labels are left out ({self._beyond:,})")


def _preference(wanted: Pair, unwanted: Pair) -> Preference:
    return Preference(
        prompt=wanted.prompt,
        chosen=wanted.gold,
        rejected=unwanted.gold,
        form=wanted.form,
        conversation=wanted.conversation,
    )
