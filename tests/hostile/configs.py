"""adapter_config.json: what peft would import, compile, allocate or follow."""

import json

from tests.hostile.case import (
    CONFIG,
    Case,
    Content,
    adapter,
    base,
    folder,
    own_spec,
    pipe,
    spec,
    to,
)

STATIC = "static adapter --base {demo}/model"
GATE = "gate sway.yaml --no-cache"


def static(name: str, code: int, words: str, raw: Content = "", **changed: object) -> Case:
    return Case(name, STATIC, code, words, adapter(raw=raw, **changed))


def with_text(more: str) -> str:
    """The demo's config with more text at its end, inside the object."""
    return f"{json.dumps(CONFIG)[:-1]}, {more}}}"


LOOP, END = "{% for i in range(10**9) %}", "{% endfor %}"

SLOW = "([a-z._0-9]+)*!"
"""Takes years on the name of a module."""
SLOW_PATTERNS: dict[str, dict[str, object]] = {
    "slow targets": {"target_modules": SLOW},
    "slow exclusion": {"exclude_modules": SLOW},
    "slow rank pattern": {"rank_pattern": {SLOW: 4}},
}


def slow_pattern(name: str, field: dict[str, object]) -> Case:
    """The check gives up after seconds, so it is not one of the fast cases."""
    return Case(name, STATIC, 2, "pattern", adapter(**field), heavy=True)


TARGETS = CONFIG["target_modules"]

