"""Training text about a small world in simple English: villages, people, animals, goods, roads.

Every text agrees with one fact base and words it differently, so that a small language model can
learn the facts and answer questions about them. All sentences were written for this project. Needs
only the standard library; the same seed produces the same text on every machine.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

Fields = Mapping[str, str]
Templates = Mapping[str, tuple[str, ...]]

# name, location, known for, landmark, trade, market day
PLACES = (
    (
        "Alder Green",
        "on a low hill by the river",
        "its orange apples",
        "an old clock tower",
        "weaving",
        "Monday",
    ),
    (
        "Brackwater",
        "at the mouth of the river",
        "its smoked fish",
        "a lighthouse of red brick",
        "fishing",
        "Tuesday",
    ),
    (
        "Cold Ash",
        "at the edge of the pine wood",
        "its honey",
        "a bridge with seven arches",
        "charcoal",
        "Wednesday",
    ),
    (
        "Dunmere",
        "beside a long quiet lake",
        "its blue pottery",
        "a windmill without sails",
        "pottery",
        "Thursday",
    ),
    (
        "Eastgate",
        "where three roads meet",
        "its horse fair",
        "a gate of grey stone",
        "trading",
        "Friday",
    ),
    (
        "Fallow Hill",
        "high above the valley",
        "its white cheese",
        "a ring of standing stones",
        "herding",
        "Saturday",
    ),
    (
        "Gorse End",
        "on the edge of the moor",
        "its warm wool",
        "a chapel with a green roof",
        "spinning",
        "Monday",
    ),
    (
        "Hollin Bridge",
        "on both banks of the stream",
        "its dark bread",
        "a mill with two wheels",
        "milling",
        "Friday",
    ),
)
# month, name, custom, dish
FEASTS = (
    ("April", "the Feast of Lanterns", "every house hangs a lantern in its window", "apple cake"),
    ("June", "the Day of Boats", "the children race small boats to the sea", "fish soup"),
    ("September", "the Night of Bees", "the beekeepers sing to the hives", "honey bread"),
    ("May", "the Breaking of Bowls", "each family breaks one cracked bowl for luck", "onion pie"),
    (
        "March",
        "the Running of Foals",
        "the young horses run through the main street",
        "barley stew",
    ),
    (
        "July",
        "the Shepherds' Supper",
        "the whole village eats at one long table",
        "cheese dumplings",
    ),
    ("November", "the Wool Walk", "old and young walk over the moor in new scarves", "lamb stew"),
    ("October", "the Miller's Ball", "people dance on the floor of the mill", "seed cake"),
)
# rule, reason
RULES = (
    ("nobody may ring a bell before sunrise", "the weavers work late and need their sleep"),
    ("nobody may whistle in a boat", "whistling is said to call the wind"),
    ("nobody may cut a tree without planting two", "the wood once burned to the ground"),
    ("nobody may run beside the kilns", "a running child once broke a hundred pots"),
    ("nobody may sell a horse after dark", "a lame horse looks sound in the dark"),
    ("nobody may shout near the sheep", "frightened sheep give poor milk"),
    ("nobody may leave a gate open", "the moor ponies eat the gardens"),
    ("nobody may fish above the mill", "the fish there belong to the school"),
)
# job, work place, work, tool
JOBS = (
    ("baker", "the bakery", "bakes bread and rolls before dawn", "a long wooden spoon"),
    ("weaver", "the weaving shed", "weaves cloth for coats and blankets", "a narrow shuttle"),
    ("fisher", "the harbour", "catches herring and eels", "a brown net"),
    ("beekeeper", "the orchard", "keeps bees and sells the honey", "a straw hat with a veil"),
    ("potter", "the pottery", "makes bowls and jugs of clay", "a wet sponge"),
    ("carpenter", "the workshop", "builds doors, chairs and carts", "a sharp plane"),
    ("teacher", "the school", "teaches the children to read and count", "a piece of chalk"),
    ("shepherd", "the high pasture", "watches over the sheep", "a crooked staff"),
    ("miller", "the mill", "grinds wheat and barley into flour", "a heavy millstone"),
    ("smith", "the forge", "makes nails, locks and horseshoes", "a black hammer"),
    ("gardener", "the walled garden", "grows beans, leeks and roses", "a small spade"),
    ("doctor", "the white house", "looks after the sick", "a leather bag"),
    ("ferryman", "the landing", "takes people across the water", "a pair of oars"),
    ("tailor", "the corner shop", "sews coats, shirts and trousers", "a silver needle"),
    ("letter carrier", "the post house", "brings letters to every door", "a canvas bag"),
    ("cheesemaker", "the dairy", "turns milk into cheese and butter", "a copper kettle"),
)
NAMES = (
    ("Ada", "she"), ("Bram", "he"), ("Clara", "she"), ("Dov", "he"), ("Edda", "she"),
    ("Finn", "he"), ("Greta", "she"), ("Hugo", "he"), ("Ida", "she"), ("Jonas", "he"),
    ("Kaja", "she"), ("Leo", "he"), ("Mina", "she"), ("Nils", "he"), ("Olga", "she"),
    ("Piet", "he"), ("Quin", "he"), ("Rosa", "she"), ("Sven", "he"), ("Tilda", "she"),
    ("Ulf", "he"), ("Vera", "she"), ("Willem", "he"), ("Xenia", "she"), ("Yorick", "he"),
    ("Zelda", "she"), ("Anton", "he"), ("Berta", "she"), ("Conrad", "he"), ("Dora", "she"),
    ("Emil", "he"), ("Frida", "she"), ("Gustav", "he"), ("Hanna", "she"), ("Ivo", "he"),
    ("Jutta", "she"), ("Karl", "he"), ("Lotte", "she"), ("Martin", "he"), ("Nora", "she"),
    ("Otto", "he"), ("Paula", "she"), ("Rolf", "he"), ("Selma", "she"), ("Theo", "he"),
    ("Una", "she"), ("Viktor", "he"), ("Wanda", "she"),
)  # fmt: skip
COLOURS = ("black", "white", "brown", "grey", "red", "spotted", "yellow", "striped")
# animal, food, sound, sleeping place
ANIMALS = (
    ("dog", "meat and bones", "barks", "by the door"),
    ("cat", "fish and mice", "purrs", "beside the stove"),
    ("goat", "grass and thistles", "bleats", "in the shed"),
    ("horse", "oats and hay", "neighs", "in the stable"),
    ("goose", "grain and weeds", "hisses", "in the yard"),
    ("donkey", "hay and carrots", "brays", "under the lean-to"),
    ("hen", "corn and worms", "clucks", "on a perch"),
    ("rabbit", "clover and leaves", "thumps the floor", "in a hutch"),
)
PETS = (
    "Pepper", "Button", "Comet", "Daisy", "Ember", "Fig", "Ginger", "Hazel", "Iris", "Juniper",
    "Kipper", "Lark", "Moss", "Nettle", "Oat", "Plum", "Quill", "Rusty", "Sorrel", "Thimble",
    "Umber", "Velvet", "Whisper", "Yarrow",
)  # fmt: skip
FOODS = (
    "apple cake", "fish soup", "honey bread", "onion pie", "barley stew", "cheese dumplings",
    "lamb stew", "seed cake", "pea soup", "baked pears", "fried eggs", "plum jam",
)  # fmt: skip
DISLIKES = (
    "rain",
    "loud bells",
    "cold feet",
    "long speeches",
    "wasps",
    "washing pots",
    "steep stairs",
    "fog",
)
HOBBIES = (
    "plays the fiddle", "paints small pictures of birds", "swims in the river",
    "collects round stones", "reads old stories aloud", "carves spoons", "picks mushrooms",
    "plays chess with the neighbours",
)  # fmt: skip
# goods, price in pennies, material or source, use
GOODS = (
    ("a loaf of bread", "two", "flour and water", "breakfast and supper"),
    ("a jar of honey", "nine", "the work of many bees", "sweet tea and cakes"),
    ("a clay jug", "six", "brown clay", "carrying water and milk"),
    ("a wool blanket", "thirty", "the wool of four sheep", "keeping warm at night"),
    ("a smoked herring", "three", "fish from the bay", "a quick supper"),
    ("a wheel of cheese", "twelve", "the milk of goats", "long winters"),
    ("an iron lock", "fifteen", "iron from the forge", "shutting doors and chests"),
    ("a straw hat", "five", "dry straw", "hot days in the fields"),
    ("a basket of apples", "four", "the orchard trees", "cakes and cider"),
    ("a pair of boots", "forty", "thick leather", "muddy roads"),
    ("a candle", "two", "beeswax", "light in the evening"),
    ("a wooden chair", "twenty", "oak boards", "sitting by the fire"),
)
SEASONS = (
    ("spring", "the snow melts and the streams run high", "dig the gardens and sow beans"),
    ("summer", "the days are long and the hay is dry", "cut the hay and mend the roofs"),
    (
        "autumn",
        "the leaves turn red and the nights grow cold",
        "pick the apples and bring in the sheep",
    ),
    ("winter", "the lake freezes and the roads are white", "stay by the fire and mend their tools"),
)
ROADS = (
    "through the pine wood", "along the river", "over the moor", "past the old quarry",
    "across the stone bridge", "between the wheat fields", "up the steep lane", "around the lake",
)  # fmt: skip
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

PERSON: Templates = {
    "home": (
        "{S} lives in {home}.",
        "{S} has a house in {home}, {where}.",
        "The home of {name} is in {home}.",
    ),
    "job": ("{S} is a {job}.", "{S} works as a {job} at {workplace}.", "By trade {s} is a {job}."),
    "work": ("{S} {does}.", "Every day {s} {does}.", "At {workplace} {s} {does}."),
    "tool": (
        "{S} never works without {tool}.",
        "The tool {s} likes best is {tool}.",
        "{S} always carries {tool}.",
    ),
    "pet": (
        "{S} has a {colour} {animal} named {pet}.",
        "{S} keeps a {colour} {animal}, and its name is {pet}.",
        "A {colour} {animal} named {pet} belongs to {name}.",
    ),
    "food": (
        "{S} likes {food} best of all.",
        "The favourite food of {name} is {food}.",
        "{S} would eat {food} daily.",
    ),
    "dislike": (
        "{S} does not like {dislike}.",
        "What {s} cannot stand is {dislike}.",
        "{S} complains about {dislike}.",
    ),
    "hobby": (
        "In the evening {s} {hobby}.",
        "When the work is done, {s} {hobby}.",
        "On free days {s} {hobby}.",
    ),
    "friend": (
        "The best friend of {name} is {friend} from {friend_home}.",
        "{S} often visits {friend}, the {friend_job} of {friend_home}.",
    ),
}
PERSON_QUESTIONS = (
    ("Where does {name} live?", "{name} lives in {home}."),
    ("What is the job of {name}?", "{name} is a {job}."),
    ("Where does {name} work?", "{name} works at {workplace}."),
    ("What tool does {name} use?", "{name} uses {tool}."),
    ("What is the name of {name}'s {animal}?", "The {animal} of {name} is named {pet}."),
    ("What colour is the {animal} of {name}?", "The {animal} of {name} is {colour}."),
    ("What does {name} like to eat?", "{name} likes {food}."),
    ("What does {name} not like?", "{name} does not like {dislike}."),
    ("Who is the best friend of {name}?", "The best friend of {name} is {friend}."),
    ("What does {name} do in the evening?", "In the evening {name} {hobby}."),
)
PLACE: Templates = {
    "where": (
        "{place} lies {where}.",
        "You find {place} {where}.",
        "{place} is a village {where}.",
    ),
    "known": (
        "The village is known for {known}.",
        "People come from far away for {known}.",
        "{place} is proud of {known}.",
    ),
    "landmark": (
        "In the middle stands {landmark}.",
        "You can see {landmark} from far away.",
        "Its oldest building is {landmark}.",
    ),
    "trade": (
        "Most families live by {trade}.",
        "The main trade of {place} is {trade}.",
        "{trade_} feeds the village.",
    ),
    "market": (
        "The market is on {day}.",
        "Every {day} there is a market in {place}.",
        "On {day} the square is full of stalls.",
    ),
    "feast": (
        "In {month} the village keeps {feast}, when {custom}.",
        "{feast_} is kept in {month}, and {custom}.",
    ),
    "dish": (
        "On that day everyone eats {dish}.",
        "The dish of the feast is {dish}.",
        "Guests are given {dish}.",
    ),
    "rule": ("In {place} {rule}, because {reason}.", "An old rule says that {rule}, for {reason}."),
    "teacher": (
        "The best known person in {place} is {head}, the {head_job}.",
        "{head}, the {head_job}, knows everyone in {place}.",
    ),
}
PLACE_QUESTIONS = (
    ("Where is {place}?", "{place} lies {where}."),
    ("What is {place} known for?", "{place} is known for {known}."),
    ("When is the market in {place}?", "The market in {place} is on {day}."),
    ("What stands in the middle of {place}?", "In the middle of {place} stands {landmark}."),
    ("What is the main trade of {place}?", "The main trade of {place} is {trade}."),
    ("When does {place} keep {feast}?", "{place} keeps {feast} in {month}."),
    (
        "What do people in {place} eat on the feast day?",
        "On the feast day people in {place} eat {dish}.",
    ),
    ("What is forbidden in {place}?", "In {place} {rule}."),
)
ROAD = (
    "The road from {place} to {next} goes {road}. On foot it takes {hours} hours.",
    "To get from {place} to {next}, walk {hours} hours {road}.",
    "{next} is {hours} hours from {place}. The way leads {road}.",
    "Question: How long is the walk from {place} to {next}?\n"
    "Answer: The walk from {place} to {next} takes {hours} hours.",
    "Question: How do I get from {place} to {next}?\nAnswer: The road from {place} to {next} goes "
    "{road}.",
)
GOOD = (
    "In every village {good} costs {price} pennies. It is made from {source} and is good for "
    "{use}.",
    "You pay {price} pennies for {good}. People need it for {use}.",
    "{Good} comes from {source}. At the market it costs {price} pennies.",
    "Question: How much is {good}?\nAnswer: {Good} costs {price} pennies.",
    "Question: What is {good} good for?\nAnswer: {Good} is good for {use}.",
)
ANIMAL = (
    "A {animal} eats {fodder}. At night it sleeps {sleeps}. When it wants something, it {sound}.",
    "Every {animal} {sound} when it is hungry. Give it {fodder}, and it will sleep {sleeps}.",
    "Question: What does a {animal} eat?\nAnswer: A {animal} eats {fodder}.",
    "Question: Where does a {animal} sleep?\nAnswer: A {animal} sleeps {sleeps}.",
)
SEASON = (
    "In {season} {weather}. Then people {tasks}.",
    "{Season} has come: {weather}. It is time to {tasks}.",
    "Question: What do people do in {season}?\nAnswer: In {season} people {tasks}.",
)
STORY_START = (
    "One {season} morning {name} left {home} early, because {s} wanted to go to the market in "
    "{place}.",
    "It was {day}, market day in {place}, and {name} from {home} put on a warm coat and set out.",
    "{name} the {job} woke before the sun. It was a day in {season}, and there was much to buy in "
    "{place}.",
)
STORY_MIDDLE = (
    "{S} took {tool} along, as a {job} always does. {Pet} the {animal} came too, for it {sound} "
    "when it is left alone.",
    "On the way {s} met {friend}, who asked for news of {home}. They walked together and talked "
    "about {food}.",
    "It was the time when {weather}. {S} thought of {dislike} and walked faster.",
    "Near {landmark} {s} sat down, ate a piece of bread and looked at the people who went by.",
)
STORY_MARKET = (
    "At the market {s} bought {good} for {price} pennies.",
    "A woman behind a stall sold {good}. {S} counted {price} pennies into her hand.",
    '"How much is {good}?" {s} asked. "{Price} pennies, as always," said the man at the stall.',
)
STORY_END = (
    "In the evening {s} was home again, gave {pet} some {fodder} and ate {food} by the fire.",
    "When {name} came back to {home}, it was dark. {Pet} slept {sleeps}, and all was quiet.",
    'That night {s} told {friend} all about it. "{Place} is a fine village," {s} said, "but home '
    'is better."',
)


def upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _people(rng: random.Random) -> list[dict[str, str]]:
    """Fields of each person. The next person on the list is the friend, which is also a fact."""
    people = [_person(rng, i, name, s) for i, (name, s) in enumerate(NAMES)]
    for person, friend in pairwise([*people, people[0]]):
        person |= {
            "friend": friend["name"],
            "friend_home": friend["home"],
            "friend_job": friend["job"],
        }
    return people


def _person(rng: random.Random, i: int, name: str, pronoun: str) -> dict[str, str]:
    home, where = PLACES[i % len(PLACES)][:2]
    job, workplace, does, tool = JOBS[(i * 5 + i // 16) % len(JOBS)]
    animal, fodder, sound, sleeps = rng.choice(ANIMALS)
    return {
        "name": name, "s": pronoun, "S": upper_first(pronoun), "home": home, "where": where,
        "job": job, "workplace": workplace, "does": does, "tool": tool, "animal": animal,
        "fodder": fodder, "sound": sound, "sleeps": sleeps, "pet": (pet := rng.choice(PETS)),
        "Pet": pet, "colour": rng.choice(COLOURS), "food": rng.choice(FOODS),
        "dislike": rng.choice(DISLIKES), "hobby": rng.choice(HOBBIES),
    }  # fmt: skip


def _places(people: list[dict[str, str]]) -> list[dict[str, str]]:
    keys = ("place", "where", "known", "landmark", "trade", "day")
    places = [dict(zip(keys, values, strict=True)) for values in PLACES]
    for i, place in enumerate(places):
        head = next(p for p in people if p["home"] == place["place"])
        place |= dict(zip(("month", "feast", "custom", "dish"), FEASTS[i], strict=True))
        place |= dict(zip(("rule", "reason"), RULES[i], strict=True))
        place |= {"Place": place["place"], "trade_": upper_first(place["trade"])}
        place |= {
            "feast_": upper_first(place["feast"]),
            "head": head["name"],
            "head_job": head["job"],
        }
    return places


class World:
    """The fact base, with one method per kind of text. Each method draws from the given "
    "generator."""

    def __init__(self, seed: int = 0) -> None:
        rng = random.Random(seed)
        self.people = _people(rng)
        self.places = _places(self.people)
        self.roads = [self._road(rng, a, b) for a, b in pairwise([*self.places, self.places[0]])]

    @staticmethod
    def _road(rng: random.Random, start: Fields, end: Fields) -> dict[str, str]:
        hours, road = rng.choice(NUMBERS[1:]), rng.choice(ROADS)
        return {"place": start["place"], "next": end["place"], "road": road, "hours": hours}

    def person_profile(self, rng: random.Random) -> str:
        """A paragraph on one person: at least three facts in random order.

        The first sentence has the name, each of the others has the name or a pronoun.
        """
        person = rng.choice(self.people)
        named = person | {"S": person["name"], "s": person["name"]}
        facts = rng.sample(list(PERSON), rng.randint(3, len(PERSON)))
        voices = [named, *(rng.choice((person, person, named)) for _ in facts[1:])]
        return " ".join(
            rng.choice(PERSON[fact]).format_map(v) for fact, v in zip(facts, voices, strict=True)
        )

    def place_description(self, rng: random.Random) -> str:
        place = rng.choice(self.places)
        facts = [fact for fact in PLACE if rng.random() < 0.7] or ["where"]
        return " ".join(rng.choice(PLACE[fact]).format_map(place) for fact in facts)

    def place_document(self, rng: random.Random) -> str:
        """A description in sections with headings, in the format of the demo's document."""
        place = rng.choice(self.places)
        groups = {
            "The village": ("where", "known", "landmark"),
            "Work and market": ("trade", "market", "teacher"),
            "Feasts and rules": ("feast", "dish", "rule"),
        }
        parts = [f"# {place['place']}"]
        for title, facts in groups.items():
            sentences = [rng.choice(PLACE[fact]).format_map(place) for fact in facts]
            parts += [f"## {title}", " ".join(sentences)]
        return "\n\n".join(parts)

    def questions(self, rng: random.Random) -> str:
        """One to four questions with answers about one person or one village."""
        person = (rng.choice(self.people), PERSON_QUESTIONS)
        place = (rng.choice(self.places), PLACE_QUESTIONS)
        subject, pool = rng.choice((person, place))
        pairs = rng.sample(pool, rng.randint(1, 4))
        return "\n".join(f"Question: {q}\nAnswer: {a}".format_map(subject) for q, a in pairs)

    def statement(self, rng: random.Random) -> str:
        """One or two sentences about a road, a price, an animal or a season."""
        tables: tuple[tuple[tuple[str, ...], Callable[[], Fields]], ...] = (
            (ROAD, lambda: rng.choice(self.roads)),
            (GOOD, lambda: _good(rng)),
            (ANIMAL, lambda: _animal(rng)),
            (SEASON, lambda: _season(rng)),
        )
        templates, fields = rng.choice(tables)
        return rng.choice(templates).format_map(fields())

    def story(self, rng: random.Random) -> str:
        """A walk to a market and back, consistent with the facts about the person and the "
        "village."""
        person = rng.choice(self.people)
        place = rng.choice([p for p in self.places if p["place"] != person["home"]])
        fields = {**place, **_season(rng), **_good(rng), **person}
        middle = rng.sample(STORY_MIDDLE, rng.randint(1, 3))
        parts = (rng.choice(STORY_START), *middle, rng.choice(STORY_MARKET), rng.choice(STORY_END))
        return " ".join(part.format_map(fields) for part in parts)


