"""``python -m sway_gate`` is ``sway``."""

import sys

from sway_gate.cli import main

if __name__ == "__main__":
    sys.exit(main())
