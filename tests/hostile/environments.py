"""Environments: variables that point at devices, claim numbers, or switch things on."""

from tests.hostile.case import Case, spec

GATE = "gate sway.yaml"


def doctor(name: str, **env: str) -> Case:
    return Case(name, "doctor", 0, "torch", env=env, heavy=True)


def static(name: str, **env: str) -> Case:
    """The check of a valid adapter in this environment."""
    return Case(name, "static {demo}/healthy", 0, "healthy", env=env)


def gate(name: str, code: int, words: str, **env: str) -> Case:
    return Case(
        name,
        GATE,
        code,
        words,
        spec(base="{base: org/absent}", ft="{base: org/absent, adapter: '{demo}/healthy'}"),
        env=env,
    )


CASES = [
    static("cache is a device", SWAY_CACHE_DIR="/dev/null"),
    static("cache is a full device", SWAY_CACHE_DIR="/dev/full"),
    static("cache has a user", SWAY_CACHE_DIR="~nobody-at-all/x"),
    static("home is a device", HOME="/dev/null", SWAY_CACHE_DIR=""),
    static("home is relative", HOME="x", XDG_CACHE_HOME="y", SWAY_CACHE_DIR=""),
    static("temporary folder is a device", TMPDIR="/dev/null", SWAY_CACHE_DIR=""),
    static("columns are no number", COLUMNS="x"),
    static("columns are negative", COLUMNS="-5"),
    static("columns of 5000 digits", COLUMNS="9" * 5000),
    static("columns 1", COLUMNS="1"),
    static("colors of text", FORCE_COLOR="0", TERM="\x1b[2J"),
    static("locale that does not exist", LC_ALL="xx_XX.none", LANG="\x01"),
    static("key of bytes", SWAY_CACHE_KEY="\udcff" * 20),
    gate("hub cache is a device", 3, "neither a folder nor", HF_HUB_CACHE="/dev/zero"),
    gate("hub cache of a user", 3, "neither a folder nor", HF_HUB_CACHE="~root-of-none/x"),
    gate("hub cache with an escape", 3, "\\x1b", HF_HUB_CACHE="/\x1b[2J\u202e"),
    gate(
        "hub cache with a workflow command", 3, "neither a folder nor", HF_HUB_CACHE="/\n::error::x"
    ),
    gate("online by a word", 3, "neither a folder nor", SWAY_ONLINE="maybe"),
    gate("hub id that leads out of the cache", 3, "neither a folder nor", HF_HUB_CACHE="../../.."),
    Case("missing report", "report none.json", 2, "no such file", env={"COLUMNS": "0"}),
    Case(
        "memory of text",
        "gate sway.yaml --no-cache",
        2,
        "SWAY_MEMORY_GB",
        spec(),
        env={"SWAY_MEMORY_GB": "\x1b[2J"},
        heavy=True,
    ),
    Case(
        "memory is NaN",
        "gate sway.yaml --no-cache",
        2,
        "SWAY_MEMORY_GB",
        spec(),
        env={"SWAY_MEMORY_GB": "nan"},
        heavy=True,
    ),
    Case(
        "memory is negative",
        "gate sway.yaml --no-cache",
        2,
        "SWAY_MEMORY_GB",
        spec(),
        env={"SWAY_MEMORY_GB": "-1"},
        heavy=True,
    ),
    doctor(
        "doctor without anything", HOME="/dev/null", HF_HOME="/dev/null", HF_HUB_CACHE="/dev/zero"
    ),
    doctor(
        "doctor with a secret", HF_TOKEN="s3cret-canary", SWAY_CACHE_KEY="s3cret-canary-0123456789"
    ),
]
