"""Results as a Code Quality report of GitLab: a JSON list of issues, for the widget and the diff.

https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sway_gate import cache
from sway_gate.reports.sarif import MAX_TEXT, of_gate, uri
from sway_gate.results import GateResult
from sway_gate.text import cut, one_line

_SEVERITY: Final = {"error": "critical", "warning": "minor", "note": "info"}


def to_code_quality(result: GateResult) -> bytes:
    """Encode the findings, and the probes that do not pass."""
    return json.dumps(list(_issues(result)), indent=2, ensure_ascii=False).encode() + b"\n"


def _issues(result: GateResult) -> Iterator[dict[str, Any]]:
    """An issue has the same fingerprint in each run: it does not depend on measured numbers."""
    root = cache.work_tree(Path.cwd()) or Path.cwd()
    seen: Counter[tuple[str, str, int]] = Counter()
    for found in of_gate(result):
        place = found.rule.id, uri(found.path, root), found.line
        seen[place] += 1
        yield {
            "check_name": one_line(found.rule.id),
            "description": cut(one_line(found.text), MAX_TEXT),
            "fingerprint": hashlib.sha256(repr((*place, seen[place])).encode()).hexdigest(),
            "severity": _SEVERITY[found.level],
            "location": {"path": place[1], "lines": {"begin": found.line}},
        }
