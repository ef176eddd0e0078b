"""docs/support.md lists what the tables of the tests contain."""

from importlib.metadata import version

import pytest

from tools import support


def test_the_page_is_up_to_date() -> None:
    for package in ("peft", "transformers"):
        if version(package) != support.version(package):
            pytest.skip(f"the page is about {package} {support.version(package)}")
    text = support.PAGE.read_text(encoding="utf-8")
    assert text == support.page(text), "run python -m tools.support"
