"""Check a LoRA adapter by its files only, without the base model, torch or peft.

`check_files` reads `adapter_config.json` and `adapter_model.safetensors` as untrusted input: their
content cannot make it raise an exception, run code, or allocate more than a small multiple of the
size of the files. It validates the safetensors header and reports each inconsistency. It finds NaN
and Inf, adapters and layers that were never trained, and contradictions between the config and the
tensors. It computes the norms of each module's update ΔW = s·B·A.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from sway_gate.files import did_you_mean
from sway_gate.model_files.find import base_if_local
from sway_gate.model_files.hub import ADAPTER_CONFIG, ADAPTER_FILES, weight_files
from sway_gate.model_files.kinds import FOLDER, not_an_adapter
from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter, module_of
from sway_gate.static.agreement import inspect
from sway_gate.static.base import Base, base_findings
from sway_gate.static.code_files import code_files
from sway_gate.static.config import AdapterConfig, config_object, read_config
from sway_gate.static.content import scan_all
from sway_gate.static.findings import Fatal, broken, unreadable
from sway_gate.static.fit import fit_findings
from sway_gate.static.layout import layout_faults
from sway_gate.static.mlx import check_mlx, is_mlx
from sway_gate.static.names import with_plain_names
from sway_gate.static.norms import ModuleNorm
from sway_gate.static.patterns import NotRun, require_quick
from sway_gate.static.sizes import oversized
from sway_gate.static.tokenizer import tokenizer_findings
from sway_gate.static.weights import ignored_pickle, read_weights


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


def check_files(
    folder: str | Path, base: str | None = None, base_folder: Path | None = None
) -> StaticReport:
    """Check the adapter in `folder`, which may also be the path of one of its files.

    `base` is the hub id or path of the model that the adapter will be used with, `base_folder` its
    folder; by default the one on this machine, if there is one. Raises nothing: all faults are
    findings.
    """
    given = Path(folder)
    try:
        found = _check(given, base, base_folder)
    except OSError as error:
        found = _only(unreadable(given, error))
    return msgspec.structs.replace(found, path=str(folder))


def _check(given: Path, ref: str | None, base_folder: Path | None) -> StaticReport:
    here = given.parent if given.name in ADAPTER_FILES or given.is_file() else given
    if not here.is_dir():
        message = "not a folder" if here.exists() else "no such folder"
        remedy = did_you_mean(here, folder=True) or FOLDER
        return _only(broken("folder-missing", here, message, remedy))
    if kind := not_an_adapter(given if given.is_file() else here):
        return _only(broken("not-an-adapter", given, kind.message, kind.remedy))
    base = Base(ref, base_folder or base_if_local(ref, here)) if ref else None
    if is_mlx(here):
        return StaticReport(path=str(here), **check_mlx(here, base)._asdict())
    findings: list[Finding] = []
    config = adapter = None
    raw: dict[str, Any] = {}
    modules: tuple[ModuleNorm, ...] = ()
    try:
        raw = config_object(here / ADAPTER_CONFIG)
        config, problems = read_config(here / ADAPTER_CONFIG)
        findings += problems
    except Fatal as fatal:
        findings.append(fatal.finding)
    try:
        weights, problems = with_plain_names(read_weights(here))
        content, faults = scan_all(weights)
        findings += [*ignored_pickle(here), *code_files(here), *problems, *faults]
        findings += tokenizer_findings(here, base.folder if base else None)
        adapter = Adapter.of(config, weights, content) if config else None
    except Fatal as fatal:
        findings.append(fatal.finding)
    misfits = [*fit_findings(adapter, base.folder)] if adapter and base and base.folder else []
    if config:
        fits = not any(found.level == "broken" for found in misfits)
        findings += [*base_findings(here, config, base, fits=fits), *misfits]
    if adapter:
        costly = [*oversized(adapter, raw), *_slow_patterns(here, adapter, raw)]
        modules, problems = ((), costly) if costly else inspect(adapter)
        findings += problems
    return StaticReport(path=str(here), findings=tuple(findings), modules=modules, config=config)


def _slow_patterns(here: Path, adapter: Adapter, raw: dict[str, Any]) -> Iterator[Finding]:
    modules = {module_of(name).rpartition(".")[0] for name in adapter.kinds}
    try:
        require_quick(raw, sorted({*modules, *adapter.parts}))
    except NotRun as error:
        id, reason = error.args
        yield broken(id, here / ADAPTER_CONFIG, reason, "correct it in the config")


def check_model(folder: Path) -> StaticReport:
    """Check the files of a fine-tuned model without an adapter: headers, NaN and Inf.

    Raises nothing: all faults are findings.
    """
    findings = layout_faults(folder, is_full=True)
    try:
        for path in () if findings else weight_files(folder):
            findings += scan_all(read_weights(folder, path.name))[1]
    except OSError as error:
        return _only(unreadable(folder, error))
    return StaticReport(path=str(folder), findings=tuple(findings))


def _only(finding: Finding) -> StaticReport:
    return StaticReport(path=finding.path, findings=(finding,))
