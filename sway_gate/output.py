"""Standard output and error, and files that are written completely or not at all."""

import errno
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from sway_gate.errors import SwayError, UsageError
from sway_gate.files import read_regular
from sway_gate.text import one_line

STDOUT = "-"
ABANDONED_S = 3600
"""Age at which a draft is one of a killed process: to write it takes seconds."""
LINE_SECONDS = 15
"""Time between two lines of progress, if there is no terminal."""
_KNOWN_FROM = 0.05
"""Share of a phase from which on the remaining time is shown."""
_DRAFT = re.compile(r"\.sway-[0-9a-f]{12}\.tmp")
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapters.safetensors")
# Runners execute these in a log: GitHub's :: at the start of a line, also after a carriage return,
# and ##[ anywhere; others ##vso[ and ##teamcity[.
_COMMAND = re.compile(r"(?:^|(?<=\r))([^\S\n]*):(?=:)|#(?=#\w*\[)", re.MULTILINE)

_DATA = frozenset((".arrow", ".csv", ".dlm", ".gz", ".jsonl", ".npz", ".parquet", ".tsv", ".zst"))
_MODELS = frozenset((".bin", ".gguf", ".pt", ".pth", ".safetensors"))
_CODE = frozenset((".ipynb", ".py", ".sh", ".toml", ".yaml", ".yml"))
_OTHERS = _DATA | _MODELS | _CODE
"""Endings that no report has."""
_HEAD_BYTES = 8192
_REPORT = re.compile(
    rb"""\s*(
        \{\s*"schema_version":\ 1,
        | \#\#\#\ sway-gate
        | \*\*[^\n]*\*\*\n.*^\|\ \ \|\ (probe\ \|\ verdict|gate\ \|\ composite)\ \|
        | <!doctype\ html>.*\(sway-gate\)</title>
        | <\?xml[^>]*>\s*<testsuites\ [^>]*>\s*<testsuite\ [^>]*>\s*<properties>\s*
          <property\ name="(score|threshold)"
        | \{\s*"\$schema":[^\n]*sarif.*"name":\ "sway-gate"
        | \[\s*(\]\s*\Z|\{\s*"check_name":\ )
    )""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
"""How a report begins: JSON, Markdown, comparisons and fleets, HTML, JUnit, SARIF, Code Quality. A
Code Quality report without issues is an empty list."""
_OTHER_OUTPUT = re.compile(
    rb"""\s*(
        \{"event":"start",
        | \{\s*"sway_gate":\ "
        | \[\s*\{\s*"schema_version":\ 1,
        | \#\ sway\ trace\n
        | ---\nmodel-index:\n.*type:\ sway-gate\n
        | (PASS|FAIL|ERROR|MOVED)[ ]{2}
        | \d+\ results?,\ \d+\ passed
        | [^\n]*\n(loading\ [^\n]*\ forward\ passes|no\ forward\ passes)
    )""",
    re.VERBOSE | re.DOTALL,
)
"""How the other outputs begin: traces, `sway doctor`, `sway static`, model cards, and text."""
_SPECS, _TRACES = frozenset((".yaml", ".yml")), frozenset((".jsonl",))

TERMINAL, YAML, JSON, MARKUP = r"\x{:02x}", r"\x{:02x}", r"\u{:04x}", "&#{};"
"""How a text, YAML, JSON, and HTML, XML or Markdown write a character by its number."""


def say(text: str, stream: TextIO | None = None) -> None:
    """Write `text` to `stream`, by default to standard output. A closed pipe is not an error.

    The first character of a workflow command is escaped, so that no name or message from a file is
    executed by a CI runner.
    """
    stream = stream or sys.stdout
    try:
        stream.write(_without_commands(text, TERMINAL))
        stream.flush()
    except OSError as error:
        _discard(stream, error)


def _without_commands(text: str, form: str) -> str:
    def escaped(match: re.Match[str]) -> str:
        return (match[1] or "") + form.format(ord(":" if match[1] is not None else "#"))

    return _COMMAND.sub(escaped, text)


def _write_stdout(data: bytes, form: str) -> None:
    """Write `data` to standard output, with workflow commands escaped in `form`."""
    try:
        sys.stdout.flush()
        text = _without_commands(data.decode(), form)
        if hasattr(sys.stdout, "buffer"):
            sys.stdout.buffer.write(text.encode())
            sys.stdout.buffer.flush()
        else:  # a stream of text, as in a notebook
            sys.stdout.write(text)
    except OSError as error:
        _discard(sys.stdout, error)


def _discard(stream: TextIO, error: OSError) -> None:
    """Redirect a stream that failed to the null device. Raises SwayError if the disk is full.

    A closed pipe does not change the exit code.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    is_closed = isinstance(error, BrokenPipeError) or (
        sys.platform == "win32" and error.errno == errno.EINVAL
    )
    if not is_closed:
        raise SwayError(f"cannot write the output: {error.strerror or error}") from None


def prepare_streams() -> None:
    """Make the standard streams usable even if they are closed; any text can be written."""
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115  stays open
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  stays open
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def has_color(stream: TextIO) -> bool:
    """Whether to use color: by NO_COLOR, FORCE_COLOR, and whether `stream` is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if (forced := os.environ.get("FORCE_COLOR")) is not None:
        return forced not in ("", "0", "false")
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def is_ascii(stream: TextIO) -> bool:
    """Whether the encoding of `stream` lacks the characters of the reports' plots."""
    try:
        "σλ≥▏⣿".encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def check_targets(
    targets: Mapping[str, str | None],
    inputs: Sequence[str | None],
    models: Sequence[str] = (),
    *,
    specs: bool = False,
) -> None:
    """Check the files of `targets` (option -> path) before anything is measured.

    Raises UsageError if a file cannot be written, is one of the `inputs` or below one, is in one of
    the folders `models`, is given twice, or exists, is not empty, and does not begin like an output
    of this package or has the ending of data, models or code. `specs`: the targets are specs, which
    can have the name of one and whose content is not checked.
    """
    taken = dict[str, str]()
    for path in inputs:
        if path and path != STDOUT:
            taken |= dict.fromkeys(_identities(path), f"the input {path}")
    for option, path in targets.items():
        if path is None:
            continue
        if wrong := _obstacle(path, specs):
            raise UsageError(f"{option} {path}: {wrong}")
        places = {path} if path == STDOUT else _identities(path)
        known = next((taken[place] for place in places if place in taken), "")
        if known and not _is_special(path):
            raise UsageError(f"{option} {path} would overwrite {known}; name another file")
        for folder in (*filter(None, inputs), *models):
            if _is_in(path, folder, any_depth=folder not in models):
                raise UsageError(f"{option} {path} is in {folder}, an input; name a file elsewhere")
        own = _SPECS if specs else _TRACES if option == "--trace" else frozenset()
        is_foreign = _is_other(Path(os.path.realpath(path)), own) or not (specs or _is_own(path))
        if _has_content(path) and is_foreign:
            raise UsageError(
                f"{option} {path} would overwrite a file that is not a report; name another file, "
                "or delete this one"
            )
        taken |= dict.fromkeys(places, f"the file of {option}")


def clear_targets(
    targets: Mapping[str, str | None],
    inputs: Sequence[str | None],
    models: Sequence[str] = (),
) -> None:
    """Check the files of `targets`, and remove the reports of earlier runs there.

    After an error, no report of another run then stands for this one. Only files that contain a
    report are removed: an unread spec can still name the others as inputs. Raises like
    `check_targets`.
    """
    check_targets(targets, inputs, models)
    for path in filter(None, targets.values()):
        if _is_report(path):
            try:
                os.unlink(os.path.realpath(path))
            except OSError as error:
                raise SwayError(f"cannot remove {path}: {error.strerror or error}") from None


def _is_report(path: str) -> bool:
    return bool(_REPORT.match(_head(path)))


def _is_own(path: str) -> bool:
    """Whether the file begins like an output of this package, or with nothing but white space.

    What cannot be read is not known to be one.
    """
    head = _head(path)
    is_blank = bool(head) and not head.strip()
    return is_blank or bool(_REPORT.match(head) or _OTHER_OUTPUT.match(head))


def _head(path: str) -> bytes:
    """The beginning of a file; nothing if it cannot be read."""
    if path == STDOUT or not os.path.isfile(path):
        return b""
    try:
        return read_regular(path, _HEAD_BYTES)
    except OSError:
        return b""


def _obstacle(path: str, specs: bool) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    if path == STDOUT:
        return ""
    if not path or "\0" in path:
        return "is not a file name"
    if os.path.isdir(path):
        return "is a folder; name a file in it"
    if not specs and name.lower().endswith((".yaml", ".yml")):
        return (
            "has the name of a spec, not of a report; put the option after the spec "
            "or write OPTION=FILE"
        )
    if name in _ADAPTER_FILES:
        return "has the name of an adapter's file; choose another name"
    if not os.path.isdir(folder):
        return f"the folder {folder} does not exist; create it first"
    if _is_too_long(path):
        return "is too long; choose a shorter name"
    if not os.access(folder, os.W_OK | os.X_OK) and not _is_special(path):
        return f"the folder {folder} is not writable"
    return ""


def _is_too_long(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _identities(path: str) -> set[str]:
    """What two names of one file have in common: the real path, and the inode of hard links."""
    found = {os.path.normcase(os.path.realpath(path))}
    try:
        file = os.stat(path)
    except OSError:
        return found
    return found | {f"{file.st_dev}:{file.st_ino}"} if file.st_ino else found


def _is_in(path: str, folder: str, any_depth: bool) -> bool:
    """Whether the file `path` is directly in `folder` or, at any depth, below it."""
    parents = Path(os.path.realpath(path)).parents
    return path != STDOUT and Path(os.path.realpath(folder)) in parents[: None if any_depth else 1]


def _has_content(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) > 0


def _is_other(path: Path, own: frozenset[str]) -> bool:
    """Whether its name is one of data, models, code or settings, but not of the output's `own`."""
    is_setting = path.name.startswith(".") and not path.suffix
    return is_setting or path.suffix.lower() in _OTHERS - own


def _is_special(path: str) -> bool:
    """Whether `path` is a device or a pipe: what is written to, never replaced."""
    return os.path.exists(path) and not os.path.isfile(path)


def write(path: str, data: bytes, form: str = TERMINAL) -> None:
    """Write `data` to the file `path` atomically, or to standard output if it is '-'.

    On standard output workflow commands are escaped in the `form` of the data.
    """
    if path == STDOUT:
        _write_stdout(data, form)
        return
    try:
        if _is_special(path):
            Path(path).write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise SwayError(f"cannot write {path}: {error.strerror or error}") from None


def _replace(path: Path, data: bytes) -> None:
    _remove_abandoned(path.parent)
    draft = path.with_name(f".sway-{os.urandom(6).hex()}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(data)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _remove_abandoned(folder: Path) -> None:
    """Remove the drafts of killed processes."""
    for draft in folder.glob(".sway-*.tmp"):
        with suppress(OSError):  # another process removed it, or owns it
            if _DRAFT.fullmatch(draft.name) and draft.lstat().st_mtime < time.time() - ABANDONED_S:
                draft.unlink()


Progress = Callable[[str, int, int], None]
"""Called with the phase, the amount done, and the total (0 if it is unknown)."""


def silent(phase: str, done: int, total: int) -> None:
    """Report no progress."""


class _Pace:
    """Describes each phase: the share that is done, and the time that the rest will take.

    The time starts again whenever nothing is done yet.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()

    def text(self, phase: str, done: int, total: int) -> str:
        """Such as "measuring knowledge: 25% of 43,406 tokens, about 2 min left"."""
        phase, now = one_line(phase), time.monotonic()
        if not done:
            self._started = now
        seconds = now - self._started
        if not total:
            return phase
        shown = f"{phase}: {done / total:.0%} of {total:,} tokens"
        if _KNOWN_FROM * total <= done < total:
            shown += f", about {_rounded(seconds * (total - done) / done)} left"
        return shown


def _rounded(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Progress]:
    """A transient progress bar; if stderr is not a terminal, a line every 15 seconds."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _lines()


def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    # Names of probes are not markup.
    pace, columns = _Pace(), (BarColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(phase: str, done: int, total: int) -> None:
            text = pace.text(phase, done, total)
            bar.update(task, completed=done, total=total or None, description=text)

        yield show


def _lines() -> Progress:
    pace, last = _Pace(), time.monotonic()

    def show(phase: str, done: int, total: int) -> None:
        nonlocal last
        text = pace.text(phase, done, total)
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            with suppress(SwayError):  # standard error is full; the run continues
                say(f"{text}\n", sys.stderr)

    return show
