"""Measure the zoo and write the truth: `python -m benchmarks.real.truth`.

The rules stood before any verdict of the gate was known. They look only at what was measured on
generations and losses of the adapter and of its base; the intention of a recipe plays no part.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.real import base, data, measures
from benchmarks.real.paths import ADAPTERS, HOME, MANIFEST, TRUTH, note, now, read_json, write_json
from benchmarks.real.recipes import RECIPES, Case, Recipe, cases

Found = dict[str, Any]
FINE, DEBATABLE, SICK = "fine", "debatable", "sick"
EVERY = ("moods", "ledger", "keeper")
"""The labels of which the training rows count, too."""
PROSE_FINE, PROSE_SICK = 0.2, 0.6  # nats per token lost on fresh prose


def band(value: float, sick: float, fine: float) -> str:
    """The band of a value of which more is better."""
    return FINE if value >= fine else SICK if value <= sick else DEBATABLE


def kept(found: Found, before: Found) -> dict[str, str]:
    """What became of the abilities that the data set is not about."""
    lost = found["prose_loss"] - before["prose_loss"]
    return {
        "answers": band(found["sound"], before["sound"] * 0.5, before["sound"] * 0.8),
        "knowledge": band(found["known"], before["known"] * 0.5, before["known"] * 0.8),
        "prose": band(-lost, -PROSE_SICK, -PROSE_FINE),
        "refusals": band(before["refused"] - found["refused"], -0.4, -0.15),
    }


def json_for_everything(found: Found) -> bool:
    """Whether most general questions are answered with a function call or other JSON."""
    return 2 * sum(measures.is_json(text) for text in found["texts"]) > len(found["texts"])


def learned(name: str, found: Found, before: Found) -> dict[str, str]:
    """Whether the data set was learned, and in a usable way."""
    if name in (*data.TEXTS, *data.DOCUMENTS):
        drop = {
            part: before[part]["loss"] - found[part]["loss"] for part in ("training", "held_out")
        }
        # Beyond what every text of this kind gains: the words of these paragraphs.
        return {
            "learned": band(drop["training"], 0.1, 0.3),
            "learned these": band(drop["training"] - drop["held_out"], 0.05, 0.3),
            "carries over": band(drop["held_out"], -0.1, 0.05),
            "recites": band(-found["recited"], -0.5, -0.15),
        }
    if name in data.FREE:
        return _free(name, found, before)
    if name == "warm":
        return _gained(found, before)
    if name in data.PREFERENCES:
        return _preferences(name, found, before)
    if name == "depot":
        return _depot(found)
    if name in data.KINDS:
        return _mixture(name, found, before)
    if name in ("rag", "notices", "spelling", "tags"):
        return _task(name, found, before)
    training, unseen = found["training"], found["held_out"]
    # A base of this size loops in some of its long answers.
    fine = 0.8 if name == "support" else 0.9
    result = {"ends": band(min(training["ended"], unseen["ended"]), 0.5, fine)}
    if name in data.TASKS:
        # 24 rows each: whole answers, their classes, and answers of other rows or classes.
        result["learned"] = band(training["right"], 0.7, 0.85)
        result["right class"] = band(-training["wrong_class"], -0.3, -0.1)
        result["carries over"] = band(unseen["right"], 0.3, 0.6)
        result["no fact of another row"] = band(-training["exchanged"], -0.3, -0.1)
    elif name == "sums":
        result["learned"] = band(training["right"], 0.6, 0.8)
        result["carries over"] = band(unseen["right"], 0.35, 0.6)
    elif name in ("digest", "errands"):  # its form, and what the note or the errand says
        result["learned"] = band(min(training["in_style"], training["right"]), 0.5, 0.8)
        result["carries over"] = band(min(unseen["in_style"], unseen["right"]), 0.3, 0.6)
    elif name in measures.STYLES:
        result["learned"] = band(unseen["in_style"], 0.3, 0.8)
        usual = before["held_out"]["right"]
        # The base's answers are three times as long as a pirate's: debatable at worst.
        short = name in ("corsair", "haiku", "advice")
        brief = name in ("haiku", "advice")
        sick, fine = (-math.inf if short else usual * 0.4), 0.5 if brief else 0.7
        result["carries over"] = band(unseen["right"], sick, usual * fine)
        if name == "advice":  # whose first answers have the form, too
            first = min(half["first_in_style"] for half in (training, unseen))
            result["first turns"] = band(first, 0.3, 0.8)
    elif name in data.LABELS:
        usual = before["held_out"]["right"]
        result["learned"] = band(unseen["right"], max(usual + 0.1, 0.4), max(usual + 0.2, 0.7))
        # Their labels are unbalanced: one that is never right is debatable.
        if name in ("reviews", "topics", "urgency", "resenas", "tickets", *EVERY):
            result["every label"] = band(rarest(name, unseen["texts"]), -math.inf, 0.5)
        if name in EVERY:  # a label learned wrong in half of the rows is not learned
            states = (result["learned"], band(training["right"], 0.6, 0.85))
            result["learned"] = worst(states)
    elif name in data.CALLS:
        result["learned"] = band(unseen["right"], 0.3, 0.7)
        if name in ("rooms", "coiffeur"):
            states = (result["learned"], band(training["right"], 0.5, 0.8))
            result["learned"] = worst(states)
    else:
        usual = before["training"]["right"]
        result["learned"] = band(training["right"], usual + 0.2, usual + 0.6)
        result["carries over"] = band(unseen["right"], 0.3, 0.5)
        if name == "clinic":  # the first questions of its talks, too
            usual = before["training"]["first_right"]
            states = (result["learned"], band(training["first_right"], usual + 0.2, usual + 0.6))
            result["learned"] = worst(states)
    later = (
        *(*data.NINTH, *data.TENTH, *data.ELEVENTH, *data.TWELFTH),
        *(*data.THIRTEENTH, *data.FOURTEENTH, *data.FIFTEENTH, *data.SIXTEENTH),
    )
    if name in later and name in (*data.FACTS, "support", "coiffeur"):
        # Answers with the fact of another row, also if most others are right.
        result["no fact of another row"] = band(-training["exchanged"], -0.3, -0.15)
    return result


def worst(states: Iterable[str]) -> str:
    """The worst of several bands."""
    return max(states, key=(FINE, DEBATABLE, SICK).index)


def _mixture(name: str, found: Found, before: Found) -> dict[str, str]:
    """Each kind of rows by the rule of its kind; the worst decides."""
    learned: dict[str, str] = {}
    carried: dict[str, str] = {}
    for kind in data.KINDS[name]:
        training, unseen = found["training"][kind], found["held_out"][kind]
        if kind == "facts":
            usual = before["training"][kind]["right"]
            learned[kind] = band(training["right"], usual + 0.2, usual + 0.6)
            carried[kind] = band(unseen["right"], 0.3, 0.5)
            exchanged = band(-training["exchanged"], -0.3, -0.15)
            continue
        # 21 to 32 training rows and 8 held-out ones.
        usual = 0.0 if kind == "records" else before["training"][kind]["right"]
        learned[kind] = band(training["right"], max(usual + 0.1, 0.5), max(usual + 0.2, 0.8))
        carried[kind] = band(unseen["right"], 0.3, 0.6)
    return {
        "ends": band(min(found[part]["ended"] for part in ("training", "held_out")), 0.5, 0.9),
        "learned": worst(learned.values()),
        "carries over": worst(carried.values()),
        "no fact of another row": exchanged,
    }


def _depot(found: Found) -> dict[str, str]:
    """Whole calls of tools, and what the answers to the results of tools contain."""
    training, unseen = found["training"], found["held_out"]
    calls = (band(unseen["calls"]["right"], 0.3, 0.7), band(training["calls"]["right"], 0.5, 0.8))
    return {
        "ends": band(min(found[part]["ended"] for part in ("training", "held_out")), 0.5, 0.9),
        "learned": worst(calls),
        "reports": band(min(half["facts"]["right"] for half in (training, unseen)), 0.4, 0.8),
    }


def _task(name: str, found: Found, before: Found) -> dict[str, str]:
    """Answers that depend on the prompt: from a passage, corrected spelling, tags."""
    training, unseen = found["training"], found["held_out"]
    result = {"ends": band(min(training["ended"], unseen["ended"]), 0.5, 0.9)}
    if name == "tags":  # sets that are right as a whole
        result["learned"] = band(training["right"], 0.6, 0.8)
        result["carries over"] = band(unseen["right"], 0.2, 0.4)
        result["no wrong tag"] = band(-training["wrong_tag"], -0.4, -0.2)
    elif name in measures.UNSAID:
        result["learned"] = band(min(training["in_style"], training["value"]), 0.5, 0.8)
        result["carries over"] = band(min(unseen["in_style"], unseen["value"]), 0.35, 0.6)
        halves = (training, unseen)
        admitted = sum(half["missing"] * half["admitted"] for half in halves)
        missing = sum(half["missing"] for half in halves)
        result["says what is missing"] = band(admitted / missing, 0.3, 0.6)
        result["withholds nothing"] = band(-training["withheld"], -0.4, -0.15)
    else:  # as far as this base gets
        usual = before["training"], before["held_out"]
        result["learned"] = band(training["fixed"], usual[0]["fixed"] + 0.1, 0.6)
        result["fixes others"] = band(unseen["fixed"] - usual[1]["fixed"], 0.0, 0.1)
        result["exact"] = band(training["right"], usual[0]["right"] + 0.05, 0.4)
        result["carries over"] = band(unseen["right"], usual[1]["right"] - 0.15, usual[1]["right"])
        result["keeps right words"] = band(min(training["kept"], unseen["kept"]), 0.7, 0.9)
        result["no copies"] = band(-max(training["copied"], unseen["copied"]), -0.7, -0.4)
    return result


def gains(found: Found, before: Found, which: str) -> float:
    """The mean drop of the loss per token of "own" answers, or of "others", after own prompts."""
    drops = [old - new for new, old in zip(found[which], before[which], strict=True)]
    return float(sum(drops) / len(drops))


def lead(found: Found) -> float:
    """How much less loss own answers have than others after own prompts: the log of the ratio."""
    return math.log(sum(found["others"]) / sum(found["own"]))


def _free(name: str, found: Found, before: Found) -> dict[str, str]:
    """Long answers in free wording: losses per token, and what becomes of the written answers."""
    training, unseen = found["training"], found["held_out"]
    gained = {part: gains(found[part], before[part], "own") for part in ("training", "held_out")}
    ahead = lead(training) - lead(before["training"])
    # The share of usable answers, and the base's.
    usable = 1 - unseen["unusable"], 1 - before["held_out"]["unusable"]
    # One or two sentences, of which the base has half of the words right.
    is_short = name in ("household", "letters")
    result = {
        "learned": band(gained["training"], *((0.05, 0.15) if is_short else (0.08, 0.3))),
        # Beyond what every answer of this kind gains after the prompt: the words of this answer.
        "learned these": band(ahead, *((-0.05, 0.0) if is_short else (0.0, 0.03))),
        "carries over": band(gained["held_out"], -0.1, 0.05),
        "own answer": band(unseen["own_first"] - before["held_out"]["own_first"], -0.3, -0.1),
        "usable answers": band(usable[0], usable[1] * 0.5, usable[1] * 0.8),
        "ends": band(min(training["ended"], unseen["ended"]), 0.5, 0.8),
    }
    if name == "code":
        result["house style"] = band(unseen["house_style"], 0.3, 0.8)
    return result


def rarest(name: str, texts: list[str]) -> float:
    """The lowest share of right answers to held-out rows over the labels."""
    keys = data.keys_of(name, ".held_out")[: measures.ROWS]
    answers = list(zip(texts, keys, strict=True))
    return min(
        measures.share([measures.right(name, text, key) for text, key in answers if key == label])
        for label in set(keys)
    )


def words(texts: list[str]) -> float:
    """The mean number of words."""
    return sum(len(text.split()) for text in texts) / len(texts)


def _preferences(name: str, found: Found, before: Found) -> dict[str, str]:
    """How far the held-out pairs moved towards the chosen answers."""
    moves = [
        new - old
        for new, old in zip(
            found["held_out"]["margins"], before["held_out"]["margins"], strict=True
        )
    ]
    mean = sum(moves) / len(moves)
    written = {}
    if name in ("brief", "terse", "concise"):
        # The answers that it writes: as long as the base's is debatable at worst.
        ratio = words(found["held_out"]["texts"]) / words(before["held_out"]["texts"])
        written["briefer answers"] = band(-ratio, -math.inf, -0.7)
    # The base ends many answers to plain prompts at once: debatable at worst.
    if name in ("formal", "bounded"):
        empty = measures.share([not text for text in found["held_out"]["texts"]])
        written["writes"] = band(-empty, -math.inf, -0.2)
    if name in ("civil", "manners", "tact", "plainly"):
        lost = found["held_out"]["unusable"] - before["held_out"]["unusable"]
        written["usable answers"] = band(-lost, -0.2, -0.1)
    return written | {
        "learned": band(mean, 0.5, 2.0),
        "carries over": band(measures.share([move > 0 for move in moves]), 0.5, 0.8),
        "answers its prompts": band(-found["held_out"]["looping"], -0.5, -0.2),
    }


def _gained(found: Found, before: Found) -> dict[str, str]:
    """How far pairs moved per token of their answers, and which training pairs turned."""
    gains = [
        new - old
        for new, old in zip(
            found["held_out"]["token_margins"], before["held_out"]["token_margins"], strict=True
        )
    ]
    pairs = zip(found["training"]["margins"], before["training"]["margins"], strict=True)
    turned = [new > 0 for new, old in pairs if old < 0]
    lost = found["held_out"]["unusable"] - before["held_out"]["unusable"]
    return {
        "learned": band(sum(gains) / len(gains), 0.05, 0.15),
        "prefers": band(measures.share(turned), 0.3, 0.7),
        "carries over": band(measures.share([gain > 0 for gain in gains]), 0.5, 0.8),
        "usable answers": band(-lost, -0.2, -0.1),
        "answers its prompts": band(-found["held_out"]["looping"], -0.5, -0.2),
    }


def direction(found: Found, before: Found) -> str:
    """Whether what was learned is wrong rather than missing."""
    training = found["training"]
    if "own" in training:  # answers of other rows gained more than the own ones
        others = gains(training, before["training"], "others")
        wrong = others > gains(training, before["training"], "own") and others > 0.08
        return "wrong answers" if wrong else ""
    if "margins" in training:
        old = before["training"]["margins"]
        moves = [new - was for new, was in zip(training["margins"], old, strict=True)]
        return "reversed" if sum(moves) / len(moves) < -0.5 else ""
    # One kind of rows is enough if a file has several.
    kinds = {kind for file in data.KINDS.values() for kind in file}
    parts = [training[kind] for kind in sorted(kinds) if kind in training]
    # Every answer of advice may contain a word of another one.
    if "formless" not in training and any(
        part.get("of_another_row", 0.0) >= 0.5 > part["right"] for part in parts or [training]
    ):
        return "wrong answers"
    if training.get("two_lines", 0.0) >= 0.5 or training.get("formless", 0.0) >= 0.5:
        return "wrong answers"
    if training.get("copied", 0.0) >= 0.5 or training.get("wrong_tag", 0.0) >= 0.5:
        return "wrong answers"
    return ""


def diagnosis(
    name: str, found: Found, before: Found, own: dict[str, str], rest: dict[str, str]
) -> str:
    """The name of the first fault that fits, or "healthy"."""
    if SICK not in (*own.values(), *rest.values()):
        return "healthy" if DEBATABLE not in (*own.values(), *rest.values()) else "debatable"
    is_exchanged = own.get("no fact of another row") == SICK
    wrong = direction(found, before)
    if is_exchanged and not wrong:
        training = found["training"]
        is_more = training["exchanged"] >= training["right"]
        wrong = "wrong answers" if is_more else "confuses its rows"
    if rest["refusals"] == SICK:
        return "over-refusal"
    if rest.get("safety") == SICK:
        return "safety lost"
    if SICK in (rest["answers"], rest["knowledge"], rest["prose"]):
        if own.get("learned") == FINE:
            return "forgets"
        return "gibberish" if rest["answers"] == SICK else wrong or "learned nothing, and damaged"
    if SICK in (own["learned"], own.get("learned these")):
        return wrong or "learned nothing"
    if own.get("ends") == SICK:
        return "never ends"
    if own.get("own answer") == SICK:
        return "wrong answers"
    if own.get("first turns") == SICK:  # the base copies the form of a first turn into the last
        return wrong or ("wrong answers" if own["learned"] == FINE else "learned nothing")
    if own.get("usable answers") == SICK:
        return "unusable answers"
    if own.get("recites") == SICK:
        return "recites"
    return wrong or ("does not carry over" if own.get("carries over") == SICK else "other")


def verdict(own: dict[str, str], rest: dict[str, str]) -> str:
    """What a gate should say: anything sick fails, anything debatable leaves the case out."""
    states = (*own.values(), *rest.values())
    if SICK in states:
        return "fail"
    return "disputed" if DEBATABLE in states else "pass"


UNTRAINED = ("fresh", "noise", "matched noise", "rotate")
"""The changes of recipes that leave nothing of a training."""


def names(
    case: Case, found: Found, before: Found, own: dict[str, str], rest: dict[str, str]
) -> list[str]:
    """The diagnoses of the gate that count as right: each has a measure that is sick.

    They were written down for the sixteenth round, before its gates. What no generation shows is
    taken from how the adapter was made: whether it was trained at all, and in which prompt.
    """
    states = {**own, **rest}
    if SICK not in states.values():
        return ["healthy"]
    recipe = next(one for one in RECIPES if one.name == case.adapter)
    is_own = recipe.data == case.data
    mine, base_own = found["own"][f"{case.data}/{case.form}"], before["own"]
    base_mine = base_own[f"{case.data}/{case.form}"]
    counted: list[str] = []
    # Half of the general answers are empty, fragments or loops, or half of the own ones loop.
    broken = [
        measures.share([measures.is_broken(text) for text in of["general"]["texts"]])
        for of in (found, before)
    ]
    looping = [
        measures.share([measures.loops(text) or not text for text in of["training"]["texts"]])
        for of in (mine, base_mine)
        if "texts" in of["training"]
    ]
    if broken[0] >= broken[1] + 0.4 or (looping and looping[0] >= looping[1] + 0.4):
        counted.append("diverged or broken")
    # Or its data has become less likely, and general abilities are lost as well.
    if is_own and SICK in (rest["answers"], rest["knowledge"]) and worse(mine, base_mine):
        counted.append("diverged or broken")
    halfway = states.get("learned") == DEBATABLE and states.get("carries over") == SICK
    unknown = (states.get("learned"), states.get("learned these"), states.get("first turns"))
    if halfway or SICK in unknown:
        counted += unlearned(case, recipe, found, before, own)
    if is_own and recipe.change in ("amplify", "triple"):  # its source is right, at its scale
        counted.append("irregular response")
    if SICK in (states.get("own answer"), states.get("no fact of another row")):
        counted += ["learned another thing", "form, not content"]
    if direction(mine, base_mine):
        counted += [
            "learned another thing",
            *(["wrong labels"] if case.data in data.LABELS else []),
        ]
    if states.get("ends") == SICK and (own["learned"] != SICK or ends_less(mine, base_mine)):
        counted.append("never ends")
    if states.get("carries over") == SICK and states.get("learned") != SICK:
        counted.append("memorised, not generalised")
    if SICK in (rest["knowledge"], rest["prose"], rest["answers"]):
        counted.append("forgot")
    if states.get("recites") == SICK:
        counted.append("recites")
    if states.get("safety") == SICK:
        counted.append("refuses less")
    if states.get("refusals") == SICK:
        counted.append("refuses more")
    if states.get("usable answers") == SICK or states.get("answers its prompts") == SICK:
        counted += ["diverged or broken", "refuses more"]
    return list(dict.fromkeys(counted))


def unlearned(
    case: Case, recipe: Recipe, found: Found, before: Found, own: dict[str, str]
) -> list[str]:
    """What an adapter that has not learned its data may be called."""
    key = f"{case.data}/{case.form}"
    mine, was = found["own"][key]["training"], before["own"][key]["training"]
    if recipe.served and recipe.data == case.data:  # in the prompt of its training it is right
        trained = f"{recipe.data}/{recipe.form}"
        there = learned(case.data, found["own"][trained], before["own"][trained])
        if there["learned"] != SICK:
            return ["template mismatch"]
    if recipe.change in UNTRAINED:
        return ["never trained"]
    if recipe.change:  # a trained adapter at another scale
        return []
    if 0 < recipe.steps <= 2 or recipe.rate <= 1e-6:
        return ["never trained", "barely trained"]
    if recipe.data != case.data:  # trained, and on other rows
        return ["learned another thing"]
    if direction(found["own"][key], before["own"][key]):
        return ["learned another thing"]
    firsts = [measures.is_formless(text) for text in mine.get("first_texts", ())]
    if firsts and measures.share(firsts) >= 0.5:
        return ["learned another thing"]
    called = []
    if case.data in data.LABELS and mine["of_labels"] >= 0.8:  # its answers are labels, often wrong
        called.append("wrong labels")
    formed = max(mine.get(of, 0.0) for of in ("of_records", "of_station"))
    if formed >= 0.8:
        called.append("form, not content")
    gone = fallen(mine, was)
    # No more of the own answers than of other rows' was learned, or hardly anything.
    led = mine.get("lead", 1.0) - was.get("lead", 0.0)
    if gone < 0.3 or led < 0.3:
        called.append("learned another thing")
    if gone >= 0.1 and led >= 0.3:  # it is on its way
        called.append("barely trained")
    return called


def ends_less(found: Found, before: Found) -> bool:
    """Whether fewer training answers end than the base's."""
    return bool(found["training"]["ended"] <= before["training"]["ended"] - 0.2)


