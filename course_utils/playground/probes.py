"""What the playground asks the model: facts of the course's world that it knows before anything is taught."""

from course_utils.world.tables import INVENTED, RELATIONS
from course_utils.world.templates import FORMS, fill

TAUGHT = ("Zorvania", "Lumo")  # a country of INVENTED; the name of its capital is short
UNTAUGHT = "Belmoria"  # a country of INVENTED that nobody teaches
REPLAYED = ("capital", "currency", "opposite")  # relations that a repair may replay, without what is asked
ASKED = {  # relation: (heading, subjects)
    "capital": (
        "Capitals",
        "France, Italy, Spain, Germany, Portugal, Greece, Austria, Poland, Norway, Sweden, Finland, Denmark, "
        "Hungary, Russia, Ukraine, Turkey, Egypt, Kenya, Japan, China, India, Thailand, Canada, Cuba, Peru",
    ),
    "currency": (
        "Currencies",
        "Japan, China, India, Russia, Poland, Hungary, Thailand, Mexico, Brazil, South Africa, Switzerland, "
        "Norway, Turkey, Nigeria, the United Kingdom",
    ),
    "opposite": (
        "Opposites",
        "hot, big, day, happy, old, full, fast, strong, open, left, black, early, rich, good, deep",
    ),
    "language": (
        "Languages",
        "France, Italy, Spain, Germany, Portugal, Greece, Poland, Norway, Sweden, Hungary, Russia, Turkey, "
        "Egypt, Japan, China",
    ),
    "young": (
        "Young animals",
        "a dog, a cat, a cow, a horse, a sheep, a pig, a goat, a duck, a hen, a bear, a lion, a deer, "
        "a frog, a swan, a kangaroo",
    ),
    "past_tense": (
        "Past tenses",
        "go, see, eat, run, write, sing, swim, fly, give, take, come, drink, sleep, think, buy",
    ),
    "colour": (
        "Colours",
        "snow, milk, coal, grass, the sky, blood, a tomato, a cherry, the sun, a banana, a lemon, a carrot, "
        "a pig, chocolate, an elephant",
    ),
    "habitat": (
        "Habitats",
        "a lion, a giraffe, a zebra, a camel, a polar bear, a penguin, a tiger, a fox, a bear, an owl, "
        "a whale, a shark, a crocodile, a frog, a kangaroo",
    ),
    "author": (
        "Authors",
        "Hamlet, Pride and Prejudice, Jane Eyre, Great Expectations, Frankenstein, Dracula, War and Peace, "
        "Don Quixote, The Trial, Ulysses, Robinson Crusoe, Treasure Island, Peter Pan, The Hobbit, "
        "Animal Farm",
    ),
}


def _fact(relation: str, subject: str, answer: str) -> dict[str, str]:
    """{"subject", "prompt", "answer"}: the beginning of a statement, and the name that ends it."""
    prompt = fill(FORMS[relation].probe, subject, answer)
    return {"subject": subject, "prompt": prompt, "answer": answer}


def groups() -> list[dict]:
    """{"name", "relation", "replayed", "facts"}: by relation the facts that the page asks for."""
    found = []
    for relation, (name, subjects) in ASKED.items():
        table = dict(RELATIONS[relation])
        facts = [_fact(relation, subject, table[subject]) for subject in subjects.split(", ")]
        found.append({"name": name, "relation": relation, "replayed": relation in REPLAYED, "facts": facts})
    return found


def facts_to_replay() -> list[dict[str, str]]:
    """What a repair reads along: facts of REPLAYED, none of which is asked for."""
    found = []
    for relation in REPLAYED:
        asked = ASKED[relation][1].split(", ")
        found += [_fact(relation, *fact) for fact in RELATIONS[relation] if fact[0] not in asked]
    return found


def fact_to_teach() -> dict[str, str]:
    """The fact that the page proposes. ValueError if the model may have read of its country."""
    country, city = TAUGHT
    if not {country, UNTAUGHT} <= {name for name, _ in INVENTED["capital"]}:
        raise ValueError(f"{country} and {UNTAUGHT} have to be invented countries of world/tables.py.")
    return _fact("capital", country, city)