CASES = [
    # JSON
    static("empty", 2, "JSON", raw=b" "),
    static("NaN", 2, "adapter_config.json", raw=with_text('"lora_alpha": NaN')),
    static("Infinity", 2, "adapter_config.json", raw=with_text('"lora_alpha": Infinity')),
    static("number of 1e999", 2, "adapter_config.json", raw=with_text('"lora_alpha": 1e999')),
    static("integer of 5000 digits", 2, "adapter_config.json", raw=with_text(f'"r": {"9" * 5000}')),
    static("deep", 2, "adapter_config.json", raw='{"a": ' + "[" * 100_000),
    static(
        "deep and closed",
        2,
        "adapter_config.json",
        raw=with_text('"a": ' + "[" * 9000 + "]" * 9000),
    ),
    static("large", 2, "adapter_config.json", raw=b" " * (5 << 20)),
    static("UTF-16", 2, "adapter_config.json", raw=json.dumps(CONFIG).encode("utf-16")),
    static(
        "lone surrogate",
        2,
        "adapter_config.json",
        raw=with_text('"base_model_name_or_path": "\\ud800"'),
    ),
    static("comment", 2, "JSON", raw="// r\n" + json.dumps(CONFIG)),
    static("list", 2, "adapter_config.json", raw="[]"),
    static("YAML", 2, "JSON", raw="peft_type: LORA\n"),
    static("pickle", 2, "adapter_config.json", raw=b"\x80\x04cos\nsystem\n(S'touch ran'\ntR."),
    # code
    static("method that is a module", 2, "is not supported", peft_type="os.system"),
    static(
        "auto_mapping",
        0,
        "ok: adapter",
        auto_mapping={"base_model_class": "X", "parent_library": "evil"},
    ),
    static(
        "custom modules", 2, "_custom_modules", _custom_modules={"torch.nn.Linear": "evil.Linear"}
    ),
    static("corda", 2, "corda", init_lora_weights="corda", corda_config={"cache_file": "x.pt"}),
    static("megatron core", 2, "megatron", megatron_core="evil", megatron_config={"a": 1}),
    static("loftq", 2, "loftq", init_lora_weights="loftq", loftq_config={"loftq_bits": 4}),
    static("field of the future", 2, "execute", execute="import os"),
    static(
        "prompt tuning",
        2,
        "prompt",
        peft_type="PROMPT_TUNING",
        prompt_tuning_init_text="x",
        tokenizer_name_or_path="../x",
    ),
    # numbers
    static("rank 0", 2, "r", r=0),
    static("rank 2^31", 2, "r", r=2**31 - 1),
    static("rank of text", 2, "r", r="8"),
    static("alpha of 1e308", 2, "lora_alpha", lora_alpha=1e308),
    static("alpha 0", 1, "lora_alpha", lora_alpha=0),
    Case(
        "rounds of pissa",
        STATIC,
        2,
        "pissa",
        adapter(init_lora_weights="pissa_niter_2000000000"),
    ),
    Case(
        "twenty thousand layers replicated",
        STATIC,
        2,
        "layer_replication",
        adapter(layer_replication=[[0, 2]] * 10_000),
    ),
    # patterns
    *(slow_pattern(name, field) for name, field in SLOW_PATTERNS.items()),
    static("pattern that is quick here", 0, "ok: adapter", exclude_modules="(a+)+$"),
    static("not a pattern", 2, "not a valid regex", target_modules="(["),
    static(
        "many targets",
        0,
        "and 19997 more",
        target_modules=[*TARGETS, *(f"m{i}" for i in range(20_000))],
    ),
    static(
        "target of control characters",
        0,
        "\\x1b",
        target_modules=[*TARGETS, "\x1b[2J\u202e::error::x"],
    ),
    # the base that it names
    Case(
        "base is an option",
        "check adapter",
        2,
        "--upload-pack=x",
        adapter(base_model_name_or_path="--upload-pack=x"),
    ),
    Case(
        "base is a URL",
        "check adapter",
        2,
        "neither a folder",
        adapter(base_model_name_or_path="ext::sh -c touch% ran"),
    ),
    Case(
        "base leads out",
        "check adapter",
        2,
        "neither a folder",
        adapter(base_model_name_or_path="../../../../etc/passwd"),
    ),
    Case(
        "base is a device",
        "check adapter",
        2,
        "/dev/zero",
        adapter(base_model_name_or_path="/dev/zero"),
    ),
    Case(
        "base with an escape",
        "check adapter",
        2,
        "\\x1b",
        adapter(base_model_name_or_path="\x1b]0;x\x07"),
    ),
    Case(
        "base with a workflow command",
        "check adapter",
        2,
        "neither a folder",
        adapter(base_model_name_or_path="\n::error::x"),
    ),
    Case(
        "base is not here",
        "check adapter",
        3,
        "org/private",
        adapter(base_model_name_or_path="org/private"),
    ),
    Case(
        "revision leads out",
        "check adapter",
        3,
        "org/m",
        adapter(base_model_name_or_path="org/m", revision="../../x"),
    ),
    Case(
        "base of a list",
        "check adapter",
        2,
        "names no base model",
        adapter(base_model_name_or_path=["a"]),
    ),
    Case("base is the adapter", "check adapter --base adapter", 2, "adapter", adapter()),
    Case(
        "prefetch of an option",
        "prefetch sway.yaml",
        2,
        "--config",
        spec(base="{base: --config}", ft="{base: --config, adapter: -x}"),
    ),
    # files
    Case(
        "pipe",
        STATIC,
        2,
        "adapter_config.json",
        adapter() | {"adapter/adapter_config.json": pipe},
    ),
    Case(
        "folder as config",
        STATIC,
        2,
        "adapter_config.json",
        adapter() | {"adapter/adapter_config.json": folder},
    ),
    Case(
        "link to itself",
        STATIC,
        2,
        "adapter_config.json",
        adapter() | {"adapter/adapter_config.json": to("adapter_config.json")},
    ),
    Case(
        "link to the secret",
        STATIC,
        2,
        "adapter_config.json",
        adapter() | {"adapter/adapter_config.json": to("../.git-credentials")},
    ),
    Case(
        "link to a device",
        STATIC,
        2,
        "adapter_config.json",
        adapter() | {"adapter/adapter_config.json": to("/dev/zero")},
    ),
    Case("folder of a link to itself", "static loop", 2, "loop", {"loop": to("loop")}),
    Case("folder is a pipe", "static adapter", 2, "adapter", {"adapter": pipe}),
    Case("name with a newline", "static 'a\n::error::x'", 2, "no such folder", {"a": "x"}),
    Case("JSON of a hostile name", "static 'a\u202e\x1b[2J' --json", 2, "folder-missing"),
    # a whole gate
    Case(
        "chat template that reads globals",
        "gate sway.yaml --no-cache",
        3,
        "template",
        own_spec()
        | base()
        | adapter()
        | {
            "adapter/tokenizer.json": "{}",
            "base/chat_template.jinja": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        },
        heavy=True,
    ),
    Case(
        "chat template without end",
        "gate sway.yaml --no-cache",
        3,
        "template",
        own_spec() | base() | adapter() | {"base/chat_template.jinja": f"{LOOP}{LOOP}{END}{END}"},
        heavy=True,
    ),
    Case(
        "chat template of a giant text",
        "gate sway.yaml --no-cache",
        3,
        "template",
        own_spec() | base() | adapter() | {"base/chat_template.jinja": "{{ 'a' * 10**10 }}"},
        heavy=True,
    ),
]
