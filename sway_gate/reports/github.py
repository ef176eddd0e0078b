"""Reports for GitHub: the job summary, the comment on a pull request, annotations, action outputs.

Texts come from untrusted files: `sway_gate.reports.markdown` escapes them in Markdown, `command` in
workflow commands.

After the gate, `action.yml` runs ``python -m sway_gate.reports.github FOLDER EXIT_CODE SPEC``.
"""

import hashlib
import html
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from sway_gate.errors import UsageError
from sway_gate.reports import markdown, wording
from sway_gate.reports.json_v1 import from_json
from sway_gate.reports.wording import exit_word, headline
from sway_gate.results import GateResult, ProbeResult, Verdict
from sway_gate.text import cut, one_line

# A comment is limited to 65,536 characters, and an escaped text can be six times as long.
MAX_PROBLEMS = 20
MAX_MESSAGE = 1000  # characters

_POSITION = re.compile(r"(?P<file>.+?):(?P<line>\d+):(?P<col>\d+): (?P<message>.*)")


def summary(result: GateResult) -> str:
    """Render the report as Markdown, with the marker of its spec."""
    return f"{marker(result.spec)}\n\n{markdown.render(result)}"


def error_summary(spec: str, exit_code: int, problems: Sequence[str]) -> str:
    """Render Markdown for a gate that wrote no report."""
    title = f"### sway-gate: {exit_word(exit_code)}"
    return _page(spec, title, f"No verdict for {markdown.text(spec)}:", problems)


def static_summary(command: str, exit_code: int, text: str) -> str:
    """Render Markdown for a static check, whose terminal report is `text`."""
    title = f"### sway-gate: {exit_word(exit_code)}, only the files are checked"
    return _page(command, title, f"{markdown.text(command)}:", text.splitlines())


def _page(name: str, title: str, about: str, texts: Sequence[str]) -> str:
    lines = [cut(one_line(text), markdown.MAX_TEXT) for text in texts[:MAX_PROBLEMS]]
    shown = [html.escape(line) for line in lines]
    if len(texts) > MAX_PROBLEMS:
        shown.append(f"and {len(texts) - MAX_PROBLEMS} more")
    messages = "<pre>\n" + "\n".join(shown) + "\n</pre>"
    return "\n\n".join([marker(name), title, about, messages]) + "\n"


def annotations(result: GateResult, root: Path) -> list[str]:
    """Workflow commands for findings and probes that do not simply pass, at their lines.

    Paths below `root` become relative to it.
    """
    is_file = any(probe.line is not None for probe in result.probes)
    spec = _relative(result.spec, root) if is_file else ""
    found = [
        command(_OF_FINDING[item.level], item.message, file=_relative(item.path, root))
        for item in result.findings
        if item.level in _OF_FINDING
    ]
    shown = [probe for probe in result.probes if probe.verdict in _LEVELS or probe.caveat]
    found += [_annotation(probe, spec) for probe in shown]
    if result.verdict != "pass" and not any(line.startswith("::error") for line in found):
        found.append(command("error", headline(result), file=spec))
    return found


def error_annotations(problems: Iterable[str]) -> list[str]:
    """Workflow commands for error messages, at the position that a message begins with."""
    found = []
    for problem in problems:
        if place := _POSITION.fullmatch(problem):
            position = {key: place[key] for key in ("file", "line", "col")}
            found.append(command("error", place["message"], **position))
        else:
            found.append(command("error", problem))
    return found


def outputs(result: GateResult | None) -> dict[str, str]:
    """Outputs of the action: `verdict` (pass, fail, error), and `score` ("" if there is none)."""
    if result is None:
        return {"verdict": "error", "score": ""}
    score = "" if result.score is None else f"{result.score:.6g}"
    return {"verdict": result.verdict, "score": score}


def command(name: str, message: str, **properties: str) -> str:
    """Format a workflow command on one line; empty properties are omitted.

    Escapes like https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts.
    """
    fields = {"title": "sway-gate"} | properties
    set_fields = {key: one_line(value) for key, value in fields.items() if value}
    listed = ",".join(f"{key}={_property(value)}" for key, value in set_fields.items())
    return f"::{name} {listed}::{_data(cut(one_line(message), MAX_MESSAGE))}"


def marker(spec: str) -> str:
    """First line of a comment, by which the next run finds the comment of the spec."""
    digest = hashlib.sha256(spec.encode("utf-8", "surrogatepass")).hexdigest()
    return f"<!-- sway-gate {digest[:16]} -->"


_OF_FINDING = {"broken": "error", "verdict": "error", "waived": "notice"}
_LEVELS = {
    Verdict.FAIL: "error",
    Verdict.ERROR: "error",
    Verdict.WARN: "warning",
    Verdict.WAIVED: "notice",
}


def _annotation(probe: ProbeResult, spec: str) -> str:
    line = "" if probe.line is None else str(probe.line)
    text = f"{wording.title(probe)}: {wording.issue(probe)}"
    if probe.advice:
        text += f" → {probe.advice}"
    return command(_LEVELS.get(probe.verdict, "notice"), text, file=spec, line=line if spec else "")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _relative(path: str, root: Path) -> str:
    pure = PurePath(path)
    return path and (pure.relative_to(root) if pure.is_relative_to(root) else pure).as_posix()


def _problems(text: str, exit_code: int) -> list[str]:
    """The gate's messages on standard error, without the output of other programs."""
    errors = (line for line in text.splitlines() if line.startswith("error: "))
    return [line.removeprefix("error: ") for line in errors] or [
        f"sway exited with code {exit_code} and wrote no report"
    ]


def _text(path: Path) -> str:
    """The text of a file; "" if it does not exist."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _read(path: Path, root: Path) -> GateResult | None:
    """The report, with paths relative to `root`: readers do not know the runner's folder."""
    folder = json.dumps(os.path.join(root, ""), ensure_ascii=False)[1:-1]
    try:
        report = path.read_bytes()
        return from_json(
            report.replace(folder.encode(errors="replace"), b"") if root.name else report
        )
    except (OSError, UsageError):
        return None


def main(folder: Path, exit_code: int, spec: str) -> None:
    """Print annotations, write FOLDER/summary.md and FOLDER/outputs.txt.

    Reads FOLDER/report.json or, if it is not a report, FOLDER/errors.txt. FOLDER/static.txt is the
    report of a static check.
    """
    result = _read(folder / "report.json", Path.cwd())
    found, problems = outputs(result), _problems(_text(folder / "errors.txt"), exit_code)
    if result is not None:
        commands, page = annotations(result, Path.cwd()), summary(result)
    elif checked := _text(folder / "static.txt"):
        page = static_summary(spec, exit_code, checked)
        commands = error_annotations(checked.splitlines()[:1]) if exit_code else []
        found["verdict"] = exit_word(exit_code).split()[0].lower()
    else:
        commands, page = error_annotations(problems), error_summary(spec, exit_code, problems)
    (folder / "summary.md").write_text(page, encoding="utf-8")
    lines = [f"{key}={value}\n" for key, value in found.items()]
    (folder / "outputs.txt").write_text("".join(lines), encoding="utf-8")
    sys.stdout.write("".join(f"{line}\n" for line in commands))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
