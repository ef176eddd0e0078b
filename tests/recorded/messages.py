"""Messages and exit codes for invalid command lines, specs, data and results."""

import json
from collections.abc import Mapping

from tests.recorded.stored import bring
from tests.recorded.words import without_estimate
from tests.recorded.workshop import Workshop

BASE, FT = "base: {base: demo/model, device: cpu}", "ft: {base: demo/model, adapter: demo/healthy}"
SOUND = "{name: moved, kind: delta_kl, prompts: [The island]}"


def spec(*suite: str, base: str = BASE, ft: str = FT, more: str = "") -> str:
    """A spec of the demo's models with one entry per line."""
    entries = "".join(f"  - {entry}\n" for entry in suite or (SOUND,))
    return f"version: 1\nmodels:\n  {base}\n  {ft}\nsuite:\n{entries}{more}"


def entry(fields: str) -> str:
    """A spec whose second entry has these fields."""
    return spec(SOUND, f"{{name: p, {fields}}}")


SPECS: dict[str, str | bytes] = {
    "an unknown field": entry("kind: delta_kl, promts: [a]"),
    "an unknown field far from any": entry("kind: delta_kl, zzzzzzzz: 1"),
    "an unknown field on top": spec(more="sectoins: []\n"),
    "an unknown kind": entry("kind: delta_lk"),
    "no kind": entry("prompts: [a]"),
    "no name": spec("{kind: delta_kl}"),
    "an empty name": spec('{name: " ", kind: delta_kl}'),
    "a name that is used twice": spec(SOUND, SOUND),
    "two calibrations": spec(
        SOUND, "{name: a, kind: null_adapter}", "{name: b, kind: null_adapter}"
    ),
    "nothing to judge": spec("{name: a, kind: null_adapter}"),
    "all is off": spec("{name: a, kind: delta_kl, enabled: false}"),
    "an empty suite": "version: 1\nmodels: {}\nsuite: []\n",
    "an empty file": "",
    "a list": "- a\n- b\n",
    "another version": spec().replace("version: 1", "version: 2"),
    "broken YAML": "version: 1\nmodels: {base: [\nsuite: :\n",
    "a tab": "version: 1\n\tmodels: 3\n",
    "two documents": "version: 1\n---\nversion: 1\n",
    "an alias": "version: 1\na: &a [1]\nb: *a\n",
    "a tag": "version: 1\nsuite: !!python/object:os.system {}\n",
    "a key twice": spec().replace("version: 1", "version: 1\nversion: 1"),
    "not UTF-8": spec().encode() + b"# \xff\n",
    "text for a number": entry("kind: delta_kl, weight: one"),
    "a truth value for text": entry("kind: delta_kl, prompts: [yes]"),
    "text for a list": entry("kind: delta_kl, prompts: hello"),
    "NaN": entry("kind: delta_kl, weight: .nan"),
    "infinity": entry("kind: delta_kl, weight: .inf"),
    "a float for a count": entry("kind: delta_kl, top_k: 1.5"),
    "out of range": entry("kind: external_perplexity, chunk_chars: 1"),
    "too few numbers": entry("kind: adapter_ablation, lambdas: [0, 1]"),
    "low above high": entry("kind: adapter_ablation, assert_saturation_between: [1, 0.5]"),
    "equal contexts": entry("kind: prompt_collapse, context_lengths: [8, 8]"),
    "an item of one": entry("kind: calibration_drift, items: [[a]]"),
    "a case without paraphrases": entry(
        "kind: adapter_revert, cases: [{prompt: a, gold: b, paraphrases: []}]"
    ),
    "an unknown perturbation": entry("kind: leakage, perturbations: [tpyo]"),
    "no weights": spec(
        more="defaults: {score_weights: {adherence: 0, attribution: 0, calibration: 0,"
        " ablation: 0}}\n"
    ),
    "a NaN among the weights": spec(more="defaults: {score_weights: {adherence: .nan}}\n"),
    "an unknown category": spec(more="defaults: {score_weights: {adherance: 1}}\n"),
    "a threshold above 1": spec(more="defaults: {coverage_threshold: 1.5}\n"),
    "many mistakes": spec("{name: a, kind: delta_kl, x: 1}", "{name: a, kind: leak}", "3"),
    "sections of one id": spec(
        more="sections:\n- {kind: prose, id: a, content: b}\n- {kind: prose, id: a, content: c}\n"
    ),
    "sections that say the same": spec(
        more="sections:\n- {kind: prose, content: b}\n- {kind: prose, content: b}\n"
    ),
    "a section of an unknown kind": spec(more="sections: [{kind: poem, content: b}]\n"),
    "an empty section": spec(more="sections: [{kind: prose, content: ' '}]\n"),
    "a section without pairs": spec(more="sections: [{kind: instruction, pairs: []}]\n"),
    "a preference without its loser": spec(
        more="sections: [{kind: preference, pairs: [{prompt: a, chosen: b}]}]\n"
    ),
    "no models": f"version: 1\nsuite:\n  - {SOUND}\n",
    "no adapter": spec(ft="ft: {base: demo/model}"),
    "an adapter that is not there": spec(ft="ft: {base: demo/model, adapter: ./none}"),
    "a base that is not there": spec(
        base="base: {base: ./none}", ft="ft: {base: ./none, adapter: demo/healthy}"
    ),
    "two bases": spec(ft="ft: {base: org/other, adapter: demo/healthy}"),
    "a base on a share": spec(base=r"base: {base: '\\server\share\model'}"),
    "data on a share": spec(more="data: '\\\\server\\share\\d.jsonl'\n"),
    "a revision that is none": spec(base="base: {base: demo/model, revision: ../x}"),
    "two revisions": spec(
        base="base: {base: demo/model, revision: a}",
        ft="ft: {base: demo/model, adapter: demo/healthy, revision: b}",
    ),
    "a hub id that is not here": spec(
        base="base: {base: org/absent}", ft="ft: {base: org/absent, adapter: org/lora}"
    ),
    "an adapter on the hub that is not here": spec(ft="ft: {base: demo/model, adapter: org/lora}"),
    "a backend that is not built": spec(
        base="base: {kind: api, base: a}", ft="ft: {kind: api, base: a, adapter: b}"
    ),
    "two backends": spec(base="base: {kind: dummy, base: demo/model}"),
    "a custom backend without a factory": spec(
        base="base: {kind: custom, base: a}", ft="ft: {kind: custom, base: a, adapter: b}"
    ),
    "a custom backend that is not there": spec(
        base="base: {kind: custom, base: a, entry_point: 'absent.module:make'}",
        ft="ft: {kind: custom, base: a, adapter: b, entry_point: 'absent.module:make'}",
    ),
    "data that is not there": spec(more="data: none.jsonl\n"),
    "a document that is not there": spec(more="dlm_source: none.dlm\n"),
}


