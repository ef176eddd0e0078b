"""Reports, comparisons and summaries of stored results and traces: no model is loaded."""

import re
from pathlib import Path

from tests.recorded.workshop import NARROW, Workshop

INPUTS = Path(__file__).parent / "inputs"
FORMATS = {"terminal": "txt", "markdown": "md", "junit": "xml", "html": "html", "json": "json"}
RESULTS = sorted(path.stem for path in INPUTS.glob("*.json"))
PAIRS = [
    ("healthy", "sick"),
    ("sick", "healthy"),
    ("healthy", "healthy"),
    ("healthy", "undecided"),
    ("undecided", "healthy"),
    ("golden", "sick"),
    ("healthy", "hostile"),
    ("all_kinds", "healthy"),
]
_STYLE = re.compile(r"<style>\n(.*?)</style>", re.DOTALL)


def bring(work: Workshop) -> None:
    for path in INPUTS.iterdir():
        work.write(path.name, path.read_bytes())


def reports(work: Workshop) -> None:
    """`sway report` in every format; the style of the HTML pages is recorded once."""
    bring(work)
    styles = set()
    for name in RESULTS:
        for format, ending in FORMATS.items():
            said = work.sway("report", f"{name}.json", "--format", format, columns=NARROW)
            assert (said.code, said.err) == (0, ""), said
            styles |= set(_STYLE.findall(said.out)) if format == "html" else set()
            work.keep(
                f"{name}.{ending}", _STYLE.sub("<style>STYLE</style>", _lines(said.out, format))
            )
    work.keep("style.css", "\n".join(sorted(styles)))
    narrow = {
        name: work.told("report", f"{name}.json", columns=60) for name in ("sick", "all_kinds")
    }
    work.keep_passages("narrow.txt", narrow)


def _lines(text: str, format: str) -> str:
    """HTML and JUnit with line breaks, so that a difference is readable."""
    return text.replace("><", ">\n<") if format in ("html", "junit") else text


def comparisons(work: Workshop) -> None:
    """`sway compare` of pairs and of a series of results, as text, Markdown and JSON."""
    bring(work)
    for old, new in PAIRS:
        pair = (f"{old}.json", f"{new}.json")
        said = work.told("compare", *pair, "--markdown", "c.md", "--json", "c.json", columns=NARROW)
        work.keep(f"{old}-{new}.txt", said)
        work.keep(f"{old}-{new}.md", work.read("c.md"))
        work.keep(f"{old}-{new}.json", work.read("c.json"))
    others = {
        "a tolerance": ("healthy.json", "sick.json", "--tolerance", "0.5"),
        "quiet": ("healthy.json", "sick.json", "--quiet"),
        "a course": ("healthy.json", "sick.json", "golden.json", "healthy.json"),
    }
    told = {name: work.told("compare", *argv, columns=NARROW) for name, argv in others.items()}
    work.keep_passages("others.txt", told)


def traces(work: Workshop) -> None:
    """`sway trace` in every format: complete, truncated, invalid and missing traces."""
    bring(work)
    whole = (work.folder / "demo.trace").read_bytes()
    work.write("cut.trace", whole[: len(whole) // 2])
    work.write(
        "failed.trace", whole[:3000].rsplit(b"\n", 1)[0] + b'\n{"event":"failed","error":"no"}\n'
    )
    work.write("hostile.trace", b'\xff\n{"event":"pass"}\n[1]\n' + whole[:600])
    work.write("empty.trace", b"")
    cases = {
        f"{name} as {format}": ("trace", f"{name}.trace", "--format", format)
        for name in ("demo", "cut", "failed", "hostile", "empty", "absent")
        for format in ("terminal", "markdown", "json")
    } | {"the slowest": ("trace", "demo.trace", "--slowest", "2")}
    told = {name: work.told(*argv, columns=NARROW) for name, argv in cases.items()}
    work.keep_passages("traces.txt", told)
