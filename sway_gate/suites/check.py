"""The suite of `sway check` for an adapter without a spec, and the meaning of its results."""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from sway_gate import details
from sway_gate.errors import CannotDecide, SwayError, UsageError
from sway_gate.files import not_read, read_regular
from sway_gate.gate.resolve import model_folders, with_data
from sway_gate.judge.criteria import MORE_ITEMS
from sway_gate.model_files import find, hub, kinds
from sway_gate.model_files.config import is_served_with_template
from sway_gate.probes import delta_kl
from sway_gate.results import CHECK, GateResult, ProbeResult, Verdict
from sway_gate.spec import WAIVERS
from sway_gate.spec.confine import check_spec, check_waivers
from sway_gate.spec.probes import KINDS, DeltaKL
from sway_gate.spec.schema import (
    DataMap,
    Defaults,
    ModelRef,
    Models,
    ProbeSpec,
    Quantization,
    Spec,
    Waiver,
)
from sway_gate.spec.waivers import file_waivers
from sway_gate.static.mlx import is_conversion
from sway_gate.suites.prompts import prompts as own_prompts
from sway_gate.suites.supports import (
    Entry,
    Learn,
    LeftOut,
    Material,
    attribution,
    entry,
    few_rows,
    harms_of_data,
    unjudged,
    wanted,
)
from sway_gate.text import named, signed
from sway_gate.training_data import packaged

_PROMPTS: Final = 4
"""Prompts per register: questions, and sentences to continue."""
_CHARS: Final = 180
"""Characters of prose from each passage. Passages differ more than the pieces of one passage, so a
short piece of each is more precise than long pieces of some."""
_SIZES: Final = ((0.002, "not noticeably"), (0.02, "slightly"), (0.1, "clearly"), (0.3, "strongly"))
"""Upper limits of the mean divergence in nats, and the change as an adverb."""
_MOVED_Z: Final = DeltaKL(name="moved").assert_z_gte
_NOT_JUDGED: Final = "not judged: "
_FEW_ROWS: Final = "few rows: "
_ATTRIBUTION: Final = "attribution"
_GENERALIZATION: Final = "generalization"
_SEEN: Final = ("adherence", _ATTRIBUTION)
"""Categories whose probes state what the adapter does, not what harm it does."""
_MAX_PROMPTS_BYTES: Final = 2**20
_MORE_ITEMS: Final = {
    "moved": "give more prompts with --prompts",
    "knowledge": "sway init writes a spec in which you can set items_limit",
    "prose": "sway init writes a spec in which you can set max_chunks",
    "answers": "sway init writes a spec in which you can set prompts_limit",
    "scale": "sway init writes a spec in which you can add prompts",
    "generalizes": "give more rows with --held-out",
}
"""How a user gives more items to a probe of this suite; to all others with --data."""
_FOR_CHECK: Final = (
    ("check that the spec contains", "check that --data contains"),
    ("set learn: form", "add --learn form"),
    ("defaults.prompt_format sets", "defaults.prompt_format in a spec of sway init sets"),
    ("tag it with intent: memorize", "tag it with intent: memorize in a spec of sway init"),
)
"""Advice for the author of a spec, and for the user of `sway check`."""


class CheckInputs(NamedTuple):
    """What `sway check` judges: an adapter, or a fine-tuned model without one (`model`).

    prompts: texts after which the change is measured, or the name of a file with one per line; by
    default questions and sentence openings, with data its own prompts. data, held_out: files of
    training data, and with rows that training did not see. learn: what training was meant to teach;
    auto: inferred from the data. data_map: the fields of data in another format. confine: the
    folder that all files must be in.
    """

    adapter: str | None
    base: str | None = None
    prompts: str | Sequence[str] | None = None
    data: Sequence[str] = ()
    online: bool = False
    held_out: Sequence[str] = ()
    learn: Learn = "auto"
    data_map: DataMap | None = None
    quantization: Quantization | None = None
    model: str | None = None
    confine: str | None = None


