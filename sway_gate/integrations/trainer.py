"""`SwayCallback` for transformers' Trainer and the trainers of trl."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from sway_gate.errors import SwayError, UsageError, unexpected_text
from sway_gate.integrations.checkpoint import judge
from sway_gate.judge.diagnosis import TABLE
from sway_gate.results import GateResult
from sway_gate.spec.load import load_spec
from sway_gate.text import number, one_line, seconds

_LOG: Final = logging.getLogger(__name__)
_COMPOSITE: Final = "sway/composite"
_PASSED: Final = "sway/passed"
_DIAGNOSES: Final = tuple(entry.name for entry in TABLE.values())


class SwayCallback(TrainerCallback):
    """Gate the checkpoints of `trainer`, and write the numbers into its log.

    spec: the spec to gate by, with each checkpoint as its adapter. Without one, a checkpoint is
    judged as by `sway check`: data and held_out are its files, base is its base model. when: "save"
    gates each checkpoint, "end" only the last one. stop_on: diagnoses that stop training, such as
    "diverged or broken". timeout: the limit of one gate. options: more arguments of the command.

    After training, `best` is the passing checkpoint with the highest composite, None if there is
    none. An error of a gate is a warning in the log, and training continues.

    Raises UsageError or SpecError if an argument is wrong.
    """

    def __init__(
        self,
        trainer: Trainer,
        spec: str | None = None,
        *,
        data: Sequence[str] = (),
        held_out: Sequence[str] = (),
        base: str | None = None,
        when: Literal["save", "end"] = "save",
        stop_on: Sequence[str] = (),
        timeout: str = "15m",
        options: Sequence[str] = (),
    ) -> None:
        _check(trainer, when, stop_on, timeout)
        self._options = ["--timeout", timeout, *options]
        if spec is None:
            self._command = ["check"]
            self._options += _check_options(base, data, held_out)
        elif data or held_out or base:
            raise UsageError("spec: contains the data and the base; remove the other arguments")
        else:
            load_spec(spec, adapter=os.curdir)  # finds mistakes before the training
            self._command = ["gate", spec, "--adapter"]
        self._trainer, self._when, self._stop_on = trainer, when, tuple(stop_on)
        self.best: Path | None = None

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        is_last = state.global_step >= state.max_steps or control.should_training_stop
        if self._when == "end" and not is_last:
            return
        diagnosis = self._gated(_checkpoint(args, state.global_step))
        if self._stop_on and _of_first_process(args, diagnosis) in self._stop_on:
            _LOG.warning("training stops because of the diagnosis")
            control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        passed = [entry for entry in state.log_history if entry.get(_PASSED)]
        passed.sort(key=lambda entry: entry.get(_COMPOSITE, 0.0), reverse=True)
        folders = (_checkpoint(args, int(entry["step"])) for entry in passed)
        self.best = next(filter(Path.is_dir, folders), None)  # save_total_limit removes folders
        if not state.is_world_process_zero:
            return
        if self.best:
            _LOG.info("best checkpoint: %s", self.best)
        else:
            _LOG.warning("no checkpoint passed")

    def _gated(self, folder: Path) -> str:
        """The name of the diagnosis; "" after an error, or in another process than the first."""
        if not self._trainer.state.is_world_process_zero:
            return ""
        command = [*self._command, os.path.abspath(folder), *self._options]
        try:
            result = judge(command, folder.parent / "sway" / f"{folder.name}.json")
        except Exception as error:
            reason = str(error) if isinstance(error, SwayError) else unexpected_text(error)
            _LOG.warning("%s was not judged: %s", folder, one_line(reason))
            return ""
        return self._logged(folder, result)

    def _logged(self, folder: Path, result: GateResult) -> str:
        """Write the result into the logs; the name of its diagnosis."""
        # A trainer of trl would add its running means, and clear them.
        Trainer.log(self._trainer, _numbers(result))
        passed, found = result.exit_code == 0, result.diagnosis
        line = f"{result.verdict.upper()} {number(result.score)} {found.sentence if found else ''}"
        _LOG.log(logging.INFO if passed else logging.WARNING, "%s: %s", folder, one_line(line))
        return found.name if found else ""


def _check(trainer: Trainer, when: str, stop_on: Sequence[str], timeout: str) -> None:
    """Raises UsageError if an argument of the callback is wrong."""
    if when not in ("save", "end"):
        raise UsageError(f'when: must be "save" or "end", got {when!r}')
    if isinstance(stop_on, str) or not set(stop_on) <= set(_DIAGNOSES):
        raise UsageError(f"stop_on: must be a list of {', '.join(_DIAGNOSES)}; got {stop_on!r}")
    try:
        seconds(timeout)
    except ValueError as error:
        raise UsageError(f"timeout: {error}") from None
    if trainer.args.save_strategy == "no":
        raise UsageError('trainer: saves no checkpoint to gate; set save_strategy="steps"')


def _check_options(base: str | None, data: Sequence[str], held_out: Sequence[str]) -> list[str]:
    """The arguments of `sway check` for a base and files."""
    options = ["--base", base] if base else []
    for name, files in {"data": data, "held_out": held_out}.items():
        paths = [files] if isinstance(files, str) else list(files)
        for path in paths:
            if not os.path.exists(path):
                raise UsageError(f"{name}: {path} does not exist; give the files of the training")
        options += [f"--{name.replace('_', '-')}", *paths] if paths else []
    return options


def _checkpoint(args: TrainingArguments, step: int) -> Path:
    return Path(args.output_dir or os.curdir) / f"checkpoint-{step}"


def _numbers(result: GateResult) -> dict[str, float]:
    """The composite, whether the gate passed, and the score of each probe."""
    scores = {f"sway/{one_line(probe.name)}": probe.score for probe in result.probes}
    scores[_COMPOSITE] = result.score  # also if a probe has this name
    known = {name: score for name, score in scores.items() if score is not None}
    return {**known, _PASSED: float(result.exit_code == 0)}


def _of_first_process(args: TrainingArguments, diagnosis: str) -> str:
    """The diagnosis of the process that gates: all processes must stop together."""
    if args.world_size == 1:
        return diagnosis
    box = [diagnosis]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]
