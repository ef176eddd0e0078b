"""Write the tables of docs/support.md from the tables that the tests run."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.backends import architectures, methods
from tests.training_data import forms

PAGE = Path(__file__).parents[1] / "docs" / "support.md"
MARKS = re.compile(r"(<!-- made by tools/support\.py: (\w+) -->\n).*?(<!-- /made -->)", re.DOTALL)
FORMATS = {
    "chat": "the chat template",
    "plain": "text that is continued, or the chat template if the answers fit it better",
    "alpaca": "the chat template, or the prompt of Alpaca if the answers fit it better or the base "
    "has no template",
    "auto": "the chat template if the base has one, otherwise text",
    "": "prose",
}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def of_methods() -> str:
    rows = ((row.name, row.how) for row in methods.ROWS)
    return f"peft {version('peft')}:\n\n" + table(("method or option", "computed"), rows)


def of_architectures() -> str:
    rows = list(architectures.documented())
    counted = Counter(how for _, how, _ in rows)
    counts = ", ".join(f"{count} {how}" for how, count in counted.most_common())
    title = f"transformers {version('transformers')}, {len(rows)} model types: {counts}.\n\n"
    return title + table(("model type", "computed", "remark"), rows)


def of_rows() -> str:
    rows = ((form.name, form.group, FORMATS[form.format]) for form in forms.FORMS)
    return table(("form of a row", "known from", "read as"), rows)


def of_files() -> str:
    return table(
        ("form of a file", "example"), ((form.name, f"`{form.file}`") for form in forms.FILES)
    )


TABLES: dict[str, Callable[[], str]] = {
    "methods": of_methods,
    "architectures": of_architectures,
    "rows": of_rows,
    "files": of_files,
}


def version(package: str) -> str:
    """The version that the tests use."""
    lines = (PAGE.parents[1] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    [found] = (line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))
    return found


def page(text: str) -> str:
    """The page with all tables made again."""
    return MARKS.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text)


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
