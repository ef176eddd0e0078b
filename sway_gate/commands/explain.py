"""`sway explain`, `probes` and `schema`: what the words of suites and reports mean."""

import argparse
import json
import os
import re
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sway_gate.commands import MODULES
from sway_gate.commands._common import Add, print_json, print_text
from sway_gate.commands._parser import near
from sway_gate.errors import UsageError
from sway_gate.spec import DEFAULT_SPEC
from sway_gate.text import cut, one_line

if TYPE_CHECKING:
    from sway_gate.judge.diagnosis import Entry
    from sway_gate.spec.schema import ProbeSpec

_WIDTH = 80
_UNLIMITED = 1_000
"""The width of an output that is not a terminal."""


def add_to(add: Add) -> None:
    explain = add(
        "explain",
        _explain,
        "Explain a kind of probe, a probe of a spec, a term of the reports, or a diagnosis.",
        "sway explain delta_kl",
        "sway explain WARN",
        "sway explain never trained",
        "sway explain moved_from_base sway.yaml",
    )
    explain.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="the kind, name, term or diagnosis (default: list all); a spec can follow a name",
    )
    add("probes", _probes, "List the kinds of probes.", "sway probes")
    add("schema", _schema, "Print the JSON Schema of sway.yaml.", "sway schema")


def _explain(args: argparse.Namespace) -> int:
    specs = [word for word in args.words if word.lower().endswith((".yaml", ".yml"))]
    words, spec = [word for word in args.words if word not in specs[:1]], next(iter(specs), None)
    if words:
        return print_text(explanation(" ".join(words), spec))
    return print_text(_list(spec) if spec else _overview())


def explanation(word: str, path: str | None) -> str:
    """The meaning of `word`; of the probe with this name first, if `path` names a spec.

    Raises UsageError if nothing has this name.
    """
    from sway_gate.probes import docs as probe_docs
    from sway_gate.spec.probes import KINDS

    name, kinds, known = _plain(word), {_plain(kind): kind for kind in KINDS}, _known()
    if path and (found := _probe(name, path)):
        return _about_probe(found, path)
    if name in kinds:
        return probe_docs.page(kinds[name])
    if name in known:
        return known[name]
    own = DEFAULT_SPEC if path is None and os.path.isfile(DEFAULT_SPEC) else None
    if own and (found := _probe(name, own)):
        return _about_probe(found, own)
    named = _suite(path or DEFAULT_SPEC) if path or own else ()
    other = near(name, [*kinds, *known, *named])
    hint = f"did you mean {kinds.get(other, other)}?" if other else "`sway explain` lists them"
    if name in MODULES:
        hint = f"it is a command: sway {name} --help"
    raise UsageError(f"{word!r} is not a kind of probe, a name, a term or a diagnosis; {hint}")


def _plain(word: str) -> str:
    """The form in which words are compared: "null adapter" for Null_Adapter."""
    return re.sub(r"[\s_-]+", " ", word).strip().casefold()


# ---------------------------------------------------------------------------- terms and diagnoses


def _known() -> dict[str, str]:
    """The text on each term and each diagnosis, by every spelling of its name."""
    from sway_gate.glossary import TERMS

    found = {}
    for entry in _diagnoses():
        advice = f"\n\nWhat to do: {entry.advice}." if entry.advice else ""
        found[_plain(entry.name)] = _titled(f"{entry.name} (diagnosis)", entry.sentence + advice)
    for term, text in TERMS.items():
        for name in _spellings(term):
            found[_plain(name)] = _titled(term, text)
    return found


def _spellings(term: str) -> list[str]:
    """The names in "z (sigma, σ)"."""
    return re.findall(r"[^(),]+", term)


def _diagnoses() -> "list[Entry]":
    from sway_gate.judge.diagnosis import BELOW, EXPIRED, HEALTHY, NO_FAULT, TABLE, UNDECIDED

    return [*TABLE.values(), HEALTHY, NO_FAULT, BELOW, EXPIRED, UNDECIDED]


def _titled(title: str, text: str) -> str:
    paragraphs = (textwrap.fill(part, _WIDTH) for part in text.split("\n\n"))
    return "\n\n".join([title, *paragraphs])


def _overview() -> str:
    from sway_gate.glossary import TERMS
    from sway_gate.reports.lines import flow

    terms = [re.sub(r" \(.*", "", term) for term in TERMS]
    diagnoses = [entry.name for entry in _diagnoses()]
    return "\n".join(
        [
            _kinds(),
            "Terms",
            "",
            *flow(terms, _WIDTH, " · "),
            "",
            "Diagnoses",
            "",
            *flow(diagnoses, _WIDTH, " · "),
            "",
            "Run `sway explain WORD` for details of one.",
        ]
    )


# ---------------------------------------------------------------------------- probes of a spec


def _suite(path: str) -> "dict[str, ProbeSpec]":
    from sway_gate.spec.load import load_spec

    return {_plain(probe.name): probe for probe in load_spec(path).suite}


def _probe(name: str, path: str) -> "ProbeSpec | None":
    return _suite(path).get(name)


def _about_probe(probe: "ProbeSpec", path: str) -> str:
    """Its position, its settings that are not the defaults, and the page of its kind."""
    from sway_gate.probes import docs as probe_docs

    lines = [f"{one_line(probe.name)}: {probe.kind} in line {probe.line} of {one_line(path)}"]
    lines += [f"  {setting}" for setting in _settings(probe)]
    return "\n".join([*lines, "", probe_docs.page(probe.kind)])


def _settings(probe: "ProbeSpec") -> Iterator[str]:
    import msgspec

    unset = msgspec.to_builtins(msgspec.convert({"name": "any", "kind": probe.kind}, type(probe)))
    for field, value in msgspec.to_builtins(probe).items():
        if field not in ("name", "line") and value != unset[field]:
            yield cut(f"{field}: {one_line(json.dumps(value, ensure_ascii=False))}", _WIDTH - 2)


def _list(path: str) -> str:
    """One line per probe: name, kind and question."""
    from sway_gate.probes import docs as probe_docs

    suite = _suite(path).values()
    rows = [(one_line(p.name), p.kind, probe_docs.probe_doc(p.kind).question) for p in suite]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    table = "".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}\n" for a, b, c in rows)
    return _fitted(table, sum(widths) + 4)


def _fitted(table: str, column: int) -> str:
    """The rows of a table, folded to the width of the terminal; the last column is at `column`."""
    width = max(shutil.get_terminal_size((_UNLIMITED, 24)).columns, _WIDTH)
    indent = " " * column
    rows = (textwrap.fill(row, width, subsequent_indent=indent) for row in table.splitlines())
    return "".join(f"{row}\n" for row in rows)


def _kinds() -> str:
    """One line per kind: name, category, question."""
    from sway_gate.probes import docs as probe_docs

    table = probe_docs.overview()
    name_and_category = re.match(r"\S+ +\S+ +", table)
    return _fitted(table, name_and_category.end() if name_and_category else 0)


def _probes(args: argparse.Namespace) -> int:
    return print_text(_kinds())


def _schema(args: argparse.Namespace) -> int:
    from sway_gate.spec.json_schema import json_schema

    return print_json(json_schema())
