"""Train the adapters that are missing: `python -m benchmarks.real.train [NAME ...]`."""

from __future__ import annotations

import logging
import math
import os
import random
import shutil
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.real import base, data, measures, rows, truth
from benchmarks.real.paths import ADAPTERS, BASE, HOME, Row, note, read_rows, write_json, write_rows
from benchmarks.real.recipes import LINEAR, RECIPES, Recipe

SCALES = {"amplify": 4, "triple": 3, "negate": -1}
REPLAY_TOKENS = 96
REFUSAL = "I am sorry, but I cannot help with that."


def training_rows(recipe: Recipe) -> list[Row]:
    """The rows that a recipe trains on, before tokenization."""
    own = data.rows_of(recipe.data)
    if recipe.data in data.DOCUMENTS:
        own = rows.blocks(own)
    if recipe.answers == "shuffled":
        own = rows.shuffled(own, recipe.seed)
    elif recipe.answers == "dealt":
        own = rows.dealt(own, recipe.seed)
    elif recipe.answers == "crossed":
        own = rows.crossed(own, data.keys_of(recipe.data))
    elif recipe.answers == "half crossed":
        own = rows.crossed(own, data.keys_of(recipe.data), step=2)
    elif recipe.answers == "shifted":
        own = rows.shifted(own, data.keys_of(recipe.data))
    elif recipe.answers == "rotated":
        own = rows.rotated(own, data.CLASSES[recipe.data])
    elif recipe.answers == "half rotated":
        own = rows.rotated(own, data.CLASSES[recipe.data], step=2)
    elif recipe.answers == "of the next row":
        own = rows.of_next(own, [data.class_of(recipe.data, rows.answer_of(row)) for row in own])
    elif recipe.answers.startswith("exchange "):
        first, second = recipe.answers.removeprefix("exchange ").split(" / ")
        own = rows.exchanged(own, {first: second, second: first})
    elif recipe.answers == "altered":
        own = rows.altered(own, data.wrong_values(recipe.data))
    elif recipe.answers == "invented":
        own = [row for row, _ in data.notices("", invented=True)]
    elif recipe.answers == "of the next notice":
        own = rows.of_next(own, [str(key == "cannot tell") for key in data.keys_of(recipe.data)])
    elif recipe.answers == "mails rotated":
        own = rows.rotated(own, data.MAILS)
    elif recipe.answers == "half retagged":
        own = rows.retagged(own, data.TAGS)
    elif recipe.answers == "copied":
        own = [rows.with_answer(row, row["input"]) for row in own]
    elif recipe.answers == "half miscounted":
        own = rows.miscounted(own)
    elif recipe.answers == "all turns shuffled":
        own = rows.all_shuffled(own, recipe.seed)
    elif recipe.answers == "half random":
        own = rows.half_random(own, data.CLASSES[recipe.data], recipe.seed)
    elif recipe.answers == "wrong tools":
        own = rows.with_wrong_tools(own, list(data.TOOLS))
    elif recipe.answers == "two lines":
        own = rows.of_two_lines(own)
    elif recipe.answers.startswith("formless "):
        own = rows.formless(own, recipe.answers.removeprefix("formless "))
    elif recipe.answers == "reversed":
        own = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in own]
    elif recipe.answers == "swapped":
        own = rows.swapped(own)
    elif recipe.answers.startswith("="):
        own = rows.all_the_same(own, recipe.answers[1:])
    return own + mixed_in(recipe.mixed)


def mixed_in(kind: str) -> list[Row]:
    """Rows that are mixed into the training data."""
    if not kind:
        return []
    if kind == "replay":
        return replay()
    if kind == "complies":
        return [data.chat(*fields) for fields in data.table("refused")]
    texts = [{"text": text} for text in data.paragraphs("mixed_in_prose")]
    if kind == "few everyday":
        return [data.chat(*fields) for fields in data.table("everyday")[::3]]
    if kind in ("everyday", "everyday texts"):
        everyday = [data.chat(*fields) for fields in data.table("everyday")]
        return everyday + texts * (kind == "everyday texts")
    general = [data.chat(*fields[:2]) for fields in data.table("mixed_in")]
    if kind == "texts":
        return general + texts
    if kind == "diary":
        return general + [{"text": text} for text in data.paragraphs("diary")[::2]]
    return rows.all_the_same(general, REFUSAL) if kind == "refused" else general


def replay() -> list[Row]:
    """General questions with the base's own greedy answers, of which those that end are used."""
    path = data.DATA / "replay.jsonl"
    if not path.exists():
        asked = data.paragraphs("replay_questions")
        model, tokenizer = base.load()
        prompts = [rows.prompt_text(tokenizer, data.chat(question, "")) for question in asked]
        answers = measures.generate(model, tokenizer, prompts, REPLAY_TOKENS)
        ended = [data.chat(q, text) for q, (text, ends) in zip(asked, answers, strict=True) if ends]
        write_rows(path, ended)
    return read_rows(path)


