"""Helpers of several tests: synthetic results and answers, tiny models, a browser."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