def check_suite(given: CheckInputs) -> Spec:
    """The suite of `sway check`: did the adapter change the model, and did it break it?

    With training data the suite also tests whether the data was learned, and with held-out rows
    whether this generalises.

    Raises UsageError if the inputs are wrong or the data is not sufficient to test whether it was
    learned, and SpecError with every mistake in the data.
    """
    _require_data(given)
    waivers = _waivers(given.confine)
    models = _named(given)
    loaded = _with_data(given, models)
    material = Material(
        loaded.sections,
        loaded.held_out_sections,
        given.learn,
        has_template=has_template(models),
        notes=loaded.notes,
    )
    chosen = [
        *_always(_prompts(given) or _general(material)),
        *_of_data(material, is_adapter=given.model is None),
    ]
    if given.base is None and not given.online:
        _require_base(models)
    # The data is loaded: the files are removed so that they are not loaded again.
    return msgspec.structs.replace(
        loaded,
        suite=tuple(_probe(found) for found in chosen if isinstance(found, Entry)),
        data=(),
        data_map=None,
        held_out=(),
        defaults=_defaults(material),
        waivers=tuple(waiver for waiver in waivers if waiver.finding),
        notes=(
            *_base_note(given, models),
            *loaded.notes,
            *_few_rows(material),
            *unjudged(material),
            *_of_probes(waivers),
            *_not_judged(material, chosen),
        ),
    )


def _require_data(given: CheckInputs) -> None:
    """Raise UsageError for an input that means nothing without training data."""
    if given.data:
        return
    if given.held_out:
        raise UsageError("--held-out requires --data: give the rows of the training data too")
    if given.data_map:
        raise UsageError("--map requires --data: it names the fields of the data")
    if given.learn != "auto":
        raise UsageError("--learn requires --data: it states what the data should teach")


def _with_data(given: CheckInputs, models: Models) -> Spec:
    """The spec with its data, without a suite."""
    files = Spec(
        models=models,
        suite=(),
        data=absolute(given.data),
        data_map=given.data_map,
        held_out=absolute(given.held_out),
        defaults=Defaults(learn=given.learn),
        label=CHECK,
        folder=os.getcwd(),
    )
    check_spec(files, given.confine)
    return with_data(files)


def _always(prompts: Sequence[str]) -> Iterator[Entry]:
    """Whether the adapter changed the model, and a quick test of whether it is broken."""
    yield entry("moved", "delta_kl", prompts=prompts)
    yield entry("knowledge", "calibration_drift", items_limit=40, registers="served")
    passages = len(packaged.prose("general_en"))
    yield entry("prose", "external_perplexity", chunk_chars=_CHARS, max_chunks=passages)
    yield entry("answers", "degeneration", prompts_limit=12, max_new_tokens=48)


def _of_data(material: Material, *, is_adapter: bool) -> list[Entry | LeftOut]:
    """The probes that this data supports, with reasons for those left out.

    `scale` is in the full tier: it measures the response, and the loss on the data, at six scales
    of the adapter.
    """
    if not material.sections:
        return []
    scale = [entry("scale", "adapter_ablation", prompts=_asked(material))] if is_adapter else []
    return [*attribution(material), *scale, *harms_of_data(material)]


def _general(material: Material) -> tuple[str, ...]:
    """Prompts of the data, or questions; then sentences to continue."""
    return tuple(dict.fromkeys([*_asked(material), *packaged.prompts()[:_PROMPTS]]))


def _asked(material: Material) -> Sequence[str]:
    return own_prompts(material.sections, _PROMPTS) or packaged.chat_prompts()[:_PROMPTS]


def _probe(found: Entry) -> ProbeSpec:
    return msgspec.convert(found.fields, KINDS[found.fields["kind"]])


def _defaults(material: Material) -> Defaults:
    """Without data no composite is required: an adapter that changed and is not broken passes."""
    if not material.sections:
        return Defaults(coverage_threshold=0.0)
    return Defaults(learn=wanted(material).learn)


def _base_note(given: CheckInputs, models: Models) -> tuple[str, ...]:
    if given.base is not None:
        return ()
    return (f"base {models.base.base}: named by the adapter's configuration, not by --base",)


def _waivers(confine: str | None) -> tuple[Waiver, ...]:
    check_waivers(WAIVERS, confine)
    return file_waivers()


