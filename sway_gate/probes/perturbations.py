"""Perturbations of a text, by name. Deterministic."""

import re
from collections.abc import Callable, Iterable, Mapping

from sway_gate.spec.probes import Perturbation

_LEAD_IN = "As the following passage puts it: "
_CLAUSE_END = re.compile(r"(?<=[,;:.!?])\s+")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")


def _both_ways(pairs: Mapping[str, str]) -> dict[str, str]:
    return {**pairs, **{second: first for first, second in pairs.items()}}


_SYNONYMS = _both_ways(
    {
        "small": "little",
        "big": "large",
        "begin": "start",
        "begins": "starts",
        "often": "frequently",
        "each": "every",
        "many": "numerous",
        "near": "close to",
        "because": "since",
        "above": "over",
        "below": "under",
        "says": "states",
        "said": "stated",
        "shows": "displays",
        "nobody": "no one",
        "woman": "lady",
        "man": "gentleman",
        "keeps": "maintains",
        "called": "named",
        "about": "roughly",
        "quick": "fast",
        "house": "home",
        "important": "significant",
        "method": "approach",
        "error": "mistake",
    }
)
_REGISTERS = _both_ways(
    {
        "do not": "don't",
        "does not": "doesn't",
        "did not": "didn't",
        "is not": "isn't",
        "are not": "aren't",
        "was not": "wasn't",
        "cannot": "can't",
        "will not": "won't",
        "it is": "it's",
        "that is": "that's",
        "there is": "there's",
        "they are": "they're",
        "we are": "we're",
        "you are": "you're",
        "children": "kids",
        "father": "dad",
        "mother": "mum",
        "however": "but",
        "therefore": "so",
        "must": "has to",
        "may": "might",
        "perhaps": "maybe",
        "receive": "get",
        "purchase": "buy",
        "require": "need",
    }
)


def perturbed(text: str, names: Iterable[Perturbation]) -> dict[str, str]:
    """`text` under each perturbation that changes it and leaves some text."""
    made = {name: _TABLE[name](text) for name in names}
    return {name: other for name, other in made.items() if other.strip() and other != text}


def _typo(text: str) -> str:
    """Swap the two middle letters of the last long word in which they differ."""
    for word in reversed(list(_LONG_WORD.finditer(text))):
        i = (word.start() + word.end()) // 2
        if text[i - 1] != text[i]:
            return text[: i - 1] + text[i] + text[i - 1] + text[i + 1 :]
    return text


def _drop_punct(text: str) -> str:
    return re.sub(r"[^\w\s]", "", text)


def _synonym_swap(text: str) -> str:
    return _exchanged(text, _SYNONYMS)


def _clause_reverse(text: str) -> str:
    return " ".join(reversed(_CLAUSE_END.split(text)))


def _prefix_inject(text: str) -> str:
    return _LEAD_IN + text


def _register_shift(text: str) -> str:
    return _exchanged(text, _REGISTERS)


def _exchanged(text: str, table: Mapping[str, str]) -> str:
    """Replace each word or phrase of `table`, longest first; keep an initial capital."""

    def partner(found: re.Match[str]) -> str:
        other = table[found[0].lower()]
        return other[0].upper() + other[1:] if found[0][0].isupper() else other

    phrases = "|".join(sorted(table, key=len, reverse=True))
    return re.sub(rf"\b(?:{phrases})\b", partner, text, flags=re.IGNORECASE | re.ASCII)


_TABLE: Mapping[Perturbation, Callable[[str], str]] = {
    "typo": _typo,
    "case_flip": str.swapcase,
    "drop_punct": _drop_punct,
    "synonym_swap": _synonym_swap,
    "clause_reverse": _clause_reverse,
    "prefix_inject": _prefix_inject,
    "register_shift": _register_shift,
}
