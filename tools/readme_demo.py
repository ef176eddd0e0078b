"""Write the output of `sway demo` to README.md, between the demo marks.

Run this tool after you change the report.
"""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

from sway_gate import cli

README = Path(__file__).parents[1] / "README.md"
MARKS = re.compile(r"(<!-- demo: .*? -->\n).*?(<!-- /demo -->)", re.DOTALL)


def shown() -> str:
    """The first report up to its categories, the second verdict and the last line of the demo.

    Paths are relative to the package.
    """
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as cache, contextlib.redirect_stdout(out):
        os.environ["SWAY_CACHE_DIR"] = cache
        cli.main(["demo"])
    text = re.sub(r"/\S*/(?=sway_gate/)", "", out.getvalue())
    healthy, untrained = re.split(r"(?=== an adapter that learned nothing)", text)
    kept = healthy[: re.search(r"^composite .*$", healthy, re.MULTILINE).end()]
    verdict = untrained.split("\n\n")[0]
    return (
        f"```text\n{kept.strip()}\n\n{verdict.strip()}\n[…]\n{text.strip().splitlines()[-1]}\n```\n"
    )


def main() -> None:
    text = README.read_text(encoding="utf-8")
    README.write_text(MARKS.sub(lambda m: m[1] + shown() + m[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