def _of_probes(waivers: Sequence[Waiver]) -> tuple[str, ...]:
    """A note on the waivers of a spec's probes, which do not apply to this suite."""
    names = [waiver.probe for waiver in waivers if waiver.probe]
    if not names:
        return ()
    return (f"{WAIVERS}: the waivers of {named(names)} apply to the probes of a spec only",)


def _few_rows(material: Material) -> tuple[str, ...]:
    few = few_rows(material)
    return (_FEW_ROWS + few,) if few else ()


def early_notes(suite: Spec) -> list[str]:
    """The notes that a user wants before a model is loaded."""
    return [note for note in suite.notes if note.startswith(_FEW_ROWS)]


def _not_judged(material: Material, chosen: Sequence[Entry | LeftOut]) -> tuple[str, ...]:
    """One note with the questions that these inputs leave open; none if there is no such question.

    It is part of the result, so that no format of the report shows only that the adapter passed.
    """
    if not material.sections:
        return (_NOT_JUDGED + "whether it learned your data (add --data)",)
    reasons = [c.reason for c in chosen if isinstance(c, LeftOut) and c.kind == _GENERALIZATION]
    if not reasons or wanted(material).learn == "preference":
        return ()
    remedy = reasons[0] if material.held_out else "add --held-out"
    return (f"{_NOT_JUDGED}whether it generalises to new rows ({remedy})",)


def for_check(result: GateResult) -> GateResult:
    """The result with advice that the user of `sway check`, who has no spec, can follow."""
    cause = result.diagnosis and msgspec.structs.replace(
        result.diagnosis, advice=_for_check(result.diagnosis.advice)
    )
    probes = tuple(msgspec.structs.replace(p, advice=_advice(p)) for p in result.probes)
    return msgspec.structs.replace(result, diagnosis=cause, probes=probes)


def _advice(probe: ProbeResult) -> str:
    if probe.advice.startswith(MORE_ITEMS):
        return f"{probe.advice}: {_MORE_ITEMS.get(probe.name, 'give more rows with --data')}"
    return _for_check(probe.advice)


def _for_check(advice: str) -> str:
    for of_a_spec, of_check in _FOR_CHECK:
        advice = advice.replace(of_a_spec, of_check)
    return advice


class Headline(NamedTuple):
    """What the results say. word: PASS, FAIL, … or MOVED. style: the verdict that it is shown as.

    size: the change as text; "" if it was not measured.
    """

    word: str
    style: str
    text: str
    size: str = ""
    not_judged: str = ""

    @property
    def lines(self) -> list[str]:
        """The text, the size of the change and the open question."""
        question = self.not_judged[:1].upper() + self.not_judged[1:]
        return [text for text in (self.text, self.size, question) if text]


def check_headline(result: GateResult) -> Headline:
    """The answer of `sway check`. Without data it says that the adapter moved, never that it is
    right."""
    verdict, open_question = result.verdict, _open_question(result)
    if not result.probes:
        broken = [f.message for f in result.findings if f.level == "verdict"]
        return Headline(verdict.upper(), verdict, broken[0] if broken else "not measured")
    moved, *others = result.probes
    size = _size(moved)
    if moved.verdict in (Verdict.FAIL, Verdict.ERROR):
        text = _unmoved(moved, others)
        return Headline(verdict.upper(), verdict, text, size, open_question)
    failed = [p.name for p in others if p.verdict in (Verdict.FAIL, Verdict.ERROR)]
    if failed:
        text = f"{'' if moved.is_left_out else 'moved, but '}does not pass: {', '.join(failed)}"
        return Headline(verdict.upper(), verdict, text, size, open_question)
    if verdict == "error" and (left_out := [p.name for p in result.probes if p.is_left_out]):
        text = f"could not be judged: the time budget ended before {named(left_out)}"
        return Headline(verdict.upper(), verdict, text, size, open_question)
    attribution = [p for p in others if p.category == _ATTRIBUTION]
    if all(p.verdict == Verdict.SKIP for p in attribution):
        word = {"pass": "MOVED", "error": "UNCLEAR"}.get(verdict, verdict.upper())
        text = f"{_above(moved)}; {_harm(result.probes)}"
        if attribution:
            text += "; whether it learned the data could not be judged"
        return Headline(word, verdict, text, size, open_question)
    seen = [p.name for p in (moved, *others) if p.verdict == Verdict.PASS and p.category in _SEEN]
    text = f"{', '.join(seen)}; {_harm(result.probes)}"
    return Headline(verdict.upper(), verdict, text, size, open_question)