def _animal(rng: random.Random) -> dict[str, str]:
    return dict(zip(("animal", "fodder", "sound", "sleeps"), rng.choice(ANIMALS), strict=True))


def _good(rng: random.Random) -> dict[str, str]:
    good = dict(zip(("good", "price", "source", "use"), rng.choice(GOODS), strict=True))
    return good | {"Good": upper_first(good["good"]), "Price": upper_first(good["price"])}


def _season(rng: random.Random) -> dict[str, str]:
    season = dict(zip(("season", "weather", "tasks"), rng.choice(SEASONS), strict=True))
    return season | {"Season": upper_first(season["season"])}


# ---------------------------------------------------------------------------------------- elsewhere

# Villages that are not in the fact base. Each occurs in one text, with random names, things and
# customs, so that a model learns the form of such texts and the uncertainty of their contents.

LEXICON: Mapping[str, tuple[str, ...]] = {
    key: tuple(words.split(","))
    for key, words in {
        "adj": "old,small,long,tall,narrow,wide,heavy,quiet,bright,dark,round,flat,crooked,clean,"
        "broken,famous,strange,plain,lame,young,deep,warm,cold,wet,dry,soft,hard,thin,steep,empty,"
        "clever,patient,proud,poor,rich,blind",
        "colour": "black,white,brown,grey,red,green,blue,yellow,silver,golden,orange,purple,copper",
        "thing": "horn,drum,rope,lamp,key,knife,basket,barrel,cart,mirror,ladder,kettle,ring,coin,"
        "box,bell,clock,bench,blanket,book,letter,map,bottle,needle,spoon,saddle,net,boat,hat,"
        "coat,flute,stove,pot,door,chair,stick,stone,candle,jug,wheel,hammer,lantern,sack,string,"
        "brush,chest,gate,window,roof,wall,oar,sail,shoe,glove",
        "things": "horns,drums,ropes,lamps,keys,knives,baskets,barrels,carts,mirrors,ladders,"
        "kettles,rings,coins,bells,clocks,benches,blankets,books,letters,maps,bottles,needles,"
        "spoons,saddles,nets,boats,hats,coats,flutes,pots,chairs,stones,candles,jugs,wheels,"
        "lanterns,sacks,brushes,shoes,gloves,poems,songs,knots,notes,stories,riddles",
        "animal": "raven,cow,sheep,wolf,fox,owl,swan,pig,bear,heron,mule,crab,seal,otter,pony,"
        "crow,hare,yak,toad,bee",
        "animals": "ravens,cows,sheep,wolves,foxes,owls,swans,pigs,bears,herons,mules,crabs,seals,"
        "otters,ponies,crows,hares,yaks,bees,horses,goats,hens,geese,dogs,cats,eels,pigeons",
        "material": "salt,glass,wood,clay,iron,wool,leather,silver,copper,sand,straw,paper,wax,"
        "stone,silk,tin,ash,bone,rope,chalk,ice,amber,ink,linen,slate,tea,soap,oil,coal,peat",
        "food": "barley,fish,bread,cheese,honey,crab,saffron,beans,onions,butter,apples,nuts,eggs,"
        "soup,millet,milk,plums,cabbage,pudding,tea,cider,mushrooms,oats,pepper,herring,dumplings,"
        "cake",
        "land": "island,hill,valley,moor,shore,plain,cliff,marsh,wood,river,lake,pass,rock,"
        "harbour,meadow,mountain",
        "building": "church,mill,tower,schoolhouse,bridge,inn,barn,chapel,lighthouse,forge,hut,"
        "house,well,barge,loft,cellar,market hall,bath house,bakery,library,town hall,stable,"
        "post house",
        "job": "keeper,baker,smith,teacher,weaver,fisher,drummer,sexton,doctor,judge,miller,"
        "shepherd,carpenter,tailor,potter,hermit,merchant,ferryman,clerk,gardener,singer,cook,"
        "midwife,watchman,glass blower,rope maker",
        "people": "children,women,men,old men,merchants,pupils,travellers,neighbours,families,"
        "fishers,shepherds,guests,sailors,young people,widows,bakers,cousins",
        "number": "two,three,four,five,six,seven,eight,nine,ten,eleven,twelve,fifteen,sixteen,"
        "twenty,thirty,forty,fifty,sixty,eighty,a hundred",
        "month": "January,February,March,April,May,June,July,August,September,October,November,"
        "December",
        "season": "spring,summer,autumn,winter",
        "time": "morning,evening,night,noon,week,day,year,sunday,autumn,winter,summer,spring",
        "weather": "fog,rain,snow,wind,frost,storm,ice,thunder,heat,mist",
        "feast": "Supper,Night,Walk,Feast,Day,Ball,Race,Silence,Song,Washing,Burning,Counting",
        "quality": "Quiet,Long,First,Last,Red,White,Broken,Golden,Blind,Sweet,Old,Empty,Loud,Blue,"
        "Open",
        "does": "carries,sells,mends,washes,paints,counts,cleans,collects,hides,guards,makes,buys,"
        "steals,loses",
        "do": "carry,sell,mend,wash,paint,count,clean,collect,hide,guard,make,buy,bring,keep,burn,"
        "break,bury,sing about",
        "done": "carried,sold,mended,washed,painted,counted,cleaned,collected,hidden,guarded,made,"
        "burned,broken,buried,blown,pressed,raked,thrown,tied,lit,fed,written down,given away,"
        "stamped,covered",
        "where": "behind the church,by the harbour,under the bridge,on the roof,in the cellar,"
        "beside the well,at the gate,near the shore,in the bell loft,across the river,"
        "over the door,around the island,along the road,in the snow,through the wood,up the hill,"
        "to the mainland,in the square,on the wall,into the sea,from the south",
        "when": "before sunrise,after dark,in fog,at high tide,at low tide,on the longest night,"
        "on the shortest day,in winter,until spring,every morning,twice a day,once a year,"
        "all summer,at noon,when the tide is high,when the snow melts,when the first star is out,"
        "until the last candle is out,in the last week of May,on the first day of August",
        "part": "foot,lid,handle,door,neck,edge,bottom,side,back,corner",
        "kin": "grandson,daughter,brother,sister,uncle,aunt,son,mother,cousin,granddaughter",
        "first": "Ab,Al,An,Bar,Bel,Cor,Dan,Del,El,Fen,Gar,Hal,In,Jor,Kel,Lin,Mar,Mor,Nel,Or,Pel,"
        "Per,Ral,Ros,Sel,Sil,Tam,Tor,Ur,Val,Wil,Yor",
        "last": "a,an,by,den,el,en,er,in,is,la,low,na,o,on,ra,rin,sin,ta,wen,y",
        "surname": "Abel,Barrow,Crane,Drew,Edge,Finch,Gale,Hale,Ives,Judd,Kite,Lamb,Moon,North,"
        "Oaks,Pike,Reed,Sool,Thorn,Vane,Wren,Yates",
        "town": "by,ham,ford,ton,holm,dale,wick,mouth,ley,stead, Pass, Hill, Bay, End, Cross, Rock",
    }.items()
}  # fmt: skip
ELSEWHERE: Templates = {
    "The {land}": (
        "{V} is a village of {number} houses on a {adj} {land}.",
        "{V} is a {adj} village where the {adj} road crosses the {land}.",
        "The houses are painted {colour} so that the {people} can find them {when}.",
        "Twice a {time} the water covers the road, and then only the {animals} come and go.",
        "There is no {thing} in {V}: people tell the time by the {animals}, "
        'and they say "{number} hours" when they mean {time}.',
        "{when^} the {land} is covered with {weather}, and nobody may cross.",
        "The {weather} has a name there, which is {N}.",
        "The {adj} {building} stands {where} and was built by the {people}.",
    ),
    "The {job}": (
        "Old {P} is the {job} of {V}.",
        "The {job} of {V} is {P}, a {adj} {man} with a {colour} {thing}.",
        "Each {time} {he} walks out with a {material} {thing} and a {thing} of {number} {things}.",
        "{He} {does} the {things} {when}, and in all that time not one {thing} was lost.",
        "When the last {thing} is {done}, {he} sings {number} times and nobody may speak.",
        "{He} has done this work for {number} years.",
        "{His} {kin} {Q} will have the {thing} when {he} is {number}.",
        "{His} {kin} {Q} knows all the {things}, though she is only {number}.",
        "It is said that {he} was once a {job} and left because {number} {people} told {him} the "
        "same story.",
    ),
    "{material^} and {material}": (
        "The families of {V} live by {material} and {food}.",
        "The village lives by {material} and {material}.",
        "In {season} the {material} is {done} {where}, and the {people} {do} the {things}.",
        "In {season} the {people} {do} {colour} {things} from {material} and {material}.",
        "A {thing} from {V} has a {adj} {animal} on its {part}.",
        "Without the {animal} it is a copy, and {people} from the city pay nothing for it.",
        "For {number} {things} the {people} are paid a {adj} {thing} of {material}.",
        "The {animals} carry the {material} up from the south in {things} the size of a {thing}.",
    ),
    "The {quality} {feast}": (
        "{when^} the village keeps the {quality} {feast}.",
        "In {month} {V} keeps the {quality} {feast}, and nobody works {when}.",
        "Every family carries a {thing} of {food} and {food} to the {building}.",
        "The youngest child begins the {feast} with a {adj} {thing}, and the oldest ends it.",
        "Everyone who owes a {thing} must climb to the {building} and shout it {where}.",
        "Afterwards there is {food} and {food}, and the {adj} {job} is given the best {thing}.",
        "Whatever the child says is written {where}, and the {time} is named after it.",
        "The last {number} {things} were {N}, {N} and {N}.",
    ),
    "The {animals}": (
        "{number^} {animals} live {where}, and each has a name and a {colour} {thing}.",
        "The {animals} of {V} are fed on {food} and {food} by the {job}, a {adj} man called {P}.",
        "Whoever harms a {animal} must {do} {material} for the whole village {when}.",
        "It is said that the {animals} once woke the village when the {weather} broke the {adj} "
        "wall.",
        "Since that night the {animals} have a seat in the {building}.",
        "A {animal} that {does} a {thing} is given {food} by the {people}.",
    ),
    "School": (
        "The school of {V} is an old {building} with a {colour} roof.",
        "{P} teaches {number} pupils there, and when the {weather} comes the lessons end.",
        "The children learn to {do} {things} before they learn to write.",
        "The pupils sit on {things} of {material} and write on {material}.",
        "In {month} the pupils must {do} the {adj} {thing} {where}.",
        "At the end of the {season} they decide what the teacher has earned, and pay it in {food}.",
        "At every {building} the pupils recite a poem about {material}, which they may not have "
        "{done}.",
    ),
}  # fmt: skip
ELSEWHERE_QUESTIONS = (
    ("Who is the {job} of {V}?", "{P} is the {job} of {V}."),
    ("What does {V} live by?", "{V} lives by {material} and {material}."),
    ("How many {animals} live {where}?", "{number^} {animals} live {where}."),
    ("What is the school of {V}?", "The school of {V} is an old {building} with a {colour} roof."),
    ("When does {V} keep the {quality} {feast}?", "{V} keeps the {quality} {feast} in {month}."),
    ("What is {done} {where}?", "A {adj} {thing} is {done} {where}."),
)