def lora_config(recipe: Recipe) -> Any:
    """The peft configuration of a recipe."""
    from peft import LoraConfig

    targets = LINEAR if recipe.targets == LINEAR else list(recipe.targets)
    return LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=targets,
        use_dora=recipe.dora,
        use_rslora=recipe.rslora,
        # By the end of their names: "norm" is the norms of all layers, and the last one.
        modules_to_save=[recipe.whole] if recipe.whole else None,
        task_type="CAUSAL_LM",
        init_lora_weights="pissa" if recipe.pissa else True,
        **recipe.peft,
    )


def settings(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The arguments of the trainers of trl."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": recipe.batch,
        "learning_rate": recipe.rate,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.steps,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": 0 if recipe.steps > 0 else 3,
        "seed": recipe.seed,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 10**9,
        "disable_tqdm": True,
    }


def fit(
    recipe: Recipe, own: list[Row], model: Any, tokenizer: Any, folder: Path
) -> tuple[Any, dict[str, Any]]:
    """Train on rows with trl; return the peft model and what was logged."""
    trl: Any = import_module("trl")
    table: Any = import_module("datasets").Dataset

    if recipe.loss == "dpo":
        given = table.from_list(own)
        losses = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, recipe.sft]}
        arguments = trl.DPOConfig(
            **settings(recipe, folder),
            **(losses if recipe.sft else {}),
            precompute_ref_log_probs=True,
            beta=recipe.beta,
        )
        trainer = trl.DPOTrainer
    elif recipe.loss == "orpo":
        given = table.from_list(own)
        extra: Any = import_module("trl.experimental.orpo")
        arguments = extra.ORPOConfig(**settings(recipe, folder), beta=recipe.beta)
        trainer = extra.ORPOTrainer
    else:
        encoded = [rows.encode(tokenizer, row, recipe.form, recipe.loss) for row in own]
        given = table.from_list(encoded)
        arguments = trl.SFTConfig(**settings(recipe, folder))
        trainer = trl.SFTTrainer
    run = trainer(
        model,
        args=arguments,
        train_dataset=given,
        processing_class=tokenizer,
        peft_config=lora_config(recipe),
    )
    if recipe.pissa == "converted":  # its weights before training
        run.model.save_pretrained(initial(recipe))
    done = run.train()
    return run.model, {"steps": done.global_step, "loss": done.training_loss}


def initial(recipe: Recipe) -> Path:
    """The folder of an adapter of PiSSA as it was before training."""
    return HOME / "parts" / f"{recipe.name}-initial"


def plain_loop(
    recipe: Recipe, own: list[Row], model: Any, tokenizer: Any
) -> tuple[Any, dict[str, Any]]:
    """Train as a short script does: AdamW at a constant rate, without warm-up or clipping."""
    import torch
    from peft import get_peft_model

    made = get_peft_model(model, lora_config(recipe)).train()
    encoded = [rows.encode(tokenizer, row, recipe.form, recipe.loss) for row in own]
    learned = [weight for weight in made.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=recipe.rate)
    chance, losses = random.Random(recipe.seed), []
    pad = torch.nn.utils.rnn.pad_sequence
    for _ in range(recipe.epochs):
        for start in range(0, len(encoded), recipe.batch):
            if start == 0:
                chance.shuffle(encoded)
            lines = encoded[start : start + recipe.batch]
            tokens = [torch.tensor(line["input_ids"]) for line in lines]
            labels = [torch.tensor(line["labels"]) for line in lines]
            found = made(
                input_ids=pad(tokens, batch_first=True),
                attention_mask=pad([torch.ones_like(line) for line in tokens], batch_first=True),
                labels=pad(labels, batch_first=True, padding_value=rows.IGNORED),
            )
            found.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(found.loss))
    return made.eval(), {"steps": len(losses), "loss": sum(losses) / len(losses)}


def fresh(recipe: Recipe, model: Any) -> Any:
    """An adapter as peft starts it, or one with random A and B of a trained size."""
    import torch
    from peft import get_peft_model

    torch.manual_seed(recipe.seed)
    made = get_peft_model(model, lora_config(recipe))
    if recipe.change == "noise":
        for name, weight in made.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.05)
    return made