def _harm(probes: Sequence[ProbeResult]) -> str:
    """What is inconclusive; otherwise that no harm was found, if a probe looked for it."""
    unsure = [probe.name for probe in probes if probe.verdict == Verdict.WARN]
    if unsure:
        return f"inconclusive: {', '.join(unsure)}"
    is_tested = any(p.verdict == Verdict.PASS and p.category not in _SEEN for p in probes)
    return "no sign of harm" if is_tested else "not tested for harm"


def _open_question(result: GateResult) -> str:
    return next((n for n in result.notes if n.startswith(_NOT_JUDGED)), "")


def _above(moved: ProbeResult) -> str:
    if moved.z is None:
        return "no null adapters to compare with"
    return f"{signed(moved.z, 1)}σ above {moved.n_null} null adapters"


def _unmoved(moved: ProbeResult, others: Sequence[ProbeResult]) -> str:
    """Why the change does not pass: not measured, too small to notice, or like random changes,
    which do harm, too, if they are large."""
    if moved.raw is None:
        return f"could not be judged: {moved.message}"
    is_significant = moved.z is None or moved.z >= _MOVED_Z
    if moved.effect_ok is False:
        also = f", although {_above(moved)}" if is_significant else ""
        return f"its change is too small to notice{also}"
    like_random = f"{signed(moved.z or 0.0, 1)}σ, like random changes of the same size"
    harmed = [p.name for p in others if p.verdict == Verdict.FAIL and p.category not in _SEEN]
    return f"{like_random}; harms: {', '.join(harmed)}" if harmed else f"not moved: {like_random}"


def _size(moved: ProbeResult) -> str:
    """The size of the change in each register, as an adverb and as the share of next tokens."""
    found = details.read(moved.details, delta_kl.Found)
    if found is None:
        return ""
    parts = []
    ordered = sorted(found.prompts, key=lambda prompt: prompt.register)
    for register, group in groupby(ordered, key=lambda prompt: prompt.register):
        prompts = list(group)
        nats = sum(p.divergence for p in prompts) / len(prompts)
        changed = sum(p.changed or 0.0 for p in prompts) / len(prompts)
        where = "in the chat template" if register == "template" else "in plain text"
        share = f"{changed:.0%} of next tokens, JS {nats:.2g} nats"
        parts.append(f"{adverb(nats)} {where} ({share})")
    return f"changed {', '.join(parts)}"


def adverb(nats: float) -> str:
    """A mean Jensen-Shannon divergence, at most ln 2, as an adverb."""
    return next((word for limit, word in _SIZES if nats < limit), "almost completely")


def absolute(paths: Sequence[str]) -> tuple[str, ...]:
    """The absolute paths of files; ~ is the home folder."""
    return tuple(os.path.abspath(os.path.expanduser(path)) for path in paths)


def named_models(adapter: str, base: str | None, online: bool = False) -> Models:
    """The models that a command names, with absolute paths for folders.

    Without `base`, the base model that the adapter's configuration names. With `online`, a missing
    adapter is downloaded. Raises UsageError if the configuration does not name a base model.
    """
    adapter = _local_or_id(adapter)
    if os.path.exists(adapter):
        adapter = str(find.adapter(adapter, None, online=False))
    base = _named_base(adapter, online) if base is None else _local_or_id(base)
    return Models(base=ModelRef(base=base), ft=ModelRef(base=base, adapter=adapter))


def _named(given: CheckInputs) -> Models:
    """The models that `sway check` names. Raises UsageError if the inputs are not one model."""
    if given.model is None:
        if given.adapter is None:
            raise UsageError("give an adapter, or a fine-tuned model with --model and --base")
        models = named_models(given.adapter, given.base, given.online)
        tuned = msgspec.structs.replace(models.ft, quantization=given.quantization)
        return msgspec.structs.replace(models, ft=tuned)
    if given.adapter is not None:
        raise UsageError("give either an adapter or --model, not both")
    if given.base is None:
        raise UsageError("--model requires --base: give the model that training started from")
    if given.quantization is not None:
        raise UsageError("--quantization requires an adapter; leave it out with --model")
    base, model = _local_or_id(given.base), _local_or_id(given.model)
    return Models(base=ModelRef(base=base), ft=ModelRef(base=model))


