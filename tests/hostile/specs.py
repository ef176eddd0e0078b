"""Specs: YAML that expands, nests or names code; numbers that mislead; paths that lead astray."""

from sway_gate.spec import WAIVERS
from tests.hostile.case import SOUND, Case, Files, folder, pipe, sparse, spec, to

GATE = "gate sway.yaml --no-cache"
DRY = "run sway.yaml --dry-run"

BAITED_WAIVER = (
    'waivers: [{probe: moved, reason: "a\\n::error::b\\e[2J", by: me, expires: 2027-01-31}]'
)


def laughs() -> str:
    """A billion values from ten lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    return "\n".join(lines)


def entry(fields: str) -> Files:
    """A spec whose second entry has these fields."""
    return spec(SOUND, f"{{name: p, {fields}}}")


def text(content: str | bytes) -> Files:
    return {"sway.yaml": content}


def refused(name: str, words: str, files: Files) -> Case:
    return Case(name, GATE, 2, words, files)


CASES = [
    # YAML
    refused("billion laughs", "values after its aliases are expanded", text(laughs())),
    refused("alias to itself", "contains itself", text("a: &a [*a]\n")),
    refused("merge of itself", "contains itself", text("a: &a\n  <<: *a\n")),
    refused("deep flow", "nested deeper than 64", text("a: " + "[" * 50_000)),
    refused("deep blocks", "nested deeper than 64", text("- " * 3000 + "x")),
    refused("deep keys", "nested deeper than 64", text("? " * 3000 + "x")),
    refused("many values", "more than 100000 values", text("[" + "1," * 150_000 + "]")),
    refused("large", "larger than 4 MiB", text("#" * (5 << 20))),
    refused("python tag", "is not supported", text("a: !!python/object/apply:os.system [id]\n")),
    refused("unknown tag", "is not supported", text("a: !Ref b\n")),
    refused("binary tag", "is not supported", text("a: !!binary aGVsbG8=\n")),
    refused("tag directive", "is not supported", text("%TAG ! tag:x,2002:\n---\na: !b c\n")),
    refused("two documents", "second document", text("a: 1\n---\nb: 2\n")),
    refused("duplicate key", "version", spec(more="version: 1\n")),
    refused("NUL character", "is not allowed in YAML", text("a: b\0c\n")),
    refused("escape character", "is not allowed in YAML", text("a: \x1b[31mred\n")),
    refused("escaped escape", "\\x1b", spec(more='"\\e[2J": 1\n')),
    refused("bidi override", "unknown field", spec(more="'a\u202eb': 1\n")),
    refused("workflow command", "unknown field", spec(more='"\\n::error::forged": 1\n')),
    refused("UTF-16", "not UTF-8", text("version: 1\n".encode("utf-16"))),
    refused("lone surrogate", "not valid YAML", text('version: "\\ud800"\n')),
    refused("key that is a list", "a key must be text", text("[a, b]: 1\n")),
    refused("key of 1000 letters", "unknown field", spec(more=f"{'a' * 1000}: 1\n")),
    refused(
        "thousand mistakes", "sway.yaml:", spec(more="".join(f"k{i}: 1\n" for i in range(1000)))
    ),
    refused("JSON", "models", text('{"version": 1}')),
    refused("shell script", "sway.yaml:2:1", text("#!/bin/sh\nrm -rf /\n")),
    refused("pickle", "sway.yaml", text(b"\x80\x04cos\nsystem\n(S'id'\ntR.")),
    # numbers
    refused("weight of 1e308", "1000", entry("kind: delta_kl, weight: 1e308")),
    refused("weight of 5e-324", "0.001", entry("kind: delta_kl, weight: 5e-324")),
    refused("negative weight", "weight", entry("kind: delta_kl, weight: -1")),
    refused("NaN weight", "weight", entry("kind: delta_kl, weight: .nan")),
    refused(
        "sexagesimal weight", "got the text '1:30:00'", entry("kind: delta_kl, weight: 1:30:00")
    ),
    refused("octal weight", "010", entry("kind: delta_kl, weight: 010")),
    refused("huge integer", "seed", spec(more=f"defaults: {{seed: {'9' * 5000}}}\n")),
    refused("infinite threshold", "z_gte", entry("kind: delta_kl, assert_z_gte: -.inf")),
    refused(
        "NaN threshold",
        "coverage_threshold",
        spec(more="defaults: {coverage_threshold: .nan}\n"),
    ),
    refused("truth value as number", "weight", entry("kind: delta_kl, weight: true")),
    refused(
        "weights of zero",
        "score_weights",
        spec(
            more="defaults: {score_weights: {adherence: 0, attribution: 0, calibration: 0, "
            "ablation: 0}}\n"
        ),
    ),
    refused("nothing enabled", "at least one", spec(SOUND[:-1] + ", enabled: false}")),
    refused("only nulls", "at least one", spec("{name: n, kind: null_adapter}")),
    # amounts
    Case(
        "million lambdas",
        GATE,
        2,
        "lambdas",
        spec(f"{{name: a, kind: adapter_ablation, lambdas: [{'1.5,' * 90_000}2]}}"),
    ),
    Case(
        "multipliers times runs",
        GATE,
        2,
        "rank_multipliers",
        spec(
            SOUND,
            f"{{name: n, kind: null_adapter, runs: 256, rank_multipliers: [{'1.5,' * 9000}2]}}",
        ),
    ),
    Case(
        "fifty thousand prompts",
        GATE,
        2,
        "prompts",
        spec(f"{{name: a, kind: delta_kl, prompts: [{'a,' * 50_000}b]}}"),
    ),
    # names and paths
    refused("base is an option", "--help", spec(base="{base: --help}")),
    refused(
        "base is a URL",
        "does not exist",
        spec(
            base="{base: 'https://x/y.git'}",
            ft="{base: 'https://x/y.git', adapter: '{demo}/healthy'}",
        ),
    ),
    refused(
        "base leads out",
        "does not exist",
        spec(
            base="{base: ../../../etc/x}",
            ft="{base: ../../../etc/x, adapter: '{demo}/healthy'}",
        ),
    ),
    refused("base with a NUL", "sway.yaml", spec(base='{base: "a\\0b"}')),
    refused(
        "base on a share",
        "share",
        spec(
            base="{base: '//host/share'}",
            ft="{base: '//host/share', adapter: '{demo}/healthy'}",
        ),
    ),
    refused(
        "revision leads out",
        "revision",
        spec(
            base="{base: org/name, revision: ../../x}",
            ft="{base: org/name, adapter: '{demo}/healthy'}",
        ),
    ),
    Case(
        "device is a path",
        GATE,
        3,
        "device '/dev/sda' cannot be used",
        spec(base="{base: '{demo}/model', device: /dev/sda}"),
        heavy=True,
    ),
    refused("name with an escape", "suite", spec('{name: "\\e]0;x\\a", kind: none}')),
    refused("name of a megabyte", "kind", spec(f"{{name: {'n' * 100_000}, kind: none}}")),
    refused(
        "custom entry point",
        "entry_point",
        spec(
            base="{kind: custom, base: a, entry_point: 'os:system'}",
            ft="{kind: custom, base: a, adapter: b, entry_point: '../x.py'}",
        ),
    ),
    Case(
        "custom code without permission",
        GATE,
        2,
        "--allow-code",
        spec(
            base="{kind: custom, base: a, entry_point: 'evil:make'}",
            ft="{kind: custom, base: a, adapter: b, entry_point: 'evil:make'}",
        )
        | {"evil.py": "open('ran', 'w')\ndef make(*_): raise SystemExit(0)\n"},
    ),
    Case(
        "remote code without permission",
        GATE,
        2,
        "--allow-code",
        spec(base="{base: '{demo}/model', trust_remote_code: true}"),
    ),
    *(
        Case(f"waivers are {name}", "gate sway.yaml --dry-run", 2, words, {**spec(), WAIVERS: file})
        for name, words, file in (
            ("a pipe", "cannot be read", pipe),
            ("a folder", "cannot be read", folder),
            ("a device", "cannot be read", to("/dev/zero")),
            ("the secret", "not a file of waivers", to(".git-credentials")),
            ("large", "larger than", sparse(10**10)),
            ("deep", "nested deeper", "[" * 100_000),
            ("bait", "printable text", BAITED_WAIVER),
        )
    ),
    Case("spec is the secret", "gate .git-credentials", 2, ".git-credentials"),
    Case(
        "spec links to the secret",
        GATE,
        2,
        "sway.yaml",
        {"sway.yaml": to(".git-credentials")},
    ),
    Case(
        "document is the secret",
        DRY,
        2,
        ".git-credentials",
        spec(more="dlm_source: .git-credentials\n"),
    ),
    Case("spec is a pipe", GATE, 2, "sway.yaml", {"sway.yaml": pipe}),
    Case("spec is a device", "gate /dev/zero", 2, "/dev/zero"),
    Case("spec is a folder", GATE, 2, "is a folder", {"sway.yaml": folder}),
    Case("spec links to itself", GATE, 2, "sway.yaml", {"sway.yaml": to("sway.yaml")}),
    Case("spec is a name with a newline", "gate 'a\n::error::x'", 2, "no such file"),
    Case("spec is a name of 900 letters", f"gate {'a' * 900}", 2, "cannot be read"),
    Case("spec from standard input", "gate - --no-cache", 2, "<stdin>", stdin=b"\xff\xfe\0"),
    Case("empty standard input", "gate -", 2, "<stdin>:1:1: the file is empty"),
    # other files of a command line
    Case(
        "prompts are a pipe",
        "check {demo}/healthy --base {demo}/model --prompts p",
        2,
        "p:",
        {"p": pipe},
    ),
    Case(
        "prompts are a device",
        "check {demo}/healthy --base {demo}/model --prompts /dev/zero",
        2,
        "/dev/zero",
    ),
    Case(
        "prompts of NUL characters",
        "check {demo}/healthy --base {demo}/model --prompts p",
        2,
        "p: binary data",
        {"p": bytes(100)},
    ),
    Case(
        "model is a pickle",
        "check --model m --base {demo}/model",
        2,
        "pickle",
        {"m/config.json": "{}", "m/pytorch_model.bin": b"cos\nsystem\n(S'touch ran'\ntR."},
    ),
    Case("model is an option", "check --model=--x --base {demo}/model", 2, "--x"),
    Case(
        "sides of a diff lead out", "diff sway.yaml --a ../../x --b ../../y", 2, "../../x", spec()
    ),
    Case(
        "mined suite over an input",
        "mine sway.yaml -o train.jsonl",
        2,
        "would overwrite",
        spec(more="data: train.jsonl\n") | {"train.jsonl": '{"text": "a"}\n'},
    ),
    # outputs
    Case("report over the spec", "gate sway.yaml --json sway.yaml", 2, "--json", spec()),
    Case(
        "report over the config",
        "gate sway.yaml --json base/adapter_config.json",
        2,
        "adapter's file",
        spec() | {"base": folder},
    ),
    Case("report into no folder", "gate sway.yaml --html none/x.html", 2, "does not exist", spec()),
    Case("report onto a full device", "report - -o /dev/full", 2, "the file is empty"),
    Case(
        "init over a spec",
        "init {demo}/healthy --data {demo}/document.md -o sway.yaml",
        2,
        "already exists",
        spec(),
    ),
    # the command line
    Case("unknown option with an escape", "gate '--x\x1b[2J'", 2, "unknown option --x"),
    Case("kind with an escape", "explain '\x1b[31m::error::x'", 2, "is not a kind of probe"),
    Case("threshold is NaN", "gate sway.yaml --threshold nan", 2, "--threshold", spec()),
    Case("weights of 1e308", "gate sway.yaml --weights adherence=1e308", 2, "--weights", spec()),
    Case("count of 5000 digits", f"mine sway.yaml -n {'9' * 5000}", 2, "-n", spec()),
]
