"""Callbacks for trainers. They need the extra `hf`."""

from sway_gate.integrations.trainer import SwayCallback

__all__ = ["SwayCallback"]
