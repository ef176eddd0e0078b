"""Write readable YAML: data dumped by the library, with comments between the blocks.

The library writes all values, so that every text is read back unchanged.
"""

import re
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any, Final

import yaml

from sway_gate.text import escaped

_WIDTH: Final = 116
_COMMAND: Final = re.compile(r"::|##\w*\[")


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key; escapes line ends and all other unprintable characters.

    A text with a workflow command is quoted, because `sway_gate.output` can escape it there only.
    """

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_plain = text.isprintable() and not _COMMAND.search(text)
    style = None if is_plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def block(value: Mapping[str, Any] | list[Any], indent: int = 0) -> str:
    """`value` as YAML, with each line indented by `indent` spaces; no character is invisible."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    lines = escaped(text).rstrip("\n").split("\n")
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def comment(paragraphs: Iterable[str], indent: int = 0) -> str:
    """Comment lines, wrapped, each paragraph on new lines; unprintable characters are escaped."""
    lines: list[str] = []
    for text in paragraphs:
        lines += wrap(_printable(text), _WIDTH - indent, break_on_hyphens=False)
    return "".join(f"{' ' * indent}# {line}\n" for line in lines)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