def specs(work: Workshop) -> None:
    """`sway gate` of each spec; all of them fail before a measurement."""
    work.bring_demo()
    told = {}
    for name, content in SPECS.items():
        work.write("sway.yaml", content)
        told[name] = work.told("gate", "sway.yaml", "--no-cache")
    work.keep_passages("specs.txt", told)


DATA: dict[str, str | bytes] = {
    "empty.jsonl": "",
    "blank.jsonl": "\n\n",
    "broken.jsonl": '{"prompt": "a", "completion": "b"}\n{"prompt": \n',
    "number.jsonl": "3\n",
    "shapeless.jsonl": '{"question": "a", "answer": "b"}\n',
    "halves.jsonl": '{"prompt": "a"}\n{"prompt": "", "completion": "b"}\n'
    '{"prompt": 3, "completion": "b"}\n',
    "intent.jsonl": '{"prompt": "a", "completion": "b", "intent": "memorise"}\n',
    "roles.jsonl": '{"messages": [{"role": "wizard", "content": "a"}]}\n',
    "silent.jsonl": '{"messages": [{"role": "user", "content": "a"}]}\n',
    "picture.jsonl": '{"messages": [{"role": "user", "content": [{"type": "image"}]}]}\n',
    "deep.jsonl": '{"prompt": ' + "[" * 3000 + "\n",
    "latin.jsonl": b'{"text": "caf\xe9"}\n',
    "wide.jsonl": '{"text": "a"}\n'.encode("utf-16"),
    "packed.jsonl": b"\x1f\x8b\x08\x00rest",
    "pickle.jsonl": b"\x80\x04rest",
    "pointer.jsonl": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    "array.json": '[{"text": "a"}, {"text": ',
    "latin.md": b"caf\xe9\n",
    "empty.md": "",
    "table.csv": "a,b\n1,2\n",
    "model.bin": b"\0\1\2",
}


def data(work: Workshop) -> None:
    """Each file as the data of a spec and of `sway init`, and some of `sway check`."""
    work.bring_demo()
    told = {}
    models = ("demo/healthy", "--base", "demo/model")
    for name, content in DATA.items():
        work.write(name, content)
        work.write("sway.yaml", spec(more=f"data: {name}\n"))
        lines = [without_estimate(work.told("run", "sway.yaml", "--dry-run"))]
        lines += [work.told("init", *models, "--data", name, "-o", "-")]
        told[name] = "".join(lines)
    told["no file"] = work.told("init", *models, "--data", "none.jsonl", "-o", "-")
    told["a folder"] = work.told("init", *models, "--data", "demo", "-o", "-")
    told["check"] = work.told("check", *models, "--data", "broken.jsonl", "none.md", "latin.md")
    for name, content in {"none": "\n", "latin": b"\xff", "large": "x\n" * 2**20}.items():
        work.write(f"{name}.txt", content)
        told[f"prompts: {name}"] = work.told("check", *models, "--prompts", f"{name}.txt")
    work.keep_passages("data.txt", told)


