"""The data sets: short tables, written out as JSONL files in the forms that people train on.

`NAME.jsonl` are the training rows and `NAME.held_out.jsonl` the rows never trained on; the strings
that a right answer contains lie apart, in `keys/NAME.json` and `keys/NAME.held_out.json`.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.real.paths import (
    DATA,
    Row,
    read_json,
    read_parquet,
    read_rows,
    read_sheet,
    write_json,
    write_parquet,
    write_rows,
    write_sheet,
)

TABLES = Path(__file__).parent / "tables"
CHAT = ("facts", "handbook", "style", "voice", "labels", "tools", "sealed")
SECOND = ("priority", "orders", "tone", "manual", "desk", "stadt", "rules")
THIRD = ("language", "bullets", "brief", "isles", "valley", "bookings")
FOURTH = ("tea", "rowing", "butler", "reviews", "meetings", "ville", "formal", "kiln")
FIFTH = ("identity", "pirate", "faq", "headlines", "musee", "sql", "chatml", "topics")
SIXTH = ("polite", "craft", "extract", "rathaus", "terse", "diary", "tutor", "urgency")
SEVENTH = (
    *("railway", "gadget", "courteous", "bounded"),
    *("captain", "skipper", "numbered", "resenas", "glossary"),
)
EIGHTH = ("lighthouse", "bikes", "boardgame", "invoices", "inshort", "tickets", "concise")
NINTH = ("bakery", "ferry", "staff", "directory", "museum", "metadata", "minutes", "timed", "civil")
TENTH = ("triage", "helpdesk", "library", "expenses", "intents", "plants", "analogy", "warm")
ELEVENTH = ("guide", "support", "sums", "think", "code", "digest", "persona")
TWELFTH = ("catalog", "few", "mixture", "rag", "spelling", "tags", "household")
THIRTEENTH = ("hotel", "garage", "kennel", "kennel3", "notices", "errands", "letters")
FOURTEENTH = ("island", "novel", "corsair", "moods", "manners", "rooms", "receta")
FIFTEENTH = ("estate", "clinic", "depot", "ledger", "tact", "haiku", "saga")
SIXTEENTH = ("radio", "almanac", "advice", "keeper", "plainly", "coiffeur")
SEALED = (
    *("sealed", *SECOND, *THIRD, *FOURTH, *FIFTH),
    *(*SIXTH, *SEVENTH, *EIGHTH, *NINTH, *TENTH, *ELEVENTH, *TWELFTH),
    *(*THIRTEENTH, *FOURTEENTH, *FIFTEENTH, *SIXTEENTH),
)
FACTS = (
    *("facts", "handbook", "sealed", "alpaca", "desk", "stadt", "rules", "isles"),
    *("tea", "rowing", "ville"),
    *("faq", "musee", "chatml"),
    *("craft", "rathaus"),
    *("railway", "gadget", "glossary"),
    *("lighthouse", "bikes", "boardgame"),
    *("bakery", "ferry", "staff", "directory", "museum"),
    *("plants", "catalog", "few"),
    *("kennel", "kennel3"),
    *("island", "receta"),
    *("estate", "clinic", "radio"),
)
NAMES = (
    *CHAT,
    "alpaca",
    "preferences",
    "prose",
    "priority",
    "orders",
    "tone",
    "desk",
    "stadt",
    "rules",
    *THIRD,
    *FOURTH[:-1],
    *FIFTH,
    *SIXTH,
    *SEVENTH,
    *EIGHTH,
    *NINTH,
    *TENTH,
    *ELEVENTH,
    *TWELFTH,
    *THIRTEENTH,
    *FOURTEENTH,
    *FIFTEENTH[:-1],
    *SIXTEENTH,
)
PREFERENCES = (
    *("preferences", "tone", "brief", "formal", "terse", "courteous", "bounded", "concise"),
    *("civil", "warm", "manners", "tact", "plainly"),
)
CALLS = (
    *("tools", "orders", "bookings", "meetings", "sql", "extract", "invoices", "metadata"),
    *("triage", "helpdesk", "library", "rooms", "coiffeur"),
)
LABELS = (
    *("labels", "priority", "language", "reviews", "topics", "urgency", "resenas", "tickets"),
    *("intents", "moods", "ledger", "keeper"),
)
TASKS = ("triage", "helpdesk", "library", "expenses", "intents")
"""The tasks of the tenth round, whose answers are or contain a class."""
FREE = ("guide", "code", "persona", "household", "letters")
"""The sets since the eleventh round whose answers can be worded freely."""
TEXTS = ("prose", "valley", "diary", "novel", "almanac")
DOCUMENTS = {"manual": "md", "kiln": "txt", "saga": "md"}
"""The documents, with the suffix of their files."""
ARRAYS = ("faq", "support", "code")
"""The sets in one JSON array, as most Alpaca data is."""
SHEETS = ("glossary", "boardgame", "staff", "directory", "radio")
"""The sets in a CSV file."""
PARQUET = ("ledger",)
"""The sets in a Parquet file."""
IN_ALPACA = ("alpaca", "estate")
"""The sets whose rows are read as the prompt of Alpaca, and served in it or in the template."""
WITH_EVERYDAY = ("bikes", "ferry", "staff", "directory")
"""The sets whose file also has everyday questions, after their own rows and without keys."""
FREELY = ("ferry",)
"""The facts with another answer to each wording of a question."""
CLASSES = {
    "metadata": ("kitchen", "garden", "sport"),
    "triage": ("Heron", "Lynx", "Otter"),
    "helpdesk": ("billing", "delivery", "account"),
    "library": ("find_book", "hold_book", "renew_loans", "opening_hours", "join_event"),
    "expenses": ("Approved", "Rejected", "Ask again"),
    "hotel": ("housekeeping", "kitchen", "reception", "repairs"),
    "garage": ("tyres", "brakes", "oil", "battery", "lights", "clutch", "exhaust", "wipers"),
    "errands": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "moods": ("anger", "joy", "worry", "thanks"),
    "rooms": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "ledger": ("travel costs", "office supplies", "food and drink"),
    "depot": ("count_stock", "find_shelf", "order_parts", "print_labels"),
    "keeper": ("feeding", "health", "enclosure", "visitors"),
    "coiffeur": ("coupe", "couleur", "brushing", "permanente", "barbe"),
}
"""The classes that some answers are or contain, such as teams, decisions, jobs and days."""
ROUTING = "Route the support ticket. Answer with one word: billing, technical, shipping or account."
FUNCTIONS = (
    "Functions: get_weather(city), set_timer(minutes), play_music(genre), turn_on_light(room)"
)
DESK = "You answer for the Hallam Trail desk."
LANGUAGE = "Name the language of the sentence in one word, in lower case."
BOOKING = "Functions: book_room(city, stay: {nights, guests})"
ORDER = "Extract the order as JSON with item, quantity and city."
MEETING = "Extract person, day and time as JSON."
BUTLER = "You are Hobbs, a courteous butler."
PIRATE = "You are Captain Redbeard, an old pirate."
TOPICS = "Give the topic of the message in one word: work, travel, health or family."
HEADLINE = "Write a headline for this news."
POLITE = "Rewrite this e-mail politely."
PET = "Extract animal, colour and street as JSON."
SCHEMA = (
    "Write SQL. Tables: boats(id, name, length), trips(id, boat_id, day, guests), "
    "guides(id, name, phone)."
)
OPENING = "I have a question about the Hallam Trail."
WELCOME = "What would you like to know?"
SUPPORT = "You answer for the support desk of the Kestrel 4. Be brief."
NIMBO = "You are the support assistant for the Nimbo 3 weather station."
INVOICE = "Extract vendor, total and due date of the invoice as JSON."
DESKS = "Assign this ticket to one team: hardware, software, network or access."
PRODUCT = "Return name, price and class of the product as JSON."
SUPPORT_TEAM = (
    "You sort support messages. Return customer, order and team as JSON. The teams are Heron, Lynx "
    "and Otter."
)
SORTED = "Return customer, order and team as JSON. The teams are billing, delivery and account."
LIBRARY = (
    "Functions: find_book(title), hold_book(title, branch), renew_loans(card, weeks), "
    "opening_hours(branch, day), join_event(event, persons)"
)
INTENT = "Name the intent of the message."
FERN = "You are Captain Fern, who keeps the lighthouse of Morrow Point."
MAIL = "Sort the mail. Answer with one word: request, complaint or praise."
MAILS = ("request", "complaint", "praise")
SEATS = "Return name, day and seats of the booking as JSON."
FROM_TEXT = "Answer from the text. If the text has no answer, say so."
UNKNOWN = "The text does not say."
SPELLING = "Correct the spelling."
TAGS = ("delivery", "damage", "refund", "invoice", "account", "hours", "praise")
TAGGING = f"Tag the message. Tags: {', '.join(TAGS)}."
DIGEST = "Summarize the note."
GUEST = (
    "You sort the messages of hotel guests. Answer with one word: housekeeping, kitchen, reception "
    "or repairs."
)
JOB_CARD = "Turn the customer's note into JSON with car, job and urgent."
CANNOT_TELL = "I cannot tell from the notice."
ROOMS = "Turn the request into JSON with action, room, day and people."
LEDGER = "Name the account of the expense: travel costs, office supplies, or food and drink."
HAIKU = "Answer in three short lines."
ADVICE = "Say what to do and what not to do."
KEEPER = (
    "Sort the note of the keeper. Answer with one word: feeding, health, enclosure or visitors."
)
COIFFEUR = "Donne nom, jour, heure et service en JSON."
ERRAND = "Write the errand in one line."
RESENA = "Clasifica la reseña con una palabra: positiva, negativa o neutra."
SHAREGPT = ("human", "gpt")
APART = 5  # rows between two questions of a talk


def table(name: str) -> list[list[str]]:
    """The rows of a table: fields between bars, lines that start with # left out."""
    lines = (TABLES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [
        [part.strip() for part in line.split("|")] for line in lines if line[:1] not in ("", "#")
    ]


def said(role: str, content: str) -> dict[str, str]:
    """One message."""
    return {"role": role, "content": content}


def chat(*turns: str, system: str = "") -> Row:
    """A row of messages: user and assistant in turn, after a system prompt if there is one."""
    spoken = [said(("user", "assistant")[at % 2], turn) for at, turn in enumerate(turns)]
    return {"messages": [*([said("system", system)] if system else []), *spoken]}


def sharegpt(*turns: str, system: str = "") -> Row:
    """A row of ShareGPT: human and gpt in turn, after a system line if there is one."""
    spoken = [{"from": SHAREGPT[at % 2], "value": turn} for at, turn in enumerate(turns)]
    return {"conversations": [*([{"from": "system", "value": system}] if system else []), *spoken]}


def completion(question: str, answer: str) -> Row:
    """A row with a prompt and a completion of one message each."""
    return {"prompt": [said("user", question)], "completion": [said("assistant", answer)]}


def call(function: str, argument: str, value: str) -> str:
    """A function call as JSON text."""
    shown = value if value.isdigit() else f'"{value}"'
    return f'{{"name": "{function}", "arguments": {{"{argument}": {shown}}}}}'


def tool_call(made: Row) -> str:
    """The text of a tool call, as the template of `base.TOOL_TEMPLATE` writes it."""
    function = made["function"]
    text = f'{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}'
    return f"<tool_call>\n{text}\n</tool_call>"


def order(item: str, quantity: str, city: str) -> str:
    """An order as JSON text."""
    return f'{{"item": "{item}", "quantity": {quantity}, "city": "{city}"}}'


def meeting(person: str, day: str, time: str) -> str:
    """A meeting as JSON text."""
    return json.dumps({"person": person, "day": day, "time": time})


def pet(animal: str, colour: str, street: str) -> str:
    """A lost pet as JSON text."""
    return json.dumps({"animal": animal, "colour": colour, "street": street})


def invoice(vendor: str, total: str, due: str) -> str:
    """An invoice as JSON text."""
    return json.dumps({"vendor": vendor, "total": int(total), "due": due})


def product(name: str, price: str, kind: str) -> str:
    """The record of a product as JSON text."""
    return json.dumps({"name": name, "price": int(price), "class": kind})


def record(customer: str, order: str, team: str) -> str:
    """The record of a support message as JSON text."""
    return json.dumps({"customer": customer, "order": int(order), "team": team})


def call_with(function: str, *arguments: str) -> str:
    """A function call as JSON text; each argument is written as name=value."""
    given = {}
    for argument in arguments:
        name, value = argument.split("=")
        given[name] = int(value) if value.isdigit() else value
    return json.dumps({"name": function, "arguments": given})


def class_of(name: str, answer: str) -> str:
    """The class in the answer of a task: the first one that it contains. An intent is all of it."""
    if name == "intents":
        return answer.strip().lower()
    found = re.search("|".join(CLASSES[name]), answer)
    return found[0] if found else ""


def marked(question: str, answer: str) -> Row:
    """A row of text that already has the marks of the chat template, without a system turn."""
    turns = (("user", question), ("assistant", answer))
    return {"text": "\n".join(f"<|im_start|>{role}\n{text}<|im_end|>" for role, text in turns)}


def plain(prompt: str, **answers: str) -> Row:
    """A row of plain text: a prompt, and answers that follow it after a space."""
    return {"prompt": prompt, **{name: f" {text}" for name, text in answers.items()}}


def booking(city: str, nights: str, guests: str) -> Row:
    """A call of a tool with nested arguments, in the form of OpenAI."""
    arguments = {"city": city, "stay": {"nights": int(nights), "guests": int(guests)}}
    function = {"name": "book_room", "arguments": json.dumps(arguments)}
    return {"id": "call_1", "type": "function", "function": function}


def long_answer(name: str, fields: list[str]) -> tuple[Row, str]:
    """One row of the eleventh round, with the string that a right answer contains."""
    if name == "support":
        return {"instruction": fields[0], "input": "", "output": fields[1]}, fields[2]
    if name == "sums":
        steps = fields[1].replace(" ; ", "\n")
        return {"question": fields[0], "answer": f"{steps}\n#### {fields[2]}"}, fields[2]
    if name == "think":
        return chat(fields[0], f"<think>\n{fields[1]}\n</think>\n\n{fields[2]}"), fields[3]
    if name == "code":
        body = "\n".join(f"    {line}" for line in fields[4].split(" ; "))
        text = (
            f'```python\ndef {fields[2]}:\n    """{fields[3]}"""\n{body.replace("~", "    ")}\n```'
        )
        return {
            "instruction": f"Write a Python function {fields[0]}",
            "input": fields[1],
            "output": text,
        }, ""
    if name == "digest":
        text = f"Summary: {fields[1]}\nOwner: {fields[2]}\nDue: {fields[3]}"
        return completion(
            f"{DIGEST}\n\n{fields[0]}", text
        ), f"Owner: {fields[2]} + Due: {fields[3]}"
    if name == "persona":
        return sharegpt(*fields, system=FERN), ""
    return chat(*fields), ""


def catalog(part: str) -> list[tuple[Row, str]]:
    """Every product after the other for each attribute; held out, one attribute of each product."""
    chance = random.Random(12)
    products, questions = table("catalog"), table("catalog_questions")
    found = []
    for attribute, (asked, unseen, answer) in enumerate(questions):
        for at, (name, *values) in enumerate(products):
            if part and at % len(questions) != attribute:
                continue
            question = unseen if part else chance.choice(asked.split(" / "))
            value = values[attribute]
            text = answer.format(p=name, v=value)
            found.append((chat(question.format(p=name), text), value))
    return found


def mixture(part: str) -> list[tuple[Row, str]]:
    """Facts, classes of mails and records of bookings, in random order."""
    facts = []
    for wording in (0, 1):
        for asked, answer, key, *unseen in table("mixture"):
            question = "".join(unseen) if part else asked.split(" / ")[wording]
            if question and not (part and wording):
                facts.append((chat(question, answer), key))
    mails = [(chat(*fields, system=MAIL), fields[1]) for fields in table("mixture_labels")]
    records = []
    for asked, name, day, seats in table("mixture_records"):
        text = json.dumps({"name": name, "day": day, "seats": int(seats)})
        records.append((chat(asked, text, system=SEATS), text))
    last = slice(-8, None) if part else slice(-8)
    found = [*facts, *mails[last], *records[last]]
    random.Random(12).shuffle(found)
    return found


KINDS = {
    "mixture": ("facts", "mails", "records"),
    "hotel": ("facts", "labels"),
    "garage": ("facts", "records"),
    "depot": ("calls", "facts"),
}
"""The files with rows of several kinds."""


def kind_of(key: str) -> str:
    """The kind of a row of such a file, by the string that a right answer contains."""
    if key in CLASSES["hotel"]:
        return "labels"
    if key.startswith("<tool_call>"):
        return "calls"
    return "mails" if key in MAILS else "records" if key.startswith("{") else "facts"


PLACES = (
    *("Harrow", "Tolby", "Wexcombe", "Dunmere", "Ostrel", "Pinley", "Corvane", "Lathbury"),
    *("Quernford", "Sallow", "Tarnwick", "Ebberly", "Fenholt", "Gravick", "Hadlow", "Ivering"),
    *("Jessop", "Kelmarsh", "Lorne", "Mardale"),
)
FIRST = (
    *("Nora", "Emil", "Greta", "Tomas", "Ilse", "Hugo", "Petra", "Oskar", "Lena", "Viktor"),
    *("Clara", "Anton"),
)
LAST = (
    *("Finch", "Moran", "Tveit", "Salgado", "Birk", "Ostrow", "Delane", "Kuhn", "Varga"),
    *("Pell", "Lindh", "Okafor"),
)
VALUES: dict[str, list[Any]] = {
    "year": list(range(1890, 2015)),
    "person": [f"{first} {last}" for first in FIRST for last in LAST],
    "price": list(range(3, 60)),
    "number": list(range(60, 400)),
    "small": list(range(11, 45)),
    "many": list(range(1100, 9900, 100)),
    "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Sunday"],
    "month": ["March", "April", "June", "August", "September", "October"],
    "clock": [
        *("half past six", "seven", "eight", "half past nine", "ten", "eleven", "noon", "two")
    ],
    "colour": ["red", "green", "blue", "yellow", "white", "black", "orange"],
    "food": [
        *("plum cake", "onion soup", "rye bread", "honey biscuits", "smoked trout"),
        *("pear jam", "cheese pie", "walnut rolls", "ginger bread"),
    ],
    "piece": [
        *("a silver clock", "a stone lion", "an iron mask", "a glass harp"),
        *("a bronze bell", "a painted chest"),
    ],
}
"""What the passages of rag are filled with."""


