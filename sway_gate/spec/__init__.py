"""The spec of a gate: models, data and suite."""

from typing import Final

DEFAULT_SPEC: Final = "sway.yaml"
WAIVERS: Final = ".sway-waivers.yaml"