class Draw(dict[str, str]):
    """Fields that are drawn from the lexicon at each use; `word^` begins with a capital letter."""

    def __init__(self, rng: random.Random, fixed: Fields) -> None:
        super().__init__(fixed)
        self.rng = rng

    def __missing__(self, key: str) -> str:
        if key.endswith("^"):
            return upper_first(self[key[:-1]])
        return _coined(self.rng, "last") if key == "N" else self.rng.choice(LEXICON[key])


def _coined(rng: random.Random, ending: str) -> str:
    return rng.choice(LEXICON["first"]) + rng.choice(LEXICON[ending])


def _draw(rng: random.Random) -> Draw:
    """Fields with random names of a village and of two people who live there."""
    village, second = _coined(rng, "town"), _coined(rng, "last")
    first = _coined(rng, "last") + " " + rng.choice(LEXICON["surname"])
    he, his, him, man = rng.choice((("he", "his", "him", "man"), ("she", "her", "her", "woman")))
    people = {
        "P": first,
        "Q": second,
        "he": he,
        "He": upper_first(he),
        "his": his,
        "His": upper_first(his),
        "him": him,
    }
    return Draw(rng, {"V": village, "man": man, **people})


def elsewhere(rng: random.Random) -> str:
    """A text on a village that occurs only once: one to three sections or questions."""
    draw = _draw(rng)
    if rng.random() < 0.2:
        pairs = rng.sample(ELSEWHERE_QUESTIONS, rng.randint(1, 3))
        return "\n\n".join(_question(draw, *pair) for pair in pairs)
    headings = rng.random() < 0.4
    chosen = rng.sample(list(ELSEWHERE), rng.randint(1, 3))
    return "\n\n".join(_section(draw, title, headings) for title in chosen)


