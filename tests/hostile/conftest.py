"""The processes in which commands run."""

from collections.abc import Iterator

import pytest

from tests.hostile.running import Runner


@pytest.fixture(scope="session")
def light() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def heavy() -> Iterator[Runner]:
    runner = Runner("heavy")
    yield runner
    runner.close()
