"""`sway check` on the demo: the answer and the exit code."""

import pytest

from sway_gate import cli, demo

pytest.importorskip("torch")
BASE = ["--base", str(demo.MODEL)]
DATA = ["--data", str(demo.FOLDER / "document.md")]
ANSWERS = {
    "healthy": (demo.HEALTHY, [], 0, "MOVED  +", "Not judged: whether it learned your data"),
    "untrained": (demo.UNTRAINED, [], 1, "FAIL   its change is too small", "Diagnosis: "),
    "healthy, with data": (
        demo.HEALTHY,
        DATA,
        0,
        "PASS   moved, learned, recalled",
        "(add --held-",
    ),
    "untrained, with data": (demo.UNTRAINED, DATA, 1, "FAIL   its change", "Diagnosis: "),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "data", "code", "first", "below"), ANSWERS.values(), ids=ANSWERS
)
def test_the_answer_and_the_exit_code(adapter, data, code, first, below, capsys):
    assert cli.main(["check", str(adapter), *BASE, *data]) == code
    out = capsys.readouterr().out
    assert out.startswith(first)
    assert below in out.partition("\n\n")[0]


def test_the_three_ways_to_learn(capsys):
    assert cli.main(["check", "x", "--learn", "facts"]) == 2
    assert "--learn: must be content or form or preference, got 'facts'" in capsys.readouterr().err


def test_what_to_learn_needs_data(capsys):
    assert cli.main(["check", str(demo.HEALTHY), *BASE, "--learn", "content"]) == 2
    assert "--learn requires --data" in capsys.readouterr().err


def test_held_out_rows_need_data(capsys):
    assert cli.main(["check", str(demo.HEALTHY), *BASE, "--held-out", "h.jsonl"]) == 2
    assert "--held-out requires --data" in capsys.readouterr().err
