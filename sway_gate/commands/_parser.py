"""The parser of the command line: a short usage, examples, and messages that name what is near."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from sway_gate import output
from sway_gate.errors import SwayError
from sway_gate.text import cut, one_line

_IN_SPEC: Final = {"base": "models.base", "data": "data", "held-out": "held_out"}
"""Options of the commands without a spec, and the fields that replace them."""
_MAX_ERROR: Final = 500
_NO_VALUE: Final = re.compile(r"argument (?:-\w/)?(-[\w-]+)\S*: expected (at least )?one argument")
COMMON: Final = "options of every command"
Arguments = argparse._ActionsContainer
"""A parser, or a group of its arguments."""
_NEAR: Final = 0.75
"""Least similarity of a name that is suggested, as difflib measures it."""


def near(name: str, known: Iterable[str]) -> str:
    """The known name that is most similar to `name`; "" if none is near."""
    import difflib

    by_lower = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=_NEAR)
    return by_lower[found[0]] if found else ""


class _Help(argparse.HelpFormatter):
    """Fills each line of a text by itself; indented lines remain as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        lines = text.splitlines()
        return "\n".join(s if s.startswith(" ") else fill(s, width, indent) for s in lines)


class Parser(argparse.ArgumentParser):
    """Its messages cannot forge lines, colors or workflow commands: they quote arguments."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)
        self.examples: Sequence[str] = ()
        self.exit_codes = ""
        self.collects = ""
        """The argument that also takes the values after options, as pre-commit appends them."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Unlike argparse, report an unknown option before what it makes a command lack."""
        given: list[str] = list(sys.argv[1:] if args is None else args)
        self._refuse_unknown(given)
        found, unexpected = super().parse_known_args(given, namespace)
        if unexpected and self.collects:
            setattr(found, self.collects, [*getattr(found, self.collects), *unexpected])
            return found, []
        if unexpected:
            remedy = self._remedy([getattr(found, "spec", ""), *unexpected])
            self.error(f"unexpected argument {unexpected[0]!r}{remedy}")
        return found, unexpected

    def _remedy(self, given: Sequence[str]) -> str:
        """What to do about too many arguments: the base, or the spec's adapter, needs an option."""
        option = self._option_string_actions.get("--adapter")
        are_specs = all(path.endswith((".yaml", ".yml")) for path in given)
        if option and option.metavar == "ADAPTER" and not are_specs:
            return f"; for example: {self.prog} sway.yaml --adapter ADAPTER"
        if option and option.metavar == "ADAPTER" and len(given) > 1:
            return f"; to judge several specs: sway fleet {' '.join(given)}"
        if "--base" in self._option_string_actions and os.path.isdir(given[-1]):
            return f"; a base is given with --base {given[-1]}"
        return self._example()

    def _refuse_unknown(self, arguments: Sequence[str]) -> None:
        known = self._option_string_actions
        for argument in arguments:
            if argument == "--" or (self._subparsers and not argument.startswith("-")):
                return  # the rest are values, or the options of a command
            if argument.startswith("-") and argument != "-" and os.path.lexists(argument):
                self.error(f"{argument} is an option and a file; rename the file")
            name = argument.partition("=")[0]
            is_option = re.fullmatch(r"--?[A-Za-z][^\s]*", name)
            if is_option and name not in known and not self._is_joined(name):
                self.error(f"unknown option {name}; {self._suggested(name, known)}")

    def _is_joined(self, name: str) -> bool:
        """Whether a short option has its value or other short options attached: -n5, -qv."""
        known = self._option_string_actions
        if name[:2] not in known or name.startswith("--"):
            return False
        return known[name[:2]].nargs != 0 or all(f"-{letter}" in known for letter in name[1:])

    def _suggested(self, name: str, known: Iterable[str]) -> str:
        formats, word = self._option_string_actions.get("--format"), name[2:]
        if formats and word in (formats.choices or ()):
            return f"use --format {word}, or -o FILE"
        if word.upper() in [a.metavar for a in self._actions if not a.option_strings]:
            return f"write {word.upper()} without it{self._example()}"
        if word in _IN_SPEC and any("SPEC" in str(a.metavar) for a in self._actions):
            return f"set {_IN_SPEC[word]} in the spec"
        found = near(name, known)
        return f"did you mean {found}?" if found else f"`{self.prog} --help` lists the options"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = list(action.choices or ())
        if choices and value not in choices:
            found = near(str(value), choices)
            example = "" if action.option_strings else self._example()
            hint = f"; did you mean {found}?" if found else example
            raise argparse.ArgumentError(
                action, f"must be {' or '.join(choices)}, got {value!r}{hint}"
            )

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Unlike argparse, refuse "": a variable of a script that is not set names no file."""
        if "" in arg_strings and action.nargs != argparse.PARSER:
            raise argparse.ArgumentError(action, "is empty; give a value, or leave it out")
        return super()._get_values(action, arg_strings)

    def _example(self) -> str:
        return f"; for example: {self.examples[0]}" if self.examples else ""

    def error(self, message: str) -> NoReturn:
        if found := _NO_VALUE.fullmatch(message):
            action = self._option_string_actions[found[1]]
            value = action.metavar or "|".join(map(str, action.choices or ()))
            message = f"{found[1]} needs a value: {found[1]} {value}"
        is_incomplete = message.startswith("the following arguments are required")
        example = self._example() if is_incomplete else ""
        super().error(cut(one_line(message), _MAX_ERROR) + example)

    def format_usage(self) -> str:
        self.usage = self._short_usage()
        return super().format_usage()

    def format_help(self) -> str:
        self.usage, self.epilog = self._short_usage(), self._after()
        self._action_groups.sort(key=lambda group: group.title == COMMON)  # these come last
        return super().format_help()

    def _after(self) -> str:
        """The examples and the exit codes, below the options."""
        examples = "\n".join(["examples:", *(f"  $ {line}" for line in self.examples)])
        return "\n\n".join(filter(None, [examples, self.exit_codes]))

    def _short_usage(self) -> str:
        """The usage without the options that can be left out."""
        formatter = self.formatter_class(prog=f"{self.prog} [OPTION]...")
        needed = [a for a in self._actions if a.required or not a.option_strings]
        formatter.add_usage(None, needed, [], prefix="")
        return formatter.format_help().strip().replace("%", "%%")

    def _print_message(self, message: str, file: Any = None) -> None:
        stream = file or sys.stderr
        try:
            output.say(message, stream)
        except SwayError:
            if stream is not sys.stderr:  # standard error is full; the exit code remains
                raise


class Program(Parser):
    """The parser of all commands, which its help lists in groups."""

    def __init__(self, groups: Mapping[str, Iterable[str]], **options: Any) -> None:
        super().__init__(**options)
        self._groups = groups
        self.commands = self.add_subparsers(metavar="COMMAND", parser_class=Parser)

    def format_help(self) -> str:
        summaries = {action.dest: action for action in self.commands._get_subactions()}
        formatter = self._get_formatter()
        formatter.add_usage(self._short_usage(), [], [])
        formatter.add_text(self.description)
        for title, names in self._groups.items():
            formatter.start_section(title)
            formatter.add_arguments([summaries[name] for name in names if name in summaries])
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments([action for action in self._actions if action.option_strings])
        formatter.end_section()
        formatter.add_text(self._after())
        return formatter.format_help()

    def _suggested(self, name: str, known: Iterable[str]) -> str:
        found = near(name, known)
        return f"did you mean {found}?" if found else "give the options of a command after it"

    def _short_usage(self) -> str:
        return f"{self.prog} COMMAND [OPTION]... [ARGUMENT]..."