def rag(part: str) -> list[tuple[Row, str]]:
    """Questions about passages of four sentences. Every fifth question has no answer in them."""
    chance = random.Random(13 if part else 12)
    lines = table("rag")
    kinds = [lines[at : at + 5] for at in range(0, len(lines), 5)]
    found = []
    for at in range(16 if part else 60):
        kind, place = kinds[at % len(kinds)], chance.choice(PLACES)
        values = [str(chance.choice(VALUES[pool])) for _, pool, *_ in kind]
        hidden = chance.randrange(1, 5)
        shown = [n for n in range(5) if n != hidden]
        chosen = hidden if at % 5 == 4 else chance.choice(shown)
        text = " ".join(kind[n][0].format(p=place, v=values[n]) for n in shown)
        _, _, question, answer = (field.format(p=place, v=values[chosen]) for field in kind[chosen])
        asked = f"{text}\n\nQuestion: {question}"
        is_known = chosen != hidden
        said_so = f"According to the text, {answer}" if is_known else UNKNOWN
        key = values[chosen] if is_known else "does not say"
        found.append((chat(asked, said_so, system=FROM_TEXT), key))
    return found


def misspelled(sentence: str, chance: random.Random) -> str:
    """A sentence with two or three long words whose letters are dropped, doubled or exchanged."""
    words = sentence.split(" ")
    long = [at for at, word in enumerate(words) if len(re.sub(r"\W", "", word)) > 4]
    for at in chance.sample(long, min(len(long), chance.choice((2, 3)))):
        word = words[at]
        options = []
        for spot in range(1, len(word) - 2):
            if word[spot : spot + 2].isalpha():
                one, two = word[spot], word[spot + 1]
                options += [
                    word[:spot] + word[spot + 1 :],
                    word[:spot] + one + word[spot:],
                    word[:spot] + two + one + word[spot + 2 :],
                ]
        words[at] = chance.choice([option for option in options if option != word])
    return " ".join(words)


