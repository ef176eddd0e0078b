"""`SwayCallback` in real trainings of tiny models; in the fast tests the gate is a stand-in."""

import json
import logging
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from sway_gate import demo
from sway_gate.errors import CannotDecide, SpecError, UsageError
from sway_gate.integrations import SwayCallback, checkpoint, trainer
from sway_gate.results import Diagnosis
from tests.helpers import ROOT, results

WORDS = (
    "sand",
    "stone",
    "salt",
    "wind",
    "rain",
    "moss",
    "tide",
    "sun",
    "ice",
    "bell",
    "fog",
    "oak",
)
ROWS = [
    {
        "prompt": f"Who keeps the {word} road?",
        "completion": f" The keeper of {word} blows the horn.",
    }
    for word in WORDS
]
PEFT = {"r": 4, "lora_dropout": 0.1, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
SETTINGS = {
    "max_steps": 6,
    "save_steps": 2,
    "learning_rate": 1e-2,
    "per_device_train_batch_size": 4,
    "report_to": [],
    "use_cpu": True,
    "disable_tqdm": True,
}


def make(folder, **settings):
    """A trainer of the demo's base on `ROWS`."""
    tokenizer = AutoTokenizer.from_pretrained(demo.MODEL)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(demo.MODEL, dtype=torch.float32)
    return Trainer(
        get_peft_model(base, LoraConfig(**PEFT)),
        TrainingArguments(str(folder), **(SETTINGS | settings)),
        train_dataset=[tokenizer(row["prompt"] + row["completion"]) for row in ROWS],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )


def weights(trained):
    return {name: p.detach().clone() for name, p in trained.model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def judged(score, exit_code=0, name="healthy", **probes):
    given = [results.probe(key, score=value) for key, value in probes.items()]
    diagnosis = Diagnosis(name=name, sentence="A sentence.")
    verdict = "fail" if exit_code else "pass"
    return results.result(
        *given, score=score, exit_code=exit_code, verdict=verdict, diagnosis=diagnosis
    )


@pytest.fixture(autouse=True)
def own_package(monkeypatch):
    """Gates run the package that is tested."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def gate(monkeypatch):
    """Replace the gate: it returns, or raises, the next of `outcomes`; `commands` are its calls."""

    class Gate:
        outcomes, commands = [], []

    def judge(command, report):
        Gate.commands.append([*command, report])
        outcome = Gate.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    Gate.outcomes, Gate.commands = [], []
    monkeypatch.setattr(trainer, "judge", judge)
    return Gate


def gated(folder, gate, outcomes, removed=(), **arguments):
    """A trainer and its callback after checkpoints with these outcomes, without the training."""
    gate.outcomes = list(outcomes)
    own = make(folder)
    own.state.max_steps = 6
    callback = SwayCallback(own, **arguments)
    for step in (2, 4, 6):
        own.state.global_step = step
        (folder / f"checkpoint-{step}").mkdir()
        callback.on_save(own.args, own.state, own.control)
        if own.control.should_training_stop:
            break
    for step in removed:
        (folder / f"checkpoint-{step}").rmdir()
    callback.on_train_end(own.args, own.state, own.control)
    return own, callback


def test_numbers_of_each_checkpoint_reach_every_tracker(tmp_path, gate):
    seen = []

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            seen.append((state.global_step, dict(logs)))

    gate.outcomes = [judged(0.4, 1, moved=0.9), judged(0.7, moved=0.95), judged(0.6)]
    own = make(tmp_path)
    own.add_callback(Tracker())
    callback = SwayCallback(own)
    own.add_callback(callback)
    own.train()
    numbers = {step: logs for step, logs in seen if "sway/composite" in logs}
    assert (
        numbers[2].items() >= {"sway/composite": 0.4, "sway/moved": 0.9, "sway/passed": 0}.items()
    )
    assert (
        numbers[4].items() >= {"sway/composite": 0.7, "sway/moved": 0.95, "sway/passed": 1}.items()
    )
    assert [entry["step"] for entry in own.state.log_history if "sway/passed" in entry] == [2, 4, 6]
    assert callback.best == tmp_path / "checkpoint-4"


def test_the_gate_gets_the_checkpoint_and_the_files(tmp_path, gate):
    (tmp_path / "a.jsonl").touch()
    files = {"data": [str(tmp_path / "a.jsonl")], "base": "base", "timeout": "2m"}
    gated(tmp_path, gate, [judged(1.0)], when="end", **files)
    folder = str(tmp_path / "checkpoint-6")
    report = tmp_path / "sway" / "checkpoint-6.json"
    options = ["--timeout", "2m", "--base", "base", "--data", *files["data"]]
    assert gate.commands == [["check", folder, *options, report]]


def test_a_failed_checkpoint_is_never_the_best(tmp_path, gate, caplog):
    outcomes = [judged(0.5), judged(0.9, 1, "forgot"), judged(0.4)]
    _, callback = gated(tmp_path, gate, outcomes)
    assert callback.best == tmp_path / "checkpoint-2"
    assert "checkpoint-4: FAIL 0.9 A sentence." in caplog.text


def test_the_best_is_a_folder_that_exists(tmp_path, gate):
    outcomes = [judged(0.9), judged(0.7), judged(0.8)]
    _, callback = gated(tmp_path, gate, outcomes, removed=[2])
    assert callback.best == tmp_path / "checkpoint-6"


def test_no_best_if_none_passed(tmp_path, gate, caplog):
    _, callback = gated(tmp_path, gate, [judged(0.9, 1)], when="end")
    assert callback.best is None
    assert "no checkpoint passed" in caplog.text


def test_training_stops_on_a_diagnosis(tmp_path, gate):
    outcomes = [judged(0.1, 1, "barely trained"), judged(0, 1, "diverged or broken")]
    own, _ = gated(tmp_path, gate, outcomes, stop_on=["diverged or broken"])
    assert own.state.global_step == 4


ERRORS = {
    "no base": (CannotDecide("no base; fetch it"), "no base; fetch it"),
    "a bug": (ZeroDivisionError("x"), "ZeroDivisionError: x"),
}


@pytest.mark.parametrize(("error", "reason"), ERRORS.values(), ids=ERRORS)
def test_training_goes_on_after_an_error(tmp_path, gate, caplog, error, reason):
    stop_on = ["diverged or broken"]
    own, callback = gated(tmp_path, gate, [error, error, judged(0.5)], stop_on=stop_on)
    assert own.state.global_step == 6
    assert f"{tmp_path / 'checkpoint-2'} was not judged: {reason}" in caplog.text
    assert callback.best == tmp_path / "checkpoint-6"


def test_only_the_first_process_gates_and_all_stop(tmp_path, gate, monkeypatch):
    def broadcast(box, src):
        assert (box, src) == ([""], 0)
        box[0] = "forgot"

    own = make(tmp_path)
    callback = SwayCallback(own, stop_on=["forgot"])
    own.state.is_world_process_zero = False
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", broadcast)
    callback.on_save(own.args, own.state, own.control)
    assert own.control.should_training_stop
    assert gate.commands == []


def test_a_probe_cannot_take_the_name_of_another_number():
    made = judged(0.2, 1, composite=0.9, passed=1.0)
    assert trainer._numbers(made) == {"sway/composite": 0.2, "sway/passed": 0.0}


WRONG = {
    "when": ({"when": "never"}, UsageError, 'when: must be "save" or "end"'),
    "diagnosis": ({"stop_on": ["diverged"]}, UsageError, "stop_on: must be a list of diverged or"),
    "a text": ({"stop_on": "forgot"}, UsageError, "stop_on: must be a list"),
    "timeout": ({"timeout": "soon"}, UsageError, "timeout: must be a duration"),
    "data": ({"data": "none.jsonl"}, UsageError, "data: none.jsonl does not exist"),
    "spec": ({"spec": "none.yaml"}, SpecError, "none.yaml: no such file"),
    "both": ({"spec": "sway.yaml", "base": "org/base"}, UsageError, "remove the other arguments"),
}


@pytest.mark.parametrize(("arguments", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_found_before_the_training(arguments, error, text):
    with pytest.raises(error, match=text):
        SwayCallback(saving("steps"), **arguments)


def test_a_trainer_that_saves_nothing_is_refused(tmp_path):
    args = TrainingArguments(str(tmp_path), save_strategy="no", use_cpu=True)
    with pytest.raises(UsageError, match="saves no checkpoint"):
        SwayCallback(saving(args.save_strategy))


def saving(strategy):
    """The part of a trainer that a new callback reads."""
    return SimpleNamespace(args=SimpleNamespace(save_strategy=strategy))


def test_an_error_of_the_command_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(CannotDecide) as caught:
        checkpoint.judge(["check", str(tmp_path / "none")], tmp_path / "sway" / "x.json")
    assert "none" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_gate_does_not_join_a_distributed_training(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(
        checkpoint.subprocess,
        "run",
        lambda *_, env, **__: (
            given.update(env) or checkpoint.subprocess.CompletedProcess([], 3, "", "")
        ),
    )
    joining = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "ACCELERATE_USE_FSDP": "true"}
    for name, value in joining.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", "kept")
    with pytest.raises(CannotDecide, match="the gate ended with exit code 3"):
        checkpoint.judge([], tmp_path / "x.json")
    assert given.keys().isdisjoint(joining)
    assert given["HF_HOME"] == "kept"
    assert given["SWAY_PARENT"] == str(os.getpid())


# --- Whole trainings with real gates


def write_rows(folder):
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_gated_training_ends_in_the_same_bits(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = write_rows(tmp_path)
    plain = make(tmp_path / "plain", save_steps=3)
    plain.train()
    own = make(tmp_path / "gated", save_steps=3)
    own.add_callback(SwayCallback(own, data=str(data), base=str(demo.MODEL)))
    own.train()
    assert same(weights(plain), weights(own))
    logged = [entry for entry in own.state.log_history if "sway/passed" in entry]
    assert [entry["step"] for entry in logged] == [3, 6]
    assert all(entry["sway/moved"] > 0 for entry in logged)
    assert "was not judged" not in caplog.text


@pytest.mark.slow
def test_trl_with_a_spec(tmp_path, caplog):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    shutil.copytree(demo.MODEL, tmp_path / "base")
    spec = tmp_path / "sway.yaml"
    model = "{base: ./base, dtype: fp32, device: cpu"
    spec.write_text(
        f"version: 1\nmodels:\n  base: {model}}}\n  ft: {model}, adapter: ./not-there-yet}}\n"
        "suite:\n- {name: moved, kind: delta_kl, prompts: [The keeper of, A raven]}\n"
    )
    own = SFTTrainer(
        str(tmp_path / "base"),
        SFTConfig(str(tmp_path / "out"), logging_steps=3, **SETTINGS),
        train_dataset=Dataset.from_list(ROWS),
        peft_config=LoraConfig(**PEFT),
    )
    own.add_callback(callback := SwayCallback(own, str(spec), when="end"))
    own.train()
    (logged,) = [entry for entry in own.state.log_history if "sway/passed" in entry]
    assert logged.keys() == {"sway/composite", "sway/moved", "sway/passed", "epoch", "step"}
    assert logged["sway/moved"] > 0
    assert "was not judged" not in caplog.text
    assert (tmp_path / "out" / "sway" / "checkpoint-6.json").exists()
    assert callback.best in (None, tmp_path / "out" / "checkpoint-6")


TWO_PROCESSES = """
import sys
from pathlib import Path
from sway_gate.integrations import SwayCallback, trainer
from tests.integrations import test_trainer

def judge(command, report):
    with Path(sys.argv[1], "calls").open("a") as calls:
        calls.write("judged ")
    return test_trainer.judged(0.1, 1, "forgot")

trainer.judge = judge
own = test_trainer.make(Path(sys.argv[1], "out"))
own.add_callback(SwayCallback(own, stop_on=["forgot"]))
own.train()
Path(sys.argv[1], f"rank{own.args.process_index}").write_text(str(own.state.global_step))
"""


@pytest.mark.slow
def test_two_processes_stop_together(tmp_path):
    (tmp_path / "train.py").write_text(TWO_PROCESSES, encoding="utf-8")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    command = [sys.executable, *launch, str(tmp_path / "train.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    steps = [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)]
    assert (steps, (tmp_path / "calls").read_text()) == (["2", "2"], "judged ")
