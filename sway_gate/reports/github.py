"""The verdict on GitHub: Markdown for the job summary and the pull request, annotations, outputs of the action.

Texts come from files that nobody vouches for. In Markdown they are character references, so that no markup, no link
and no mention is read out of them; in workflow commands they are escaped as the runner unescapes them.

``python -m sway_gate.reports.github FOLDER EXIT_CODE SPEC`` is what `action.yml` runs after the gate.
"""

import hashlib
import html
import math
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from sway_gate.errors import UsageError
from sway_gate.reports import number, one_line, score_text
from sway_gate.reports.machine import from_json
from sway_gate.reports.words import URGENCY, grounds, headline, next_steps
from sway_gate.result import GateResult, ProbeResult, Verdict

# Characters. A comment holds 65,536 of them: the table, and each other text six times over, as escapes.
MAX_TEXT = 300
MAX_TABLE = 40_000
MAX_FINDINGS = 5
MAX_PROBLEMS = 20
MAX_MESSAGE = 1000

COLUMNS = ("", "probe", "score", "value", "z", "what was found")
# What may have a meaning in GitHub's Markdown, or makes a link of an address.
_MARKUP = re.compile(r"[!\"#$&*<>?@[\\\]^`{|}~]|:(?!\s|$)|(?<=www)\.|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)
_POSITION = re.compile(r"(?P<file>.+?):(?P<line>\d+):(?P<col>\d+): (?P<message>.*)")


def summary(result: GateResult) -> str:
    """Markdown: the verdict and its grounds, the first thing to do, a row a probe with the gravest first."""
    parts = [marker(result.spec), f"### sway-gate: {result.verdict.upper()}", _text(" · ".join(grounds(result)))]
    if steps := next_steps(result):
        names, advice = steps[0]
        parts.append(f"**The first thing to do:** {_text(f'{names}: {advice}' if names else advice)}")
    graves = [item for item in result.findings if item.level in URGENCY]
    parts += [f"**{item.level.upper()}** {_text(item.message)} ({_text(item.path)})" for item in graves[:MAX_FINDINGS]]
    probes = sorted(result.probes, key=lambda probe: URGENCY.get(probe.verdict, 3))
    return "\n\n".join([*parts, *([_table(probes)] if probes else [])]) + "\n"


def error_summary(spec: str, exit_code: int, problems: Sequence[str]) -> str:
    """Markdown for a gate that ended without a report."""
    shown = [html.escape(_cut(one_line(problem), MAX_TEXT)) for problem in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        shown.append(f"and {len(problems) - MAX_PROBLEMS} more")
    said = "<pre>\n" + "\n".join(shown) + "\n</pre>"
    title = f"### sway-gate: ERROR (exit code {exit_code})"
    return "\n\n".join([marker(spec), title, f"No verdict on {_text(spec)}:", said]) + "\n"


def annotations(result: GateResult, root: Path) -> list[str]:
    """A workflow command for all that did not pass, at its line of the spec; paths below `root` relative to it."""
    is_file = any(probe.line is not None for probe in result.probes)
    spec = _relative(result.spec, root) if is_file else ""
    found = [
        command("error", item.message, file=_relative(item.path, root))
        for item in result.findings
        if item.level in ("broken", "verdict")
    ]
    found += [_annotation(probe, spec) for probe in result.probes if probe.verdict in _LEVELS]
    if result.verdict != "pass" and not any(line.startswith("::error") for line in found):
        found.append(command("error", headline(result), file=spec))
    return found


def error_annotations(problems: Iterable[str]) -> list[str]:
    """A workflow command for each of the gate's error messages, at its place where the message tells one."""
    found = []
    for problem in problems:
        place = _POSITION.fullmatch(problem)
        text, fields = (place["message"], place.groupdict()) if place else (problem, {})
        found.append(command("error", text, **{key: fields[key] for key in ("file", "line", "col") if key in fields}))
    return found


def outputs(result: GateResult | None) -> dict[str, str]:
    """`verdict` (pass, fail, error) and `score`, empty where there is none."""
    if result is None:
        return {"verdict": "error", "score": ""}
    return {"verdict": result.verdict, "score": "" if result.score is None else f"{result.score:.6g}"}


def command(name: str, message: str, **properties: str) -> str:
    """One line that the runner reads as a command; empty properties are left out.

    The escapes are those of https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts.
    """
    fields = {"title": "sway-gate"} | properties
    said = ",".join(f"{key}={_property(one_line(value))}" for key, value in fields.items() if value)
    return f"::{name} {said}::{_data(_cut(one_line(message), MAX_MESSAGE))}"


def marker(spec: str) -> str:
    """The first line of a comment, by which the next run finds it: one comment a spec."""
    return f"<!-- sway-gate {hashlib.sha256(spec.encode('utf-8', 'surrogatepass')).hexdigest()[:16]} -->"


_LEVELS = {Verdict.FAIL: "error", Verdict.ERROR: "error", Verdict.WARN: "warning"}


def _annotation(probe: ProbeResult, spec: str) -> str:
    line = "" if probe.line is None else str(probe.line)
    text = f"{probe.name} ({probe.kind}): {probe.message}" + (f" → {probe.advice}" if probe.advice else "")
    return command(_LEVELS[probe.verdict], text, file=spec, line=line if spec else "")


def _table(probes: Sequence[ProbeResult]) -> str:
    lines = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    for count, probe in enumerate(probes):
        line = _row(_cells(probe))
        if sum(map(len, lines)) + len(line) > MAX_TABLE:
            return "\n".join(lines) + f"\n\nand {len(probes) - count} more; the JSON report has them all"
        lines.append(line)
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(probe: ProbeResult) -> list[str]:
    name = probe.name if probe.name == probe.kind else f"{probe.name} ({probe.kind})"
    value = f"{number(probe.raw)} {probe.units}" if probe.raw is not None else "–"
    z = f"{probe.z:+.1f}σ" if probe.z is not None and math.isfinite(probe.z) else "–"
    texts = (name, score_text(probe.score), value, z, probe.message)
    return [f"**{probe.verdict.upper()}**", *map(_text, texts)]


def _text(text: str) -> str:
    """`text` as Markdown that shows just that."""
    escaped = _MARKUP.sub(lambda match: f"&#{ord(match[0])};", _cut(one_line(text), MAX_TEXT))
    # GitHub looks for mentions and issues in what is rendered; a space of no width keeps it from finding any.
    return re.sub("(&#(64|35);)", "\\1\u200b", escaped)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _relative(path: str, root: Path) -> str:
    pure = PurePath(path)
    return path and (pure.relative_to(root) if pure.is_relative_to(root) else pure).as_posix()


def _problems(text: str, exit_code: int) -> list[str]:
    """The messages of the gate's standard error, which holds other programs' words too."""
    lines = [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]
    return lines or [f"sway ended with exit code {exit_code}, and without a report"]


def _read(path: Path) -> GateResult | None:
    try:
        return from_json(path.read_bytes())
    except (OSError, UsageError):
        return None


def main(folder: Path, exit_code: int, spec: str) -> None:
    """From FOLDER/report.json and FOLDER/errors.txt: annotations to standard output, FOLDER/summary.md and
    FOLDER/outputs.txt."""
    result = _read(folder / "report.json")
    if result is None:
        problems = _problems((folder / "errors.txt").read_text(encoding="utf-8", errors="replace"), exit_code)
        said, page = error_annotations(problems), error_summary(spec, exit_code, problems)
    else:
        said, page = annotations(result, Path.cwd()), summary(result)
    (folder / "summary.md").write_text(page, encoding="utf-8")
    lines = [f"{key}={value}\n" for key, value in outputs(result).items()]
    (folder / "outputs.txt").write_text("".join(lines), encoding="utf-8")
    sys.stdout.write("".join(f"{line}\n" for line in said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
