"""How processor time grows with the size of an input."""

import time
from collections.abc import Callable


def growth(work: Callable[[int], object], small: int, large: int) -> float:
    """The ratio of the processor times of `work(large)` and `work(small)`.

    Each is the minimum of three runs.

    Linear work gives about `large / small`, quadratic work its square.
    """

    def spent(size: int) -> float:
        started = time.process_time()
        work(size)
        return time.process_time() - started

    return min(spent(large) for _ in range(3)) / min(spent(small) for _ in range(3))