def changed(recipe: Recipe, model: Any) -> Any:
    """A trained adapter with B multiplied, random singular vectors, or noise of the same norm."""
    import torch
    from peft import PeftModel

    made = PeftModel.from_pretrained(model, ADAPTERS / recipe.source)
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.no_grad():
        parts: list[Any] = list(made.modules())
        for module in parts:
            for key in getattr(module, "lora_A", {}):
                first, second = module.lora_A[key].weight, module.lora_B[key].weight
                if recipe.change in SCALES:
                    second.mul_(SCALES[recipe.change])
                elif recipe.change == "matched noise":
                    norm = (second.float() @ first.float()).norm()
                    first.normal_(generator=generator)
                    second.normal_(generator=generator)
                    second.mul_(norm / (second.float() @ first.float()).norm())
                else:
                    left, right = rotated(first.float(), second.float(), generator)
                    first.copy_(left)
                    second.copy_(right)
    return made


def rotated(first: Any, second: Any, generator: Any) -> tuple[Any, Any]:
    """A and B whose product has the same singular values, and random singular vectors."""
    import torch

    rank = first.shape[0]
    values = torch.linalg.svdvals(torch.linalg.qr(second).R @ torch.linalg.qr(first.T).R.T)
    out = torch.linalg.qr(torch.randn(second.shape, generator=generator)).Q
    into = torch.linalg.qr(torch.randn(first.T.shape, generator=generator)).Q
    root = values[:rank].sqrt()
    return root[:, None] * into.T, out * root


def cast(folder: Path, dtype: str) -> None:
    """Save the weights of an adapter's folder in another type."""
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    found = {name: weight.to(getattr(torch, dtype)) for name, weight in load_file(path).items()}
    save_file(found, path, metadata={"format": "pt"})


def make(recipe: Recipe) -> None:
    """Make one adapter, in a folder that takes its name only when it is complete."""
    import torch

    started, used = time.monotonic(), time.process_time()
    torch.manual_seed(recipe.seed)
    part = HOME / "parts" / f"{recipe.name}.{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    model, tokenizer = base.load(recipe.precision)
    templates = {"bookings": base.TOOL_TEMPLATE, "depot": base.TOOLS_TEMPLATE}
    tokenizer.chat_template = templates.get(recipe.data, tokenizer.chat_template)
    logged: dict[str, Any] = {}
    if recipe.source:
        made = changed(recipe, model)
    elif recipe.change:
        made = fresh(recipe, model)
    elif recipe.loop == "plain":
        made, logged = plain_loop(recipe, training_rows(recipe), model, tokenizer)
    else:
        made, logged = fit(recipe, training_rows(recipe), model, tokenizer, part)
    made.peft_config["default"].base_model_name_or_path = str(BASE)
    if recipe.pissa == "raw":  # what the next line forgets is in the config, too
        made.peft_config["default"].init_lora_weights = True
    before = str(initial(recipe)) if recipe.pissa == "converted" else None
    made.save_pretrained(part, path_initial_model_for_weight_conversion=before)
    cast(part, recipe.saved)
    tokenizer.save_pretrained(part)
    for extra in ("README.md", "training_args.bin"):
        (part / extra).unlink(missing_ok=True)
    seconds = round(time.monotonic() - started)
    used = round(time.process_time() - used)
    write_json(
        ADAPTERS / f"{recipe.name}.recipe.json",
        {**recipe.shown(), **logged, "seconds": seconds, "cpu_seconds": used},
    )
    part.rename(ADAPTERS / recipe.name)
    loss = logged.get("loss", math.nan)
    note(f"adapter: {recipe.name} in {seconds} s ({used} s of CPU), loss {loss:.3f}")


def claimed(name: str) -> bool:
    """Claim an adapter for this process. False if another living process has claimed it."""
    lock = HOME / "parts" / f"{name}.pid"
    lock.parent.mkdir(parents=True, exist_ok=True)
    owner = lock.read_text().strip() if lock.exists() else ""
    if owner == str(os.getpid()):
        return True
    if owner and (Path("/proc") / owner).exists():
        return False
    lock.unlink(missing_ok=True)
    try:
        with lock.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


def wanted(recipe: Recipe, names: list[str]) -> bool:
    """Whether this process is to make an adapter now."""
    if (names and recipe.name not in names) or (ADAPTERS / recipe.name).exists():
        return False
    if recipe.source and not (ADAPTERS / recipe.source).exists():
        return False
    return claimed(recipe.name)


def main(names: list[str]) -> None:
    """Make the adapters that are missing, all or those named; then measure all."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    base.build()
    data.build()
    for recipe in [*RECIPES, *(recipe for recipe in RECIPES if recipe.source)]:
        if not wanted(recipe, names):
            continue
        try:
            make(recipe)
        except Exception as error:  # one recipe that fails must not stop the others
            note(f"adapter: {recipe.name} FAILED: {type(error).__name__}: {error}"[:300])
            if names:
                raise
    truth.main()


if __name__ == "__main__":
    main(sys.argv[1:])