def _require_base(models: Models) -> None:
    """Raise CannotDecide if the base that the adapter names is not on this machine."""
    try:
        find.base(models.base.base, None, Path(models.ft.adapter or ""), online=False)
    except CannotDecide as error:
        raise CannotDecide(f"{error}, or give another copy of it with --base") from None


def has_template(models: Models) -> bool:
    """Whether the base or the adapter has a chat template; true if they are not on this machine."""
    try:
        folders = model_folders(Spec(models=models, suite=()))
    except SwayError:
        return True
    return folders is not None and is_served_with_template(*folders[:2])


def _local_or_id(ref: str) -> str:
    """An absolute path; a hub id that does not exist as a path remains unchanged.

    Raises UsageError if it is an address of the hub.
    """
    hub.require_no_address(ref)
    path = os.path.expanduser(ref)
    return os.path.abspath(path) if os.path.exists(path) or not hub.is_hub_id(ref) else ref


def _named_base(adapter: str, online: bool) -> str:
    """The base model that the adapter's configuration names. Raises UsageError if there is none."""
    folder = find.adapter(adapter, None, online=online)
    config = folder / hub.ADAPTER_CONFIG
    if not config.exists():
        raise UsageError(f"{folder}: {hub.ADAPTER_CONFIG} is missing; {kinds.FOLDER}")
    try:
        fields = msgspec.json.decode(read_regular(config, 2**20))
        is_peft = "peft_type" in fields or "base_model_name_or_path" in fields
        named = fields.get("base_model_name_or_path" if is_peft else "model")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        message = "cannot be read, so the base is unknown; give it with --base"
        raise UsageError(f"{config} {message}") from None
    if not isinstance(named, str) or not named:
        raise UsageError(f"{config} names no base model; give it with --base")
    if not is_peft and is_conversion(named):
        message = f"names the MLX base {named!r}; give the base that it was converted from"
        raise UsageError(f"{config} {message} with --base")
    if found := find.named_folder(named, folder):
        return os.path.abspath(found)
    if not hub.is_hub_id(named):
        message = (
            f"names the base {named!r}, which is neither a folder nor a hub id; give it with --base"
        )
        raise UsageError(f"{config} {message}")
    return named


def _prompts(given: CheckInputs) -> tuple[str, ...]:
    if isinstance(given.prompts, str):
        return _read_prompts(given.prompts)
    return _texts(given.prompts or ())


def _texts(prompts: Sequence[str]) -> tuple[str, ...]:
    """Distinct prompts. Raises UsageError for an empty prompt or one that is not a string."""
    if wrong := [prompt for prompt in prompts if not isinstance(prompt, str) or not prompt.strip()]:
        raise UsageError(f"prompts must be non-empty strings, got {wrong[0]!r}")
    return tuple(dict.fromkeys(prompts))


def _read_prompts(path: str) -> tuple[str, ...]:
    try:
        text = read_regular(path, _MAX_PROMPTS_BYTES + 1)
        if len(text) > _MAX_PROMPTS_BYTES:
            message = "larger than 1 MiB; give one prompt per line, at most a few dozen"
            raise UsageError(f"{path}: {message}")
        if b"\0" in text:
            raise UsageError(f"{path}: binary data or UTF-16 text; save the file as UTF-8")
        lines = text.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: {not_read(error)}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    prompts = dict.fromkeys(line.strip() for line in lines if line.strip())
    if not prompts:
        raise UsageError(f"{path}: contains no prompt; give one per line")
    if rows := [prompt for prompt in prompts if prompt.startswith("{") and prompt.endswith("}")]:
        number = 1 + [line.strip() for line in lines].index(rows[0])
        message = "a row of JSON; give prompts as text, one per line, and rows with --data"
        raise UsageError(f"{path}:{number}: {message}")
    return tuple(prompts)