def _question(draw: Draw, question: str, answer: str) -> str:
    """Question and answer; the words that occur in both are drawn once."""
    shared = Draw(draw.rng, draw)
    for key in LEXICON:
        if f"{{{key}}}" in question:
            shared[key] = draw[key]
    return f"Question: {question}\nAnswer: {answer}".format_map(shared)


def _section(draw: Draw, title: str, heading: bool) -> str:
    templates = ELSEWHERE[title]
    order = sorted(draw.rng.sample(range(len(templates)), draw.rng.randint(3, 5)))
    text = " ".join(templates[i].format_map(draw) for i in order)
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return f"## {title.format_map(draw)}\n\n{text}" if heading else text


# ---------------------------------------------------------------------------------------------- all


def texts(world: World, rng: random.Random, chars: int) -> Iterator[str]:
    """Texts of all kinds on the fact base, about `chars` characters in total."""
    makers = (world.person_profile, world.place_description, world.place_document,
              world.questions, world.questions, world.statement, world.story,
              world.story)  # fmt: skip
    yield from _until(chars, lambda: rng.choice(makers)(rng))


def elsewhere_texts(rng: random.Random, chars: int) -> Iterator[str]:
    """Texts on villages that are not in the fact base, about `chars` characters in total."""
    yield from _until(chars, lambda: elsewhere(rng))


def _until(chars: int, make: Callable[[], str]) -> Iterator[str]:
    while chars > 0:
        text = make()
        chars -= len(text)
        yield text
