"""Arranges encoded requests into forward passes that fit into memory.

Requests that need the same views, kind of result and prefix form a group. A group is cut into
batches of similar length, a batch into passes over some of the views.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sway_gate.backends.base import Backend, EncodedRequest
from sway_gate.measurements import BASE, Divergence, Measurement, Request, View

# Tokens. On a CPU a pass takes some tens of milliseconds even if it is tiny, as long as this many
# tokens of a small model.
_MAX_PADDING = 128


@dataclass(frozen=True)
class Group:
    """The properties that all requests of one pass share."""

    views: tuple[View, ...]
    kind: str
    length: int
    prefix: tuple[int, ...]

    def sort_key(self) -> tuple[tuple[View, ...], str, int, tuple[int, ...]]:
        """Prefix last: within a group of views a prefix is followed by those that extend it."""
        return self.views, self.kind, self.length, self.prefix


@dataclass
class Batch:
    """Requests that are computed together, and the base's log-probabilities if they need them.

    The first pass of the batch makes `base_log_probs`, the last one frees them.
    """

    requests: tuple[Request, ...]
    rows: tuple[EncodedRequest, ...]
    base_log_probs: Sequence[Any] | None = None


class PlannedPass(NamedTuple):
    """One forward pass: a batch under some of its views."""

    batch: Batch
    views: tuple[View, ...]
    is_last: bool
    """Whether it is the last pass of its batch."""

    def tokens(self) -> int:
        """Tokens of all rows under all views, without padding."""
        return len(self.views) * sum(len(row.ids) for row in self.batch.rows)

    def by_view(self) -> "list[PlannedPass]":
        """The same pass, one view at a time."""
        last = len(self.views) - 1
        return [
            PlannedPass(self.batch, (view,), self.is_last and i == last)
            for i, view in enumerate(self.views)
        ]


def plan_passes(
    missing: Iterable[Measurement], encoded: Mapping[Request, EncodedRequest], backend: Backend
) -> list[PlannedPass]:
    """All passes for `missing`, in the order in which they run."""
    groups = _groups(missing, encoded)
    passes: list[PlannedPass] = []
    # The prefix cache extends a prefix only if the longer one comes next.
    for group in sorted(groups, key=Group.sort_key):
        # Texts of similar length need little padding.
        requests = sorted(groups[group], key=lambda request: len(encoded[request].ids))
        for batch in _batches(requests, encoded, len(group.views), backend):
            passes += _passes_of(batch, group.views, backend)
    # Loading a view's weights, or filling its prefix cache, is slow: passes with the same views
    # follow each other. The sort is stable and the base is the smallest view, so each batch
    # still begins with the base.
    if not backend.batches_views:
        return sorted(passes, key=lambda step: (_has_prefix(step), step.views))
    without = [step for step in passes if not _has_prefix(step)]
    return without + sorted(filter(_has_prefix, passes), key=lambda step: step.views)


def _has_prefix(step: PlannedPass) -> bool:
    return step.batch.rows[0].prefix_len > 0


def _groups(
    missing: Iterable[Measurement], encoded: Mapping[Request, EncodedRequest]
) -> dict[Group, list[Request]]:
    views_of: dict[Request, list[View]] = defaultdict(list)
    for view, request in missing:
        views_of[request].append(view)
    groups: dict[Group, list[Request]] = defaultdict(list)
    for request, views in views_of.items():
        # A divergence needs the base's distributions, so the base is the first view.
        base = (BASE,) if isinstance(request, Divergence) else ()
        row = encoded[request]
        group = Group((*base, *sorted(views)), row.kind, row.length, row.ids[: row.prefix_len])
        groups[group].append(request)
    return groups


def _batches(
    requests: Iterable[Request],
    encoded: Mapping[Request, EncodedRequest],
    views: int,
    backend: Backend,
) -> list[Batch]:
    """Cut requests of ascending length into batches that fit the budget; at least one each."""
    at_once = views if backend.batches_views else 1
    batches: list[list[Request]] = []
    for request in requests:
        if batches and _fits([encoded[r] for r in (*batches[-1], request)], at_once, backend):
            batches[-1].append(request)
        else:
            batches.append([request])
    return [Batch(tuple(batch), tuple(encoded[r] for r in batch)) for batch in batches]


def _fits(rows: Sequence[EncodedRequest], views: int, backend: Backend) -> bool:
    """Whether these rows fit into one pass, cheaper than a separate pass for the last one."""
    width = len(rows[-1].ids)
    padding = views * sum(width - len(row.ids) for row in rows)
    return backend.cost(views, rows) <= backend.budget() and padding <= _MAX_PADDING


def _passes_of(batch: Batch, views: tuple[View, ...], backend: Backend) -> list[PlannedPass]:
    """Passes over these rows with as many views each as the budget allows."""
    size = len(views) if backend.batches_views else 1
    while size > 1 and backend.cost(size, batch.rows) > backend.budget():
        size = (size + 1) // 2
    return [
        PlannedPass(batch, views[i : i + size], i + size >= len(views))
        for i in range(0, len(views), size)
    ]
