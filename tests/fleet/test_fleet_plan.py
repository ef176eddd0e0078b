"""The fleet on paper: simple cases of the simulation, and its table in docs/fleet.md."""

import pytest

from benchmarks.fleet_plan import Prices, Scenario, Sizes, simulate, table
from tests.helpers import ROOT

SIZES = Sizes()
LOAD_S = SIZES.base_gb / SIZES.load_gb_per_s
FIRST_S = SIZES.base_gb / SIZES.store_gb_per_s + SIZES.base_share * SIZES.gate_s + LOAD_S


def test_one_machine_takes_the_sum_of_its_work() -> None:
    found = simulate(Scenario("one", 1), SIZES, gates=400)
    expected = SIZES.start_s + FIRST_S + 400 * SIZES.gate_s
    assert found.hours == pytest.approx(expected / 3600, rel=0.02)  # gates vary by a fifth
    assert (found.repeated, found.losses, found.copies) == (0, 0, 1)
    assert found.terabytes == pytest.approx(0.140 + 400 * 0.0004)


def test_a_machine_keeps_to_its_base_until_that_is_finished() -> None:
    found = simulate(Scenario("four", 4, bases=4), SIZES, gates=400)
    assert 4 <= found.copies < 8  # at the end, idle machines help with another base
    assert found.hours * 4 == found.machine_hours


def test_lost_machines_repeat_their_gates_and_copies_only() -> None:
    calm = simulate(Scenario("on demand", 4), SIZES, gates=400)
    found = simulate(Scenario("spot", 4, hours=0.5), SIZES, gates=400)
    assert found.losses > 0
    assert 0 < found.repeated <= found.losses
    assert calm.copies < found.copies <= 4 + found.losses
    assert found.machine_hours > calm.machine_hours


def test_the_page_shows_the_table_of_the_simulation() -> None:
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    mark = "benchmarks.fleet_plan -->\n"
    shown = page.split(f"<!-- {mark}")[1].split("<!-- /")[0]
    assert shown.strip() == table(SIZES, Prices())
    assert f"A gate takes {SIZES.gate_s:.0f} s: {SIZES.tokens:,} tokens" in page
