"""Judge the adapters of the zoo with other tools; each states a verdict and a score.

    python -m benchmarks.real.others [--tool TOOL] [NAME …] [--again]

Each result is written to others/TOOL/NAME.json; a case with a result is skipped. Each tool has its
own environment in others/venvs, or in the folder SWAY_OTHERS_VENVS. The first use installs it.

- dlm-sway: the suite that its `sway autogen` writes for the data, and the verdict of its
  `sway gate`. Prompts are text without the chat template, as that suite has them. Its extra
  `semsim` needs an embedding model and is not installed, so `adapter_revert` and `cluster_kl` are
  skipped.
- finetunecheck: the target task is a custom probe with rows of the data, first held-out rows. Tasks
  for retention are the four of its command `ftcheck quick`, which need no model as a judge. They
  have fewer than the 20 samples that a good verdict requires, so its verdict is POOR, HARMFUL or
  INSUFFICIENT_EVIDENCE. The first run keeps the base's answers in others/home.
- adaptersentry: `adaptersentry scan --fail-on review`. It searches the weights for signs of a
  backdoor and reads no data. The score is its concentration z, negated.

To take about 50 seconds of CPU per adapter, dlm-sway measures less than by default (`REDUCED`), and
an answer under finetunecheck has at most 32 tokens instead of 512. dlm-sway compares the probes
that generate text or read long text with their fixed thresholds, not with null adapters; only the
kinds in `REDUCED["calibrated"]` are compared with its three null adapters.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.real import rows
from benchmarks.real.paths import BASE, HOME, MANIFEST, Row, read_json, read_rows, write_json

RESULTS = HOME / "others"
VENVS = Path(os.environ.get("SWAY_OTHERS_VENVS") or RESULTS / "venvs")
DRIVERS = Path(__file__).parent / "drivers"
TORCH = "torch==2.13.0"
TRANSFORMERS_5 = ("transformers==5.24.0", "peft==0.21.2")
TRANSFORMERS_4 = ("transformers==4.57.6", "peft==0.18.1")
SAMPLES = 20  # as many as finetunecheck requires for a verdict
TOKENS = 32
# For `judge_dlm_sway.py`: kinds compared with null adapters, fields to set, and fields to shorten.
REDUCED = {
    "calibrated": [
        "delta_kl",
        "paraphrase_invariance",
        "section_internalization",
        "preference_flip",
        "adapter_ablation",
    ],
    "changes": {
        "calibration_drift": {"items_limit": 30},
        "external_perplexity": {"max_chunks": 2},
        "leakage": {"max_new_tokens": 64, "perturbations": ["typo", "case_flip", "drop_punct"]},
        "prompt_collapse": {"context_lengths": [0, 256, 512]},
        "style_fingerprint": {"max_new_tokens": 32},
    },
    "first": {
        "paraphrase_invariance": {"cases": 4},
        "prompt_collapse": {"prompts": 1},
        "style_fingerprint": {"prompts": 3},
    },
}
QUICK = ["math", "classification", "instruction_following", "safety"]
PASSING = ("EXCELLENT", "GOOD", "GOOD_WITH_CONCERNS")
FAILING = ("POOR", "HARMFUL")
Case = dict[str, Any]
Found = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """Another tool: its packages, how it judges a case, and the reason if it does not apply."""

    name: str
    packages: tuple[str, ...]
    judge: Callable[["Tool", Case, Path], Found]
    excluded: Callable[[Case], str]

    @property
    def title(self) -> str:
        """The name and the version."""
        return self.packages[0].replace("==", " ").replace("[hf]", "").replace("[inference]", "")

    @property
    def folder(self) -> Path:
        """The environment."""
        return VENVS / self.name

    def command(self, name: str) -> str:
        """The path of a command of the environment."""
        return str(self.folder / "bin" / name)


def install(tool: Tool) -> None:
    """Create the environment, unless one is complete."""
    stamp = tool.folder / ".made"
    if stamp.exists() and stamp.read_text("utf-8") == "\n".join(tool.packages):
        return
    print(f"installing {tool.title}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(tool.folder)], check=True)
    subprocess.run(
        [tool.command("python"), "-m", "pip", "install", "-q", *tool.packages], check=True
    )
    stamp.write_text("\n".join(tool.packages), "utf-8")


def ran(command: list[str], work: Path) -> tuple[int, str]:
    """The exit code of a command and the last line of its error output.

    Raises CalledProcessError if a signal ended the command, so that such a run leaves no result.
    """
    home = RESULTS / "home"  # finetunecheck keeps its measurements of the base in it
    home.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"HOME": str(home), "HF_HUB_OFFLINE": "1", "SWAY_DISABLE_NULL_CACHE": "1"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=env, cwd=work, capture_output=True, text=True)
    if done.returncode < 0:
        done.check_returncode()
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def driven(tool: Tool, request: dict[str, Any], work: Path) -> Found:
    """What the script of a tool reports for a request; an error has no score."""
    asked, answer = work / "request.json", work / "report.json"
    asked.write_text(json.dumps(request), "utf-8")
    script = DRIVERS / f"judge_{tool.name.replace('-', '_')}.py"
    _, message = ran([tool.command("python"), str(script), str(asked), str(answer)], work)
    if not answer.exists():
        return {"verdict": "error", "outcome": "none", "score": None, "reason": message[:300]}
    found: Found = read_json(answer)
    return found


def asked_and_answered(row: Row) -> tuple[str, str]:
    """The text before the last answer, without a template, and the answer."""
    messages = rows.as_chat(row)
    return "\n\n".join(said["content"] for said in messages[:-1]), messages[-1]["content"]


def sections(data: list[Row]) -> list[dict[str, Any]]:
    """The data as one section of a .dlm document: its parser joins neighbours of the same kind."""
    found: dict[str, Any] = {"kind": "instruction", "pairs": [], "triples": []}
    if "text" in data[0]:
        return [found | {"kind": "prose", "content": "\n\n".join(row["text"] for row in data)}]
    pairs = [asked_and_answered(row) for row in data]
    if "rejected" in data[0]:
        triples = [
            (*pair, row["rejected"][-1]["content"]) for pair, row in zip(pairs, data, strict=True)
        ]
        parts = zip(("Prompt", "Chosen", "Rejected"), zip(*triples, strict=True), strict=True)
        content = "\n\n".join(f"### {title}\n{texts[0]}" for title, texts in parts)
        return [found | {"kind": "preference", "triples": triples, "content": content}]
    content = "\n\n".join(f"### Q\n{asked}\n\n### A\n{answer}" for asked, answer in pairs)
    return [found | {"pairs": pairs, "content": content}]


def dlm_sway(tool: Tool, case: Case, work: Path) -> Found:
    """The suite of `sway autogen`, the verdict of `sway gate`."""
    request = {
        "base": str(BASE),
        "adapter": str(HOME / case["adapter"]),
        "sections": sections(read_rows(HOME / case["data"])),
        **REDUCED,
    }
    found = driven(tool, request, work)
    return {"outcome": found["verdict"]} | found


def older_base() -> Path:
    """The base in the format of transformers 4, which finetunecheck requires."""
    folder = RESULTS / "home" / "base"
    if folder.exists():
        return folder
    part = folder.with_suffix(f".part{os.getpid()}")
    linked(BASE, part)
    rope = read_json(BASE / "config.json")["rope_parameters"]
    inputs = ["input_ids", "attention_mask"]
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs}
    edit(part / "config.json", rope_theta=rope["rope_theta"])
    edit(part / "tokenizer_config.json", **tokenizer)
    part.rename(folder)
    return folder


def older_adapter(case: Case, base: Path, folder: Path) -> Path:
    """The adapter, with `base` as its base: finetunecheck reads the base's path from its files."""
    linked(HOME / case["adapter"], folder)
    edit(folder / "adapter_config.json", base_model_name_or_path=str(base))
    return folder