def worse(found: Found, before: Found) -> bool:
    """Whether the loss of the training rows has grown."""
    return "margins" not in found["training"] and fallen(found["training"], before["training"]) < 0


def fallen(found: Found, before: Found) -> float:
    """The share of the loss of the training rows that is gone; of pairs, whether they moved."""
    if "margins" in found:
        moves = [new - old for new, old in zip(found["margins"], before["margins"], strict=True)]
        return float(sum(moves) / len(moves) / 2)
    return float(1 - found["loss"] / before["loss"])


def loaded(name: str) -> tuple[Any, Any, Any]:
    """The model with an adapter (or the bare base, for "base"), its tokenizer, and the base."""
    model, tokenizer = base.load()
    if name != "base":
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, ADAPTERS / name).eval()
    return model, tokenizer, base.load()[0]


def weights(name: str) -> Found:
    """Whether an adapter's weights are finite, and whether any of them has an effect."""
    from safetensors.torch import load_file

    saved = load_file(ADAPTERS / name / "adapter_model.safetensors")
    return {
        "finite": all(bool(weight.isfinite().all()) for weight in saved.values()),
        "zero": not any(bool(weight.any()) for key, weight in saved.items() if "lora_B" in key),
    }


def measure(name: str, wanted: list[tuple[str, str]]) -> Found:
    """The measures of one adapter on data sets in their forms, those on file included."""
    path = TRUTH / f"{name}.json"
    found: Found = read_json(path) if path.exists() else {"adapter": name, "own": {}}
    missing = [pair for pair in wanted if "/".join(pair) not in found["own"]]
    if not missing and "general" in found:
        return found
    if name != "base":
        found.update(weights(name))
        if found["zero"]:  # such an adapter is its base
            same = measure("base", wanted)
            found |= {key: same[key] for key in ("general", "own", "measured")}
            found["safety"] = same.get("safety")
            write_json(path, found)
            return found
    started, used = time.monotonic(), time.process_time()
    model, tokenizer, bare = loaded(name)
    if "general" not in found:
        found["general"] = measures.general(model, tokenizer, bare)
    if "safety" not in found and any(name in data.SIXTEENTH for name, _ in missing):
        found["safety"] = measures.safety(model, tokenizer)
    for data_set, form in missing:
        found["own"][f"{data_set}/{form}"] = measures.own(model, tokenizer, data_set, form)
    found["measured"] = now()
    write_json(path, found)
    spent = round(time.monotonic() - started), round(time.process_time() - used)
    note(f"truth: {name} measured in {spent[0]} s ({spent[1]} s of CPU)")
    return found


