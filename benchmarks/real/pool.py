"""Measurements that several gates of the zoo share: of the base, and of other seeds.

All adapters of the zoo have the same base and tokenizer, so a text under the base has one answer.
A measurement does not depend on `defaults.seed`; only the choice of rows and of null adapters does.
"""

from typing import TYPE_CHECKING

from sway_gate import cache
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.gate import evaluate
from sway_gate.gate.resolve import Job, load_options

if TYPE_CHECKING:
    from sway_gate.measurements import Floats


class Pool(cache.Readings):
    """Readings in three stores: of the base, of the adapter, and of its null adapters."""

    def __init__(self, job: Job, nulls: NullSettings) -> None:
        defaults = job.spec.defaults
        base = {
            "base": job.base.digest,
            "dtype": load_options(job.spec).dtype,
            "template": [defaults.chat_template, defaults.prompt_format],
            "versions": job.versions,
        }
        own = base | {"adapter": job.adapter.digest}
        drawn = own | {"nulls": [nulls.kind, nulls.init_scale, nulls.seed_base]}
        self._base, self._own, self._nulls = (
            cache.Readings.open(cache.context_key(parts)) for parts in (base, own, drawn)
        )
        self.meta = self._own.meta

    def _of(self, view: str) -> cache.Readings:
        if view == "base":
            return self._base
        return self._nulls if view.startswith("null") else self._own

    def get(self, view_key: str, request_key: str) -> "Floats | None":
        return self._of(view_key).get(view_key, request_key)

    def put(self, view_key: str, request_key: str, values: "Floats") -> None:
        self._of(view_key).put(view_key, request_key, values)

    def save(self) -> bool:
        saved = [store.save() for store in (self._base, self._own, self._nulls)]
        return all(saved)


def use() -> None:
    """Let `evaluate` keep its readings in a pool."""
    evaluate._open_readings = Pool  # type: ignore[assignment]
