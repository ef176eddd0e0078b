"""The stored readings of a job: the adapter's own, and the base's, which its adapters share."""

from collections.abc import Mapping, Sequence

from sway_gate import cache
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.errors import CannotDecide
from sway_gate.gate.identity import base_readings_key, readings_key
from sway_gate.gate.open import OpenBase
from sway_gate.gate.resolve import Job, load_options
from sway_gate.measurements import BASE, Floats, Measurement
from sway_gate.spec.probes import null_settings

_PLACE = ("device", "dtype")
"""Entries of `meta` that all readings of a job have in common."""


class JobReadings:
    """Stores each reading where it belongs. `meta` belongs to the adapter's readings."""

    def __init__(self, own: cache.Readings, base: cache.Readings) -> None:
        self.meta, self._own, self._base = own.meta, own, base

    def get(self, view: str, request: str) -> Floats | None:
        """The numbers, shape [n]; None if they were never measured."""
        return self._of(view).get(view, request)

    def missing(self, measurements: Sequence[Measurement]) -> list[Measurement]:
        """The measurements that must be measured.

        References are not stored. They are measured for the missing answers of other views.
        """
        missing = {
            m
            for m in measurements
            if not m.is_reference and self.get(str(m.view), repr(m.request)) is None
        }
        requests = {m.request for m in missing}
        return [
            m for m in measurements if m in missing or (m.is_reference and m.request in requests)
        ]

    def put(self, view: str, request: str, value: Floats) -> None:
        """Add the numbers, shape [n], in memory."""
        self._of(view).put(view, request, value)

    def describe(self, meta: Mapping[str, str]) -> None:
        """State how the new readings were measured.

        Raises CannotDecide if stored ones have another device or dtype: a key without torch cannot
        contain what `auto` chooses.
        """
        for name in _PLACE:
            known = {stored.meta.get(name, meta[name]) for stored in (self._own, self._base)}
            if other := known - {meta[name]}:
                raise CannotDecide(
                    f"stored answers were measured with {name} {min(other)}, the new ones with "
                    f"{meta[name]}; set device and dtype in the spec, or run `sway cache clear`"
                )
        self._base.meta.update({name: meta[name] for name in _PLACE})
        self.meta.update(meta)

    def save(self) -> bool:
        """Write new values; False if the cache is not available."""
        return all([self._own.save(), self._base.save()])

    def _of(self, view: str) -> cache.Readings:
        return self._base if view == str(BASE) else self._own


def open_readings(job: Job, nulls: NullSettings, base: OpenBase | None = None) -> JobReadings:
    """The readings of earlier runs, and of earlier jobs that share `base`.

    A job that is not cached reads and saves no stored ones.
    """
    is_stored = job.cache and null_settings(job.spec.suite).cache
    kept = base.readings if base and _is_determined(job) else {}

    def opened(key: str) -> cache.Readings:
        if key not in kept:
            kept[key] = cache.Readings.open(key) if is_stored else cache.Readings.unsaved()
        return kept[key]

    own = opened(readings_key(job, nulls))
    shared = base_readings_key(job)
    return JobReadings(own, opened(shared) if shared else own)


def _is_determined(job: Job) -> bool:
    """Whether the digests of the files determine the readings."""
    has_code = load_options(job.spec).trust_remote_code
    return bool(job.folders and job.adapter.digest) and not has_code