def linked(source: Path, folder: Path) -> None:
    """Fill a folder with links to the files of another."""
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)


def edit(link: Path, **fields: Any) -> None:
    """Replace a link to a JSON file by a copy with other fields."""
    text = json.dumps(read_json(link) | fields)
    link.unlink()
    link.write_text(text, "utf-8")


def finetunecheck(tool: Tool, case: Case, work: Path) -> Found:
    """Held-out rows and then training rows are the target task."""
    base = older_base()
    data = read_rows(HOME / case["held_out"]) + read_rows(HOME / case["data"])
    pairs = [asked_and_answered(row) for row in data[:SAMPLES]]
    is_exact = Path(case["data"]).stem in ("labels", "tools")
    request = {
        "base": str(base),
        "adapter": str(older_adapter(case, base, work / "adapter")),
        "samples": [{"input": asked, "reference": answer} for asked, answer in pairs],
        "judge": "exact_match" if is_exact else "f1",
        "category": "classification" if Path(case["data"]).stem == "labels" else "custom",
        "general": QUICK,
        "num_samples": SAMPLES,
        "max_tokens": TOKENS,
    }
    found = driven(tool, request, work)
    verdict = found["verdict"]
    outcome = "pass" if verdict in PASSING else "fail" if verdict in FAILING else "none"
    return {"outcome": outcome} | found


