"""What a LoRA adapter's files alone tell, without the base model, torch or peft.

`check` reads `adapter_config.json` and `adapter_model.safetensors` as hostile input: nothing in them can raise, run,
or make it allocate more than a small multiple of the files' real size. It names every lie of the safetensors header,
finds NaN and Inf, adapters and layers that were never trained, contradictions between the config and the tensors, and
gives the size of every module's update ΔW = s·B·A.
"""

from pathlib import Path

import msgspec

from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter
from sway_gate.static.agreement import inspect
from sway_gate.static.config import CONFIG, AdapterConfig, base_findings, read_config
from sway_gate.static.content import scan_all
from sway_gate.static.findings import Fatal, broken
from sway_gate.static.norms import ModuleNorm
from sway_gate.static.weights import WEIGHTS, pickle_beside, read_weights


class StaticReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that the files tell. `config` is None where it could not be read, `modules` lack what has no finite norm."""

    path: str
    findings: tuple[Finding, ...]
    modules: tuple[ModuleNorm, ...] = ()
    config: AdapterConfig | None = None

    @property
    def exit_code(self) -> int:
        """2 where the files are broken, 1 where they show an adapter that cannot work, else 0."""
        levels = {finding.level for finding in self.findings}
        if "broken" in levels:
            return 2
        return 1 if "verdict" in levels else 0


def check_files(folder: str | Path, base: str | None = None) -> StaticReport:
    """Everything that the adapter in `folder` (or in the folder of the file `folder`) tells by its files.

    `base` is the hub id or path of the model that it is to be used with. Raises nothing: faults are findings.
    """
    given = Path(folder)
    try:
        here = given.parent if given.name in (CONFIG, WEIGHTS) or given.is_file() else given
        found = _check(here, base) if here.is_dir() else _no_folder(here)
    except OSError as error:
        found = _unreadable(given, error)
    return msgspec.structs.replace(found, path=str(folder))


def _check(here: Path, base: str | None) -> StaticReport:
    findings: list[Finding] = []
    config = weights = None
    modules: tuple[ModuleNorm, ...] = ()
    try:
        config, problems = read_config(here / CONFIG)
        findings += problems
    except Fatal as fatal:
        findings.append(fatal.finding)
    if config:
        findings += base_findings(here / CONFIG, config.base_model_name_or_path, base)
    try:
        weights = read_weights(here)
    except Fatal as fatal:
        findings.append(fatal.finding)
    if weights:
        findings += pickle_beside(here)
        content, problems = scan_all(weights)
        findings += problems
        if config and config.peft_type == "LORA":
            modules, problems = inspect(Adapter.of(config, weights, content))
            findings += problems
    return StaticReport(path=str(here), findings=tuple(findings), modules=modules, config=config)


def _no_folder(here: Path) -> StaticReport:
    remedy = f"give the folder that holds {CONFIG} and {WEIGHTS}"
    finding = broken("folder-missing", here, "no such folder", remedy)
    return StaticReport(path=str(here), findings=(finding,))


def _unreadable(here: Path, error: OSError) -> StaticReport:
    path, message = Path(error.filename or here), f"cannot be read: {error.strerror}"
    finding = broken("unreadable", path, message, "make it readable")
    return StaticReport(path=str(here), findings=(finding,))