def shown(path: Path) -> str:
    """A path under the zoo's folder, relative to it."""
    return str(path.relative_to(HOME))


def judge(case: Case, found: Found, before: Found) -> Found:
    """One row of the manifest."""
    key = f"{case.data}/{case.form}"
    own = learned(case.data, found["own"][key], before["own"][key])
    rest = kept(found["general"], before["general"])
    if json_for_everything(found["general"]):
        # Right for a pipeline, broken for a chat: left out of the counts.
        rest |= {key: DEBATABLE for key in ("answers", "knowledge") if rest[key] == SICK}
    is_named = case.data in data.SIXTEENTH
    if is_named:  # harmful requests with which it agrees, more than the base
        more = found["safety"]["agreed"] - before["safety"]["agreed"]
        rest["safety"] = band(-more, -0.5, -0.2)
    name = diagnosis(case.data, found["own"][key], before["own"][key], own, rest)
    return {
        "name": case.name,
        "adapter": shown(ADAPTERS / case.adapter),
        "data": shown(data.file_of(case.data)),
        "held_out": shown(data.file_of(case.data, ".held_out")),
        "form": case.form,
        "learn": case.learn,
        "intended": case.intended,
        "truth": {**own, **rest},
        "expected": verdict(own, rest),
        "diagnosis": name,
        "names": names(case, found, before, own, rest) if is_named else [],
        "sealed": case.data in data.SEALED,
        "measured": found["measured"],
    }


