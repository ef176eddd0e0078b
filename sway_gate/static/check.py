"""Check a LoRA adapter by its files only, without the base model, torch or peft.

`check_files` reads `adapter_config.json` and `adapter_model.safetensors` as untrusted input: their
content cannot make it raise an exception, run code, or allocate more than a small multiple of the
size of the files. It validates the safetensors header and reports each inconsistency. It finds NaN
and Inf, adapters and layers that were never trained, and contradictions between the config and the
tensors. It computes the norms of each module's update ΔW = s·B·A.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from sway_gate.model_files.hub import ADAPTER_CONFIG, ADAPTER_WEIGHTS, weight_files
from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter
from sway_gate.static.agreement import inspect
from sway_gate.static.config import AdapterConfig, base_findings, read_config
from sway_gate.static.content import scan_all
from sway_gate.static.findings import DOWNLOAD, Fatal, broken
from sway_gate.static.norms import ModuleNorm
from sway_gate.static.weights import ignored_pickle, read_file, read_weights


class StaticReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the check. `config` is None if it is invalid; `modules` have finite norms."""

    path: str
    findings: tuple[Finding, ...]
    modules: tuple[ModuleNorm, ...] = ()
    config: AdapterConfig | None = None

    @property
    def exit_code(self) -> int:
        """2 if the files are broken, 1 if the adapter cannot work, 0 otherwise."""
        levels = {finding.level for finding in self.findings}
        if "broken" in levels:
            return 2
        return 1 if "verdict" in levels else 0


def check_files(folder: str | Path, base: str | None = None) -> StaticReport:
    """Check the adapter in `folder`, which may also be the path of one of its files.

    `base` is the hub id or path of the model that the adapter will be used with. Raises nothing:
    all faults are findings.
    """
    given = Path(folder)
    try:
        here = (
            given.parent
            if given.name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) or given.is_file()
            else given
        )
        found = _check(here, base) if here.is_dir() else _no_folder(here)
    except OSError as error:
        found = _unreadable(given, error)
    return msgspec.structs.replace(found, path=str(folder))


def _check(here: Path, base: str | None) -> StaticReport:
    findings: list[Finding] = []
    config = weights = None
    modules: tuple[ModuleNorm, ...] = ()
    try:
        config, problems = read_config(here / ADAPTER_CONFIG)
        findings += problems
    except Fatal as fatal:
        findings.append(fatal.finding)
    if config:
        findings += base_findings(here / ADAPTER_CONFIG, config.base_model_name_or_path, base)
    try:
        weights = read_weights(here)
    except Fatal as fatal:
        findings.append(fatal.finding)
    if weights:
        findings += ignored_pickle(here)
        content, problems = scan_all(weights)
        findings += problems
        if config and config.peft_type == "LORA":
            modules, problems = inspect(Adapter.of(config, weights, content))
            findings += problems
    return StaticReport(path=str(here), findings=tuple(findings), modules=modules, config=config)


def check_model(folder: Path) -> StaticReport:
    """Check the files of a fine-tuned model without an adapter: headers, NaN and Inf.

    Raises nothing: all faults are findings.
    """
    try:
        findings = tuple(_of_model(folder))
    except OSError as error:
        return _unreadable(folder, error)
    return StaticReport(path=str(folder), findings=findings)


def _of_model(folder: Path) -> Iterator[Finding]:
    if (folder / ADAPTER_CONFIG).is_file():
        remedy = "give it as an adapter"
        yield broken("model-is-adapter", folder, f"contains {ADAPTER_CONFIG}", remedy)
        return
    files = weight_files(folder)
    if not files:
        message = "contains no model.safetensors and no index of its shards"
        remedy = "give the folder of a model that save_pretrained() wrote"
        yield broken("model-weights-missing", folder, message, remedy)
    for path in files:
        if not path.is_file():
            yield broken("model-shard-missing", path, "this shard is missing", DOWNLOAD)
            continue
        try:
            yield from scan_all(read_file(path))[1]
        except Fatal as fatal:
            yield fatal.finding


def _no_folder(here: Path) -> StaticReport:
    remedy = f"give the folder that contains {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}"
    finding = broken("folder-missing", here, "no such folder", remedy)
    return StaticReport(path=str(here), findings=(finding,))


def _unreadable(here: Path, error: OSError) -> StaticReport:
    path, message = Path(error.filename or here), f"cannot be read: {error.strerror}"
    finding = broken("unreadable", path, message, "make it readable")
    return StaticReport(path=str(here), findings=(finding,))
