"""Whether this run may download models. Every command imports this module, so it is light."""

import os
from collections.abc import Mapping


def is_online(env: Mapping[str, str] = os.environ) -> bool:
    """Whether SWAY_ONLINE allows downloads."""
    return env.get("SWAY_ONLINE", "").strip().lower() in ("1", "true", "yes", "on")