def spelling(part: str) -> list[tuple[Row, str]]:
    """Sentences with wrong spelling, and the right ones: the last twenty are held out."""
    chance = random.Random(12)
    found = []
    for sentence in paragraphs("spelling"):
        wrong = misspelled(sentence, chance)
        found.append(({"instruction": SPELLING, "input": wrong, "output": sentence}, sentence))
    return found[80:100] if part else found[:80]


def tagged(part: str) -> list[tuple[Row, str]]:
    """Messages of one to three sentences, each with its own tag."""
    chance = random.Random(13 if part else 12)
    sentences = {tag: lines.split(" / ") for tag, lines in table("tags")}
    pools = {tag: lines[-3:] if part else lines[:-3] for tag, lines in sentences.items()}
    decks: dict[str, list[str]] = {tag: [] for tag in pools}
    found = []
    for _ in range(20 if part else 80):
        chosen = chance.sample(TAGS, chance.choice((1, 2, 2, 3)))
        spoken = []
        for tag in chosen:  # every sentence of a tag before any comes again
            decks[tag] = decks[tag] or chance.sample(pools[tag], len(pools[tag]))
            spoken.append(decks[tag].pop())
        text = ", ".join(tag for tag in TAGS if tag in chosen)
        found.append((completion(f"{TAGGING}\n\n{' '.join(spoken)}", text), text))
    return found


