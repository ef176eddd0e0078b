"""Results that a notebook shows as the HTML report."""

import html
from typing import Self

from sway_gate.results import GateResult
from sway_gate.text import clean


class NotebookResult(GateResult, frozen=True, kw_only=True):
    """A result for Python callers."""

    @classmethod
    def of(cls, result: GateResult) -> Self:
        return cls(**{name: getattr(result, name) for name in result.__struct_fields__})

    def _repr_html_(self) -> str:
        """The HTML report in a frame; without frame support, the verdict in one line."""
        from sway_gate.reports.html.page import render
        from sway_gate.reports.wording import headline

        style = "width:100%;height:720px;border:1px solid #8888;border-radius:6px"
        return (
            f'<iframe srcdoc="{html.escape(render(self))}" style="{style}" sandbox=""'
            f' title="sway-gate report">{html.escape(clean(headline(self)))}</iframe>'
        )