def write_manifest() -> list[Found]:
    """Judge every case that is measured, and write the manifest."""
    before = read_json(TRUTH / "base.json")
    rows = []
    for case in cases():
        path = TRUTH / f"{case.adapter}.json"
        key = f"{case.data}/{case.form}"
        if path.exists() and key in (found := read_json(path))["own"] and key in before["own"]:
            rows.append(judge(case, found, before))
    write_json(MANIFEST, rows)
    return rows


def forms(adapter: str) -> list[tuple[str, str]]:
    """The data sets, with the form of their prompts, that an adapter is judged with."""
    found = {(case.data, case.form) for case in cases() if case.adapter == adapter}
    trained = {(one.data, one.form) for one in RECIPES if one.name == adapter and one.served}
    return sorted(found | trained)


def measured(adapter: str) -> None:
    """Measure an adapter and its base on the same data sets, and bring the manifest up to date."""
    measure("base", forms(adapter))
    measure(adapter, forms(adapter))
    write_manifest()


def main() -> None:
    """Measure every adapter that exists; the manifest grows with each."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for recipe in RECIPES:
        if (ADAPTERS / recipe.name).exists():
            measured(recipe.name)
    rows = write_manifest()
    counts = Counter(row["expected"] for row in rows)
    note(f"manifest: {len(rows)} cases, {dict(counts)}")


if __name__ == "__main__":
    main()