ARGUMENTS = [
    "",
    "judge",
    "gate --frobnicate",
    "gate --thresh 0.5",
    "gate a.yaml b.yaml",
    "gate none.yaml",
    "gate .",
    "gate --threshold 1.1",
    "gate --threshold=-0.1",
    "gate --threshold nan",
    "gate --threshold high",
    "gate --weights style=1",
    "gate --weights adherence=x",
    "gate --weights adherence",
    "gate --weights=",
    "gate --weights adherence=-1",
    "gate --weights adherence=inf",
    "gate --weights adherence=1,adherence=2",
    "gate --weights adherence=0,attribution=0,calibration=0,ablation=0,baseline=0",
    "gate --json none/r.json",
    "gate --json .",
    "gate --json sway.yaml/r.json",
    "gate --json demo/healthy/adapter_config.json",
    "gate --junit sway.yaml",
    "gate --junit other.yml",
    "gate --json r --junit ./r",
    "gate --json - --markdown -",
    "gate --trace -",
    "gate --tolerance 0.1",
    "gate --tolerance 2 --baseline x.json",
    "gate --baseline none.json",
    "check",
    "check demo/absent",
    "check demo/healthy --base demo/absent",
    "check demo/healthy --prompts none.txt",
    "static",
    "static demo",
    "explain delta",
    "explain delta_kl leakage",
    "cache drop",
    "init demo/healthy",
    "init demo/absent --data demo/document.md -o -",
    "init demo/healthy --data demo/document.md",
    "autogen none.dlm",
    "autogen none.dlm -o -",
    "report",
    "report none.json",
    "report sway.yaml --format pdf",
    "compare a.json",
    "compare - -",
    "compare none.json none.json",
    "compare a.json b.json --tolerance x",
    "diff sway.yaml --a demo/healthy",
    "baseline update b.json",
    "baseline update b.json sway.yaml --from r.json",
    "baseline drop b.json",
    "mine sway.yaml --mode all",
    "mine sway.yaml -n 0",
    "mine sway.yaml -o sway.yaml",
    "mine sway.yaml",
    "trace none",
    "trace sway.yaml --slowest -1",
    "run --dry-run none.yaml",
]


def arguments(work: Workshop) -> None:
    """Invalid command lines, with a valid spec in the folder."""
    work.bring_demo()
    work.write("sway.yaml", spec())
    told = {f"sway {line}": work.told(*line.split()) for line in ARGUMENTS}
    work.keep_passages("arguments.txt", told)


def _wrong_results(healthy: str) -> Mapping[str, str | bytes]:
    report = json.loads(healthy)
    twice = report | {"probes": report["probes"][:1] * 2}
    odd = report | {"verdict": "maybe"}
    lacking = {key: value for key, value in report.items() if key != "probes"}
    return {
        "empty": "",
        "no JSON": "{",
        "a list": "[]",
        "another version": json.dumps(report | {"schema_version": 2}),
        "no version": "{}",
        "an unknown verdict": json.dumps(odd),
        "no probes": json.dumps(lacking),
        "text for a score": json.dumps(report | {"score": "high"}),
        "a probe twice": json.dumps(twice),
        "UTF-16": healthy.encode("utf-16"),
        "not UTF-8": b'{"a": "\xff"}',
        "nested": "[" * 10_000,
        "a field more": json.dumps(report | {"later": 1}),
    }


def results(work: Workshop) -> None:
    """Invalid reports, or reports of another base: shown, compared, and used as baseline."""
    bring(work)
    work.bring_demo()
    work.write("sway.yaml", spec())
    told = {}
    for name, content in _wrong_results(work.read("healthy.json")).items():
        work.write("wrong.json", content)
        told[name] = work.told("report", "wrong.json", "--format", "junit")
    told["compared"] = work.told("compare", "healthy.json", "wrong.json", "--quiet")
    told["a folder"] = work.told("report", "demo")
    told["over itself"] = work.told("report", "healthy.json", "-o", "healthy.json")
    for name in ("healthy", "undecided"):
        told[f"{name} as a baseline"] = work.told(
            "baseline", "update", "b.json", "--from", f"{name}.json"
        )
        told[f"gate beside {name}"] = work.told("gate", "sway.yaml", "--baseline", f"{name}.json")
    told["gate beside an accepted one"] = work.told("gate", "sway.yaml", "--baseline", "b.json")
    work.keep("accepted.json", work.read("b.json"))
    work.keep_passages("results.txt", told)
