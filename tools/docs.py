"""Write docs/probes/*.md, and the tables between marks in docs/*.md, from the source code.

A probe's page consists of its module's docstring and the fields of its entry in a suite. The other
tables list the fields of structs in sway_gate/spec/. Run this tool after you change one of them.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from sway_gate import probes
from sway_gate.probes import docs as probe_docs
from sway_gate.spec.json_schema import json_schema
from sway_gate.spec.probes import KINDS

DOCS = Path(__file__).parents[1] / "docs"
LONGEST = 120
"""Maximum length of a default in a table, in characters."""
SUITE = re.compile(r"^ {4}- name: .*\n(?: {4}.*\n?)*", re.MULTILINE)
MARKS = re.compile(
    r"(<!-- made by tools/docs\.py: (\w+) (\w+) -->\n).*?(<!-- /made -->)", re.DOTALL
)


def page(kind: str) -> str:
    """Text of the page of one kind of probe."""
    doc = probe_docs.probe_doc(kind)
    return "\n".join(
        [
            f"<!-- made by tools/docs.py from sway_gate/probes/{kind}.py: edit it there -->",
            f"# {kind}",
            "",
            _place(kind, doc.category),
            "",
            SUITE.sub(_fenced, doc.text.strip()),
            "",
            "## Fields",
            "",
            *_table(probe_docs.fields(kind)),
            "",
            "[All probes](../index.md#the-probes) · [How to read the numbers](../reading.md)",
            "",
        ]
    )


def _place(kind: str, category: str) -> str:
    if not probes.is_known(kind):
        return f"Category: {category}."
    about = probes.module(kind).KIND
    must = (
        "A harm probe: its value must stay within a margin."
        if about.harm
        else "An effect probe: its value must exceed the null distribution."
    )
    written = " It generates text with the model, which is slow." if about.generates else ""
    return f"Category: {category}. {must}{written}"


def _fenced(entry: re.Match[str]) -> str:
    return f"```yaml\n{textwrap.dedent(entry[0]).strip()}\n```"


def _table(fields: Iterable[probe_docs.Field]) -> Iterator[str]:
    yield from ("| field | takes | default |", "| --- | --- | --- |")
    for name, takes, default in fields:
        shown = default.removeprefix("default ")
        cell = (
            shown if shown == "required" else f"`{shown}`" if len(shown) <= LONGEST else "as below"
        )
        yield f"| `{name}` | {takes} | {cell} |"


def _probes(_: str) -> Iterator[str]:
    yield from ("| probe | category | question |", "| --- | --- | --- |")
    for kind in KINDS:
        doc = probe_docs.probe_doc(kind)
        yield f"| [`{kind}`](probes/{kind}.md) | {doc.category} | {doc.question} |"


def _fields(struct: str) -> Iterator[str]:
    schema = json_schema()
    definition = schema if struct == "SpecFile" else schema["$defs"][struct]
    return _table(probe_docs.described(definition, schema["$defs"]))


_TABLES = {"probes": _probes, "fields": _fields}


def filled(text: str) -> str:
    """`text` with the generated tables between its marks."""
    return MARKS.sub(
        lambda mark: "\n".join([mark[1], *_TABLES[mark[2]](mark[3]), "", mark[4]]), text
    )


def pages() -> dict[Path, str]:
    """Contents of every page that this tool writes or fills, by path."""
    written = {DOCS / "probes" / f"{kind}.md": page(kind) for kind in KINDS}
    return written | {
        path: filled(path.read_text(encoding="utf-8")) for path in sorted(DOCS.glob("*.md"))
    }


def main() -> None:
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
