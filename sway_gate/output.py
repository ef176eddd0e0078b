"""Where results go: standard output and error, and files that appear whole or not at all."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sway_gate.errors import SwayError, UsageError

STDOUT = "-"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# What GitHub's runner takes for a command of its own: :: at the start of a line of a log, ##[ anywhere.
_COMMAND = re.compile(r"^([^\S\n]*):(?=:)|#(?=#\[)", re.MULTILINE)


def say(text: str, stream: TextIO | None = None) -> None:
    """Write `text` to `stream`, standard output by default. A reader that has left is no error. No name or message from
    a file becomes a workflow command in a log: its first character is spelled out."""
    stream = stream or sys.stdout
    try:
        stream.write(_COMMAND.sub(_spelled, text))
        stream.flush()
    except OSError as error:
        _leave_to_silence(stream, error)


def _spelled(match: re.Match[str]) -> str:
    return rf"{match[1]}\x3a" if match[1] is not None else r"\x23"


def say_bytes(data: bytes) -> None:
    """Write `data` to standard output as it is."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        _leave_to_silence(sys.stdout, error)


def _leave_to_silence(stream: TextIO, error: OSError) -> None:
    """Point a stream whose reader has left to nowhere, so that the exit code stays the verdict's."""
    has_left = isinstance(error, BrokenPipeError) or (
        sys.platform == "win32" and error.errno == errno.EINVAL
    )
    if not has_left:
        raise SwayError(f"cannot write the output: {error.strerror or error}") from None
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def prepare_streams() -> None:
    """Standard output and error that take any text: closed ones lead nowhere, poor encodings get escapes."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def has_color(stream: TextIO) -> bool:
    """NO_COLOR, then FORCE_COLOR, then whether `stream` is a terminal that knows colours."""
    if os.environ.get("NO_COLOR"):
        return False
    if (forced := os.environ.get("FORCE_COLOR")) is not None:
        return forced not in ("", "0", "false")
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def is_ascii(stream: TextIO) -> bool:
    """Whether the encoding of `stream` lacks the characters of the reports' drawings."""
    try:
        "σλ≥▏⣿".encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def check_targets(
    targets: Mapping[str, str | None], inputs: Sequence[str | None], *, specs: bool = False
) -> None:
    """Raise UsageError, before hours of measuring, where a file of `targets` (option -> path) cannot be written,
    is one of the `inputs`, or is meant twice. `specs`: the targets are specs, and may be named so."""
    taken = {_real(path): f"the input {path}" for path in inputs if path and path != STDOUT}
    for option, path in targets.items():
        if path is None:
            continue
        if wrong := _obstacle(path, specs):
            raise UsageError(f"{option} {path}: {wrong}")
        place = path if path == STDOUT else _real(path)
        if place in taken and not _is_special(path):
            raise UsageError(f"{option} {path} would overwrite {taken[place]}; name another file")
        taken[place] = f"what {option} writes"


def _obstacle(path: str, specs: bool) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    if path == STDOUT:
        return ""
    if not path or "\0" in path:
        return "is no name of a file"
    if os.path.isdir(path):
        return "is a folder; name a file in it"
    if not specs and name.lower().endswith((".yaml", ".yml")):
        return "has the name of a spec, not of a report; write the option after the spec, or as OPTION=FILE"
    if name in _ADAPTER_FILES:
        return "has the name of an adapter's file; name another file"
    if not os.path.isdir(folder):
        return f"there is no folder {folder}; make it first"
    if _is_too_long(path):
        return "is too long a name; choose a shorter one"
    if not os.access(folder, os.W_OK | os.X_OK) and not _is_special(path):
        return f"the folder {folder} cannot be written"
    return ""


def _is_too_long(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _real(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def _is_special(path: str) -> bool:
    """Whether `path` is a device or a pipe: what is written to, never replaced."""
    return os.path.exists(path) and not os.path.isfile(path)


def write(path: str, data: bytes) -> None:
    """Write `data` to the file `path`, in one step, or to standard output for '-'."""
    if path == STDOUT:
        say_bytes(data)
        return
    try:
        if _is_special(path):
            Path(path).write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise SwayError(f"cannot write {path}: {error.strerror or error}") from None


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".sway-{os.urandom(6).hex()}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(data)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


Progress = Callable[[str, int, int], None]
"""Called with the phase, how much of it is done, and its total (0 where that is unknown)."""


def silent(phase: str, done: int, total: int) -> None:
    """Tell nobody."""


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Progress]:
    """A progress bar that vanishes at the end; `silent` where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=None)
            bar.update(tasks[phase], completed=done, total=total or None)  # type: ignore[arg-type]

        yield show
