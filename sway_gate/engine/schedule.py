"""Arranges encoded requests into forward passes that fit into memory.

Requests that need the same views, kind of result and prefix form a group. A group is cut into
batches of similar length, a batch into passes over some of the views.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sway_gate.backends.base import Backend, EncodedRequest
from sway_gate.backends.packing import Packed, pack
from sway_gate.measurements import BASE, Divergence, Measurement, Request, View

# Tokens. On a CPU a pass takes some tens of milliseconds even if it is tiny, as long as this many
# tokens of a small model.
_MAX_PADDING = 128
# Measured: a token that is generated takes about as long as three that are read, and the step of
# a further pass, apart from its tokens, as long as 40.
_GENERATED, _STEP = 3, 40


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
    tokens: int
    base_log_probs: Sequence[Any] | None = None


class PlannedPass(NamedTuple):
    """One forward pass: a batch under some of its views."""

    batch: Batch
    views: tuple[View, ...]
    is_last: bool
    """Whether it is the last pass of its batch."""

    def tokens(self) -> int:
        """Tokens of all rows under all views, at most, without padding and shared prompts."""
        return len(self.views) * self.batch.tokens

    def work(self) -> int:
        """The tokens; a generated one counts as often as the tokens that are read in its time."""
        generated = sum(row.length for row in self.batch.rows)
        return self.tokens() + len(self.views) * generated * (_GENERATED - 1)

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
        for batch in _batches(groups[group], encoded, len(group.views), backend):
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
    """Cut requests into batches of similar length that fit the budget; at least one each."""
    requests_of: dict[EncodedRequest, list[Request]] = defaultdict(list)
    for request in requests:
        requests_of[encoded[request]].append(request)
    at_once = views if backend.batches_views else 1
    batches: list[list[Packed]] = []
    # Texts of similar length need little padding.
    for sequence in sorted(_sequences(requests_of, backend), key=lambda packed: packed.width):
        if batches and _fits([*batches[-1], sequence], at_once, backend):
            batches[-1].append(sequence)
        else:
            batches.append([sequence])
    found = []
    for batch in batches:
        # The pass packs its rows again: neighbours share most if they are sorted.
        rows = tuple(sorted((row for one in batch for row in one.rows), key=_ids))
        tokens = sum(sequence.width for sequence in batch) + sum(row.length for row in rows)
        found.append(Batch(tuple(requests_of[row].pop() for row in rows), rows, tokens))
    return found


def _sequences(
    requests_of: Mapping[EncodedRequest, Sequence[Request]], backend: Backend
) -> list[Packed]:
    """A row for each request; those that begin with the same tokens share sequences."""
    rows = [row for row in sorted(requests_of, key=_ids) for _ in requests_of[row]]
    return pack(rows, lambda: backend.pack_limit)


def _ids(row: EncodedRequest) -> tuple[int, ...]:
    return row.ids


def _fits(sequences: Sequence[Packed], views: int, backend: Backend) -> bool:
    """Whether these fit into one pass, cheaper than a separate pass for the last one."""
    width = sequences[-1].width
    padding = views * sum(width - sequence.width for sequence in sequences)
    rows = [row for sequence in sequences for row in sequence.rows]
    limit = _max_padding(rows[0].length, backend.facts.device)
    return padding <= limit and backend.cost(views, rows) <= backend.budget()


def _max_padding(length: int, device: str) -> int:
    """Tokens of padding that take as long as a further pass.

    Each token of a generated text, of `length`, is a step, which all rows of a pass share.
    """
    if not length:
        return _MAX_PADDING
    return length * (_STEP if device == "cpu" else _MAX_PADDING)


def _passes_of(batch: Batch, views: tuple[View, ...], backend: Backend) -> list[PlannedPass]:
    """Passes over these rows with as many views each as the budget allows."""
    size = len(views) if backend.batches_views else 1
    while size > 1 and backend.cost(size, batch.rows) > backend.budget():
        size = (size + 1) // 2
    return [
        PlannedPass(batch, views[i : i + size], i + size >= len(views))
        for i in range(0, len(views), size)
    ]
