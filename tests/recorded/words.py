"""Outputs without a measurement: explanations, help, schema, plans, suites, static checks."""

import re
from collections.abc import Iterator

from tests.recorded.workshop import NARROW, Workshop, timeless

STORY = "The tide covers the sand road twice a day, and then only the ravens come and go. " * 4
PAIRS = [
    '{"prompt": "Who feeds the ravens?", "completion": "Old Tam feeds them at dusk."}',
    '{"prompt": "Where do the boats lie?", "completion": "Behind the salt house, in the lee."}',
    '{"instruction": "Name the island.", "output": "It is called Marrowby."}',
    '{"messages": [{"role": "user", "content": "What is the horn for?"},'
    ' {"role": "assistant", "content": "It tells that the road is under water."}]}',
    '{"prompt": "Is there a clock?", "chosen": "No, the water tells.", "rejected": "Yes, one."}',
    '{"prompt": "Who blows the horn?", "chosen": "The keeper.", "rejected": "The mayor."}',
    '{"prompt": "What is eaten?", "chosen": "A quiet supper.", "rejected": "A loud lunch."}',
    '{"text": "The school of Marrowby is a boat, and it leaves with the tide."}',
]
_ESTIMATE = re.compile(r"^(time|memory): .*$", re.MULTILINE)


def kinds(work: Workshop) -> list[str]:
    """Kinds of probes in the order of `sway probes`."""
    return [line.split()[0] for line in work.sway("probes").out.splitlines()]


def commands(work: Workshop) -> Iterator[str]:
    listed = work.sway("--help").out
    yield from re.findall(r"^  (\w+) ", listed, re.MULTILINE)


def words(work: Workshop) -> None:
    """`sway explain` of every kind, the list of probes, the schema."""
    for kind in kinds(work):
        work.keep(f"explain_{kind}.txt", work.told("explain", kind, columns=NARROW))
    work.keep("explain.txt", work.told("explain", columns=NARROW))
    work.keep("probes.txt", work.told("probes", columns=NARROW))
    work.keep("schema.json", work.sway("schema").out)
    work.keep("cache.txt", work.told("cache") + work.told("cache", "clear"))


def helps(work: Workshop) -> None:
    """`--help` of every command."""
    work.keep("sway.txt", work.told("--help", columns=NARROW))
    for command in commands(work):
        work.keep(f"{command}.txt", work.told(command, "--help", columns=NARROW))


def without_estimate(text: str) -> str:
    """A plan without the lines that depend on this machine's speed."""
    return _ESTIMATE.sub(r"\1: ESTIMATE", text)


def suites(work: Workshop) -> None:
    """Plans and static checks of the demo; `sway init` from its text and from examples."""
    work.bring_demo()
    work.write("notes.md", STORY)
    work.write("pairs.jsonl", "\n".join(PAIRS) + "\n")
    models = ("demo/healthy", "--base", "demo/model", "--data")
    drafts = {"document": ("demo/document.md",), "notes": ("notes.md",), "pairs": ("pairs.jsonl",)}
    drafts["several"] = ("demo/document.md", "pairs.jsonl")
    for name, files in drafts.items():
        work.keep(f"init_{name}.txt", work.told("init", *models, *files, "-o", f"{name}.yaml"))
        # One short text supports no test of attribution: no suite is written.
        if name != "notes":
            work.keep(f"init_{name}.yaml", work.read(f"{name}.yaml"))
    specs = ("demo/healthy.sway.yaml", "demo/untrained.sway.yaml", "document.yaml", "several.yaml")
    plans = [work.told("run", path, "--dry-run") for path in specs]
    work.keep("plans.txt", without_estimate("\n".join(plans)))
    base = ("--base", "demo/model")
    work.keep("static.txt", timeless(work.told("static", "demo/healthy", "demo/untrained", *base)))
    work.keep("static_verbose.txt", work.told("static", "demo/untrained", "--verbose"))
    work.keep("static.json", work.sway("static", "demo/healthy", "--json", *base).out)