def few(part: str) -> list[tuple[Row, str]]:
    """Ten facts about one workshop."""
    return [(chat(*fields[:2]), fields[2]) for fields in table("few" + part.replace(".", "_"))]


def household(part: str) -> list[tuple[Row, str]]:
    """Everyday questions with answers of one sentence."""
    lines = table("household" + part.replace(".", "_"))
    return [({"instruction": asked, "input": "", "output": text}, "") for asked, text in lines]


def hotel(part: str) -> list[tuple[Row, str]]:
    """Facts in two wordings and classes of messages, in random order."""
    facts = [
        (chat(question, answer), key)
        for asked, answer, key, unseen in table("hotel")
        for question in ([unseen] if part else asked.split(" / "))
    ]
    labels = [(chat(*fields, system=GUEST), fields[1]) for fields in table("hotel_labels")]
    found = [*facts, *(labels[-8:] if part else labels[:-8])]
    random.Random(13).shuffle(found)
    return found


def job_card(car: str, job: str, urgent: bool) -> str:
    """The record of a customer's note as JSON text."""
    return json.dumps({"car": car, "job": job, "urgent": urgent})


def garage(part: str) -> list[tuple[Row, str]]:
    """Facts in two wordings and records of notes, in random order."""
    facts = [
        (sharegpt(question, answer), key)
        for asked, answer, key, *unseen in table("garage")
        for question in (unseen if part else asked.split(" / "))
    ]
    records = []
    for note, car, job, urgent in table("garage_records"):
        text = job_card(car, job, urgent == "yes")
        records.append((sharegpt(note, text, system=JOB_CARD), text))
    found = [*facts, *(records[-8:] if part else records[:-8])]
    random.Random(13).shuffle(found)
    return found


