"""How valid the gate's verdicts are: a zoo of healthy and sick adapters with ground truth of their own."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / ".bench" / "zoo"

# The demo's maker is a script, whose imports are its neighbours.
sys.path.append(str(ROOT / "tools"))
