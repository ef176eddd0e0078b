"""The training step of a checkpoint."""

import re
from pathlib import Path
from typing import Final

from sway_gate.model_files.config import json_object

_STATE: Final = "trainer_state.json"
_NAME: Final = re.compile(r"(?:checkpoint|ckpt|step|iter|epoch)[-_]?(\d{1,9})", re.IGNORECASE)


def step_of(folder: Path) -> int | None:
    """The step in the folder's name, such as checkpoint-500, or in the trainer's state."""
    if match := _NAME.fullmatch(folder.name):
        return int(match[1])
    step = json_object(folder / _STATE).get("global_step")
    return step if type(step) is int and 0 <= step < 10**9 else None