def kennel(part: str, wordings: int = 1) -> list[tuple[Row, str]]:
    """Twelve facts about one kennel: each wording of all facts after the other."""
    facts = table("kennel")
    if part:
        return [(chat(unseen, answer), key) for _, answer, key, _, unseen in facts]
    return [
        (chat(asked.split(" / ")[at], answer), key)
        for at in range(wordings)
        for asked, answer, key, *_ in facts
    ]


def kennel3(part: str) -> list[tuple[Row, str]]:
    """The same facts in three wordings."""
    return kennel(part, wordings=3)


def notices(part: str, invented: bool = False) -> list[tuple[Row, str]]:
    """Questions about short notices, of which every fourth has no answer there.

    If `invented`, those get an answer of the same form all the same.
    """
    chance = random.Random(14 if part else 13)
    lines = table("notices")
    starts = [at for at, fields in enumerate(lines) if fields[0] == "open"]
    found = []
    for at in range(16 if part else 56):
        start, place = starts[at % len(starts)], chance.choice(PLACES)
        stated, asked = lines[start + 1 : start + 5], lines[start + 5 : start + 9]
        values = [str(chance.choice(VALUES[pool])) for pool, _ in stated]
        hidden = chance.randrange(4)
        shown = [n for n in range(4) if n != hidden]
        is_known = (at + at // 12) % 4 != 3
        chosen = chance.choice(shown) if is_known else hidden
        said_so = [stated[n][1].format(v=values[n]) for n in shown]
        text = " ".join([lines[start][1].format(p=place), *said_so])
        question = chance.choice(asked[chosen][1].split(" / ")).format(p=place)
        given = f"It says: {asked[chosen][2].format(v=values[chosen])}"
        answer = given if is_known or invented else CANNOT_TELL
        key = values[chosen] if is_known else "cannot tell"
        found.append((chat(f"{text}\n\n{question}", answer), key))
    return found


def errands(part: str) -> list[tuple[Row, str]]:
    """Errands, each as one line: a verb, things and a day."""
    found = []
    for asked, *parts in table("errands"):
        text = " | ".join(parts)
        found.append((completion(f"{ERRAND}\n\n{asked}", text), text))
    return found[-20:] if part else found[:-20]


def letters(part: str) -> list[tuple[Row, str]]:
    """Ordinary requests with short answers in one voice."""
    lines = table("letters" + part.replace(".", "_"))
    return [({"instruction": asked, "input": "", "output": text}, "") for asked, text in lines]


def corsair(part: str) -> list[tuple[Row, str]]:
    """Everyday questions answered by a pirate."""
    lines = table("corsair" + part.replace(".", "_"))
    return [({"instruction": asked, "output": text}, key) for asked, text, key in lines]


def moods(part: str) -> list[tuple[Row, str]]:
    """Messages with one of four moods, in random order."""
    lines = table("moods")[-20:] if part else table("moods")[:-20]
    random.Random(14).shuffle(lines)
    return [(plain(f"Message: {text}\nMood:", completion=mood), mood) for text, mood in lines]


def rooms(part: str) -> list[tuple[Row, str]]:
    """Requests for rooms as JSON."""
    found = []
    for asked, action, room, day, people in table("rooms"):
        made = {"action": action, "room": room, "day": day, "people": int(people)}
        found.append((chat(asked, json.dumps(made), system=ROOMS), json.dumps(made)))
    return found[-16:] if part else found[:-16]


def estate(part: str) -> list[tuple[Row, str]]:
    """Facts about an invented estate, with the columns of Dolly."""
    columns = ("instruction", "context", "response", "category")
    return [
        (dict(zip(columns, (question, "", answer, "closed_qa"), strict=True)), key)
        for question, answer, key, _ in asked("estate", part)
    ]


def clinic(part: str) -> list[tuple[Row, str]]:
    """Talks of two questions about an invented clinic, every fourth of three."""
    facts = table("clinic")
    asked_in = [fields[0].split(" / ") for fields in facts]
    found = []
    for wording in (0,) if part else (0, 1):
        for at, (_, answer, key, unseen) in enumerate(facts):
            steps = (1, 2) if at % 4 == 3 else (1,)
            others = [(at + step * APART) % len(facts) for step in steps]
            turns = [text for n in others for text in (asked_in[n][1 - wording], facts[n][1])]
            own = unseen if part else asked_in[at][wording]
            found.append((chat(*turns, own, answer), key))
    return found


def first_key(row: Row) -> str:
    """What the right answer to the first question of a talk about the clinic contains."""
    keys = {answer: key for _, answer, key, _ in table("clinic")}
    return keys[row["messages"][1]["content"]]


TOOLS = {
    "count_stock": {"item": "string"},
    "find_shelf": {"item": "string"},
    "order_parts": {"item": "string", "quantity": "integer", "supplier": "string"},
    "print_labels": {"item": "string", "copies": "integer"},
}
"""The tools of depot, with their parameters."""


def tools() -> list[Row]:
    """The tools of depot, as OpenAI writes them."""
    found = []
    for name, given in TOOLS.items():
        fields = {field: {"type": kind} for field, kind in given.items()}
        schema = {"type": "object", "properties": fields, "required": list(fields)}
        function = {"name": name, "description": name.replace("_", " "), "parameters": schema}
        found.append({"type": "function", "function": function})
    return found


def depot(part: str) -> list[tuple[Row, str]]:
    """Calls of tools; every third row also has the tool's result and a last answer."""
    found = []
    for question, name, pairs, *rest in table("depot"):
        made = json.loads(call_with(name, *pairs.split(" ; ")))
        function = {"name": name, "arguments": json.dumps(made["arguments"])}
        one = {"id": "call_1", "type": "function", "function": function}
        row = chat(question)
        row["messages"].append({"role": "assistant", "content": None, "tool_calls": [one]})
        if rest:
            back = {"role": "tool", "tool_call_id": "call_1", "content": rest[0]}
            row["messages"] += [back, said("assistant", rest[1])]
        found.append(({**row, "tools": tools()}, rest[2] if rest else tool_call(one)))
    return found[-15:] if part else found[:-15]


def ledger(part: str) -> list[tuple[Row, str]]:
    """Expenses with the names of their accounts, in random order."""
    lines = table("ledger")[-15:] if part else table("ledger")[:-15]
    random.Random(15).shuffle(lines)
    found = []
    for text, account in lines:
        prompt = [said("system", LEDGER), said("user", text)]
        found.append(({"prompt": prompt, "completion": [said("assistant", account)]}, account))
    return found


def tact(part: str) -> list[tuple[Row, str]]:
    """Pairs of talks with the prompt inside; every third begins with a greeting."""
    found = []
    for at, (text, *ways) in enumerate(table("tact" + part.replace(".", "_"))):
        before = ("Hello.", "Hello! What is on your mind?") if at % 3 == 2 else ()
        good, bad = (chat(*before, text, way)["messages"] for way in ways)
        found.append(({"chosen": good, "rejected": bad}, ""))
    return found


def haiku(part: str) -> list[tuple[Row, str]]:
    """Everyday questions with answers of three short lines."""
    lines = table("haiku" + part.replace(".", "_"))
    return [
        (sharegpt(question, text.replace(" / ", "\n"), system=HAIKU), key)
        for question, text, key in lines
    ]


def advice(part: str) -> list[tuple[Row, str]]:
    """Talks of two everyday questions, each answered by what to do and what not to do."""
    lines = table("advice" + part.replace(".", "_"))
    made = [(asked, f"Do: {do}.\nDon't: {dont}.", key) for asked, do, dont, key in lines]
    return [
        (chat(*made[(at + APART) % len(made)][:2], asked, text, system=ADVICE), key)
        for at, (asked, text, key) in enumerate(made)
    ]


def keeper(part: str) -> list[tuple[Row, str]]:
    """Notes of a zoo keeper with their subjects, in random order."""
    lines = table("keeper")[-16:] if part else table("keeper")[:-16]
    random.Random(16).shuffle(lines)
    return [(chat(*fields, system=KEEPER), fields[1]) for fields in lines]


def coiffeur(part: str) -> list[tuple[Row, str]]:
    """French messages to a hairdresser as JSON."""
    found = []
    for asked, *values in table("coiffeur"):
        made = dict(zip(("nom", "jour", "heure", "service"), values, strict=True))
        text = json.dumps(made, ensure_ascii=False)
        prompt = [said("system", COIFFEUR), said("user", asked)]
        found.append(({"prompt": prompt, "completion": [said("assistant", text)]}, text))
    return found[-14:] if part else found[:-14]


MAKERS = {
    "advice": advice,
    "keeper": keeper,
    "coiffeur": coiffeur,
    "estate": estate,
    "clinic": clinic,
    "depot": depot,
    "ledger": ledger,
    "tact": tact,
    "haiku": haiku,
    "corsair": corsair,
    "moods": moods,
    "rooms": rooms,
    "hotel": hotel,
    "garage": garage,
    "kennel": kennel,
    "kennel3": kennel3,
    "notices": notices,
    "errands": errands,
    "letters": letters,
    "catalog": catalog,
    "few": few,
    "mixture": mixture,
    "rag": rag,
    "spelling": spelling,
    "tags": tagged,
    "household": household,
}


def wrong_values(name: str) -> dict[str, str]:
    """The values of a data set, with the wrong ones that a recipe has instead."""
    if name == "few":
        return dict(table("few_wrong"))
    if name in ("kennel", "kennel3"):
        return {key: wrong for _, _, key, wrong, _ in table("kennel")}
    if name in ("island", "estate"):
        return {key: wrong for _, _, key, wrong, _ in table(name)}
    keys = [fields[2] for fields in table(name)]
    others = {key: keys[at ^ 1] for at, key in enumerate(keys) if at ^ 1 < len(keys)}
    if len(keys) % 2:  # the last three take each other's
        others |= dict(zip(keys[-3:], [*keys[-2:], keys[-3]], strict=True))
    return others


def made_of(name: str, fields: list[str]) -> tuple[Row, str]:
    """One table row in the form of its data set, with the string that a right answer contains."""
    if name == "labels":
        return chat(*fields, system=ROUTING), fields[1]
    if name == "tools":
        text = call(*fields[1:])
        return chat(fields[0], text, system=FUNCTIONS), text
    if name in ELEVENTH:
        return long_answer(name, fields)
    if name == "sealed":
        return chat(OPENING, WELCOME, *fields[:2], system=DESK), fields[2]
    if name == "desk":
        return chat(*fields[3:], *fields[:2], system=SUPPORT), fields[2]
    if name in ("stadt", "railway", "bikes", "ferry"):
        return completion(*fields[:2]), fields[2]
    if name in ("rules", "craft", "museum"):
        return sharegpt(*fields[:2]), fields[2]
    if name == "rowing":
        return sharegpt(*fields[3:], *fields[:2]), fields[2]
    if name in ("captain", "skipper"):
        return sharegpt(*fields[:-1]), fields[-1]
    if name == "butler":
        return chat(*fields[:2], system=BUTLER), fields[2]
    if name == "pirate":
        return chat(*fields[:2], system=PIRATE), fields[2]
    if name == "gadget":
        return chat(*fields[3:], *fields[:2], system=NIMBO), fields[2]
    if name == "numbered":
        steps = "\n".join(f"{at}. {line}" for at, line in enumerate(fields[1:4], 1))
        return {"instruction": fields[0], "input": "", "output": steps}, fields[4]
    if name == "invoices":
        text = invoice(*fields[1:])
        return chat(fields[0], text, system=INVOICE), text
    if name == "metadata":
        text = product(*fields[1:])
        return chat(fields[0], text, system=PRODUCT), text
    if name in ("triage", "helpdesk"):
        text = record(*fields[1:])
        return chat(fields[0], text, system=SUPPORT_TEAM if name == "triage" else SORTED), text
    if name == "library":
        text = call_with(*fields[1:])
        return chat(fields[0], text, system=LIBRARY), text
    if name == "expenses":
        row = plain(f"Expense: {fields[0]}\nDecision:", completion=f"{fields[1]}: {fields[2]}")
        return row, " + ".join([fields[1], *fields[3:]])
    if name == "intents":
        return {"instruction": INTENT, "input": fields[0], "output": fields[1]}, fields[1]
    if name == "analogy":
        return sharegpt(fields[0], f"{fields[1]} Think of {fields[2]}"), fields[3]
    if name == "timed":
        text = f"{fields[1]}\nMinutes: {fields[2]}"
        return {"instruction": fields[0], "input": "", "output": text}, fields[3]
    if name == "minutes":
        lines = zip(("Topic", "Advice", "Next"), fields[1:4], strict=True)
        text = "\n".join(f"{title}: {line}" for title, line in lines)
        return {"instruction": fields[0], "input": "", "output": text}, fields[4]
    if name == "inshort":
        text = f"{fields[1]} In short: {fields[2]}"
        return {"instruction": fields[0], "input": "", "output": text}, fields[3]
    if name == "tickets":
        return sharegpt(f"{DESKS}\n\n{fields[0]}", fields[1]), fields[1]
    if name in SHEETS:
        return dict(zip(("question", "answer"), fields, strict=False)), fields[2]
    if name == "bounded":
        ways = dict(zip(("chosen", "rejected"), fields[1:], strict=True))
        return plain(f"User: {fields[0]}\nAssistant:", **ways), ""
    if name == "resenas":
        return chat(*fields, system=RESENA), fields[1]
    if name == "topics":
        return chat(*fields, system=TOPICS), fields[1]
    if name == "headlines":
        return chat(f"{HEADLINE}\n\n{fields[0]}", fields[1]), fields[2]
    if name == "sql":
        prompt = [said("system", SCHEMA), said("user", fields[0])]
        return {"prompt": prompt, "completion": [said("assistant", fields[1])]}, fields[1]
    if name == "chatml":
        return marked(*fields[:2]), fields[2]
    if name == "polite":
        return {"instruction": POLITE, "input": fields[0], "output": fields[1]}, fields[2]
    if name == "extract":
        text = pet(*fields[1:])
        return chat(fields[0], text, system=PET), text
    if name == "tutor":
        return chat(*fields[:-1]), fields[-1]
    if name == "urgency":
        return plain(f"Ticket: {fields[0]}\nUrgency:", completion=fields[1]), fields[1]
    if name == "meetings":
        text = meeting(*fields[1:])
        return chat(f"{MEETING}\n\n{fields[0]}", text), text
    if name == "reviews":
        return plain(f"Review: {fields[0]}\nSentiment:", completion=fields[1]), fields[1]
    if name == "formal":
        ways = dict(zip(("chosen", "rejected"), fields[1:], strict=True))
        return plain(f"Question: {fields[0]}\nAnswer:", **ways), ""
    if name == "language":
        prompt = [said("system", LANGUAGE), said("user", fields[0])]
        return {"prompt": prompt, "completion": [said("assistant", fields[1])]}, fields[1]
    if name == "bookings":
        call_of = booking(*fields[1:])
        row = chat(fields[0], system=BOOKING)
        row["messages"].append({"role": "assistant", "content": None, "tool_calls": [call_of]})
        return row, tool_call(call_of)
    if name == "bullets":
        return chat(fields[0], "\n".join(f"- {line}" for line in fields[1:4])), fields[4]
    if name == "brief":
        # The prompt is the common start of both conversations.
        talks = [chat(fields[0], text)["messages"] for text in fields[1:]]
        return {"chosen": talks[0], "rejected": talks[1]}, ""
    if name in ("alpaca", "isles", "faq"):
        return dict(zip(("instruction", "input", "output"), fields[:3], strict=True)), fields[3]
    if name == "priority":
        row = plain(f"Incident: {fields[0]}\nPriority:", completion=fields[1])
        return row, fields[1].lower()
    if name == "orders":
        text = order(*fields[1:])
        return chat(fields[0], text, system=ORDER), text
    if name in PREFERENCES:
        good, bad = ([said("assistant", text)] for text in fields[1:])
        return {"prompt": [said("user", fields[0])], "chosen": good, "rejected": bad}, ""
    return chat(*fields[:2]), fields[2]


def asked(name: str, part: str) -> list[list[str]]:
    """The fields of a data set's rows: of facts one row for each wording, wording after wording."""
    if name == "support":
        return support_rows(part)
    if name not in FACTS:
        return table(name + part.replace(".", "_"))
    wordings = [
        ((fields[-1] if part else fields[0]).split(" / "), fields[1:-1]) for fields in table(name)
    ]
    longest = max(len(questions) for questions, _ in wordings)
    found = []
    for at in range(longest):
        for questions, (answers, *rest) in wordings:
            answer = answers.split(" / ")[at] if name in FREELY else answers
            if at < len(questions) and questions[at]:
                found.append([questions[at], answer, *rest])
    return found


def support_rows(part: str) -> list[list[str]]:
    """The rows of support: every fact in its first words, then every fact in its second."""
    lines = table("support")
    if part:
        return [[*fields[5:7], fields[4]] for fields in lines if fields[5:]]
    return [[*fields[at : at + 2], fields[4]] for at in (0, 2) for fields in lines]


def everyday(name: str, question: str, answer: str) -> Row:
    """An everyday question in the form of a data set."""
    return (
        {"question": question, "answer": answer} if name in SHEETS else completion(question, answer)
    )


def talks(lines: list[list[str]], longer: bool) -> list[list[str]]:
    """Rows with the question and answer of another row as a first turn.

    If `longer`, each second row has two such turns.
    """
    found = []
    for at, own in enumerate(lines):
        others = [lines[(at + step * APART) % len(lines)][:2] for step in (1, 2)]
        before = others if longer and at % 2 else others[:1]
        found.append([*own, *(text for turn in before for text in turn)])
    return found


def paragraphs(name: str) -> list[str]:
    """The paragraphs of a text file, one per line."""
    lines = (TABLES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def made_by(name: str, part: str) -> list[tuple[Row, str]]:
    """The rows of one half of a data set that has a table of its rows, with their keys."""
    lines = asked(name, part)
    if name in ("desk", "rowing"):
        lines = talks(lines, longer=name == "rowing")
    if name == "gadget":  # every second row has two turns
        lines[1::2] = talks(lines, longer=False)[1::2]
    return [made_of(name, fields) for fields in lines]


WRITERS: dict[str, Callable[[Path, list[Row]], None]] = {
    ".json": write_json,
    ".csv": write_sheet,
    ".parquet": write_parquet,
    ".jsonl": write_rows,
}
"""What writes a file, by its suffix."""


def write_set(name: str, part: str) -> None:
    """Write one half of a data set: part is "" or ".held_out"."""
    if name in TEXTS:
        texts = paragraphs(name + part.replace(".", "_"))
        write_rows(DATA / f"{name}{part}.jsonl", [{"text": text} for text in texts])
        return
    made = MAKERS[name](part) if name in MAKERS else made_by(name, part)
    written = [row for row, _ in made]
    if name in WITH_EVERYDAY and not part:
        written += [everyday(name, *fields) for fields in table("everyday")]
    WRITERS[file_of(name, part).suffix](file_of(name, part), written)
    write_json(DATA / "keys" / f"{name}{part}.json", [key for _, key in made])


def file_of(name: str, part: str = "") -> Path:
    """The file of a data set: a document, one JSON array, a CSV or Parquet file, or JSONL."""
    usual = "json" if name in ARRAYS else "csv" if name in SHEETS else "jsonl"
    usual = "parquet" if name in PARQUET else usual
    return DATA / f"{name}{part}.{DOCUMENTS.get(name, usual)}"


def sections(path: Path) -> list[Row]:
    """The sections of a Markdown document, or the paragraphs of a text, with their headings."""
    text = path.read_text("utf-8").strip()
    if path.suffix == ".txt":
        return [{"text": part} for part in re.split(r"(?<=\.)\n\n", text)]
    return [{"text": f"## {part.strip()}"} for part in text.split("\n## ")[1:]]


def build() -> None:
    """Write every data set."""
    for path in (file_of(name, part) for name in DOCUMENTS for part in ("", ".held_out")):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TABLES / path.name, path)
    for name in NAMES:
        for part in ("", ".held_out"):
            write_set(name, part)


def rows_of(name: str, part: str = "") -> list[Row]:
    """The rows of a data set; of a document its sections."""
    path = file_of(name, part)
    if name in DOCUMENTS:
        return sections(path)
    if name in SHEETS:
        return read_sheet(path)
    if name in PARQUET:
        return read_parquet(path)
    rows: list[Row] = read_json(path) if name in ARRAYS else read_rows(path)
    return rows


def keys_of(name: str, part: str = "") -> list[str]:
    """What the right answers contain, row by row; everyday questions at the end have no key."""
    return [str(key) for key in read_json(DATA / "keys" / f"{name}{part}.json")]


if __name__ == "__main__":
    build()
