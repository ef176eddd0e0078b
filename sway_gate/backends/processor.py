"""Whether a run uses the CPU, and whether that multiplies bfloat16 faster than float32.

The rates are measured once for each processor and version of torch, and kept in the cache. Known
rates load no torch.
"""

import functools
import hashlib
import math
import os
import platform
import sys
import time
from contextlib import suppress
from typing import Annotated, Final

import msgspec

from sway_gate import cache
from sway_gate.files import read_regular
from sway_gate.installed import version_of

_ROWS, _WIDTH = 256, 1024
"""The shape of a product in a pass of a few texts."""
_TRIES: Final = 8
_WORTH: Final = 1.3
"""The minimum ratio of the rates at which bfloat16 is used; less gain is not worth its rounding."""
_GPU_FILES: Final = ("/dev/kfd", "/dev/dxg")
_Rate = Annotated[float, msgspec.Meta(gt=0)]


class Rates(msgspec.Struct, frozen=True):
    """Floating-point operations per second of matrix products in torch, on all its threads."""

    float32: _Rate
    bfloat16: _Rate

    @property
    def ratio(self) -> float:
        return self.bfloat16 / self.float32

    @property
    def prefers_bfloat16(self) -> bool:
        return self.ratio >= _WORTH


def is_cpu(device: str) -> bool:
    """Whether a run on `device` uses the CPU, unless `may_have_gpu`."""
    return device.partition(":")[0] in ("auto", "cpu")


def may_have_gpu(device: str) -> bool:
    """Whether the machine can have a GPU without NVIDIA's driver: of Apple, of AMD, or in WSL."""
    is_apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return device == "auto" and (is_apple or any(map(os.path.exists, _GPU_FILES)))


def rates() -> Rates | None:
    """The rates of this processor; None if torch is missing or does not start."""
    name = f"rates/{_key()}"
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(cache.load_entry(name) or b"", type=Rates)
    try:
        found = _measured()
    except (ImportError, OSError, RuntimeError):
        return None
    cache.store_entry(name, msgspec.json.encode(found))
    return found


def _key() -> str:
    """Identifies the processor and the version of torch."""
    parts = [
        platform.machine(),
        platform.processor(),
        *_described(),
        version_of("torch") or "absent",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _described() -> list[str]:
    """The name and the instruction sets of the first processor, on Linux."""
    try:
        lines = read_regular("/proc/cpuinfo", 2**16).decode(errors="replace").splitlines()
    except OSError:
        return []
    fields = ("model name", "flags", "Features", "CPU part")
    return [next((line for line in lines if line.startswith(field)), "") for field in fields]


@functools.cache
def _measured() -> Rates:
    import torch

    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    with torch.inference_mode():
        for _ in range(_TRIES):  # in turns, so that another process slows both down
            for dtype in seconds:
                x, w = (torch.ones(n, _WIDTH, dtype=dtype) for n in (_ROWS, _WIDTH))
                started = time.perf_counter()
                torch.nn.functional.linear(x, w)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - started)
    operations = 2 * _ROWS * _WIDTH**2
    return Rates(operations / seconds[torch.float32], operations / seconds[torch.bfloat16])