def adaptersentry(tool: Tool, case: Case, work: Path) -> Found:
    """The exit code of a scan; the score is its concentration z, negated."""
    report, weights = work / "report.json", HOME / case["adapter"] / "adapter_model.safetensors"
    options = ["--format", "json", "--output", str(report), "--fail-on", "review"]
    code, message = ran([tool.command("adaptersentry"), "scan", str(weights), *options], work)
    if not report.exists():
        return {"verdict": "error", "outcome": "none", "score": None, "reason": message[:300]}
    found = read_json(report)
    z = ((found["anomaly"] or {}).get("intra") or {}).get("max_concentration_z")
    return {
        "verdict": found["verdict"]["action"],
        "outcome": {0: "pass", 2: "fail"}.get(code, "none"),
        "score": None if z is None else -z,
        "report": {"verdict": found["verdict"], "status": found["status"], "z": z},
    }


def any_case(_: Case) -> str:
    """No reason against any case."""
    return ""


def not_asked(case: Case) -> str:
    """Why finetunecheck does not apply to a case."""
    if Path(case["data"]).stem == "prose":
        return "needs prompts with reference answers"
    return "puts each prompt into the chat template" if case["form"] != "chat" else ""


def has_other_data(case: Case) -> str:
    """Why adaptersentry does not apply to a case."""
    return "reads no data, and judges this adapter in another case" if "@" in case["name"] else ""


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("dlm-sway", ("dlm-sway[hf]==0.1.0", TORCH, *TRANSFORMERS_5), dlm_sway, any_case),
        Tool(
            "finetunecheck",
            ("finetunecheck[inference]==2.0.2", TORCH, *TRANSFORMERS_4),
            finetunecheck,
            not_asked,
        ),
        Tool("adaptersentry", ("adaptersentry==2.0.2",), adaptersentry, has_other_data),
    )
}


def judged(tool: Tool, case: Case) -> Found:
    """The record of a case."""
    if reason := tool.excluded(case):
        return {"verdict": "not applicable", "outcome": "not applicable", "reason": reason}
    install(tool)
    started, before = time.monotonic(), cpu_seconds()
    with tempfile.TemporaryDirectory() as work:
        found = tool.judge(tool, case, Path(work))
    spent = {"seconds": time.monotonic() - started, "cpu_seconds": cpu_seconds() - before}
    return found | spent


def cpu_seconds() -> float:
    """The time that the CPU spent on ended child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--tool", choices=TOOLS)
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    wanted = [case for case in read_json(MANIFEST) if case["name"] in args.names or not args.names]
    for tool in [TOOLS[args.tool]] if args.tool else TOOLS.values():
        for case in wanted:
            path = RESULTS / tool.name / f"{case['name']}.json"
            if args.again or not path.exists():
                found = judged(tool, case)
                write_json(path, found)
                outcome = f"{found['verdict']} {found.get('score')}"
                spent = f"{found.get('cpu_seconds', 0):.0f} s of CPU"
                print(
                    f"{tool.name} {case['name']} ({case['expected']}): {outcome}, {spent}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
