"""Makes workshop.jsonl of data/examples: what people write to a bicycle workshop, and its entries in a form.

Prices and days of work are the workshop's own, so that no base model knows them; the form is a house's form.
"""

import random

WORKSHOP_SEED, ORDERS = 40, 300
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
JOBS = {  # {part: (what can be wrong with it, what is done, euros, days of work)}
    "front brake": (("squeals", "hardly slows me down", "rubs on the rim"), "adjust and clean", 18, 1),
    "rear brake": (("makes a grinding noise", "has no grip any more", "drags"), "new pads", 27, 1),
    "chain": (("keeps falling off", "is rusty", "slips when I push hard"), "replace", 34, 1),
    "front wheel": (("wobbles", "has two broken spokes", "hit a kerb and is bent"), "true", 22, 2),
    "rear wheel": (("is out of line", "lost a spoke", "rattles at speed"), "new spokes, true", 39, 3),
    "saddle": (("is torn", "tilts backwards", "creaks with every turn"), "replace", 45, 1),
    "headlight": (("flickers", "went dark", "only works uphill"), "new cable", 16, 1),
    "gear shifter": (
        ("is stuck in third", "jumps between gears", "clicks without shifting"),
        "new cable",
        29,
        2,
    ),
    "pedal": (("spins loose", "broke off", "knocks on every turn"), "replace the pair", 31, 1),
    "inner tube": (("loses air overnight", "has a puncture", "burst this morning"), "replace", 14, 1),
    "fork": (("leaks oil", "sinks under my weight", "does not come back up"), "service", 74, 4),
    "battery": (("dies after ten minutes", "does not charge", "shows an error"), "test and repair", 88, 5),
}
BIKES = ("city bike", "road bike", "mountain bike", "cargo bike", "folding bike", "tandem", "trekking bike")
WHEN = ("", "since last week", "since the rain", "all of a sudden", "after my holiday", "for a month now")
REQUESTS = (  # forms of what people write
    "Hi, the {part} of my {bike} {fault} {when}. Can I bring it on {day}?",
    "{day} would suit me: my {part} {fault} {when}. It is a {bike}.",
    "My {bike} needs you! {part} {fault} {when}. Free on {day}?",
    "Good morning, could somebody look at a {bike} on {day}? The {part} {fault} {when}.",
    "It {fault} {when}, the {part} I mean. {bike}, {day} please.",
    "My daughter says the {part} on her {bike} {fault} {when}. We could drop it off {day}.",
    "Hello again. This time the {part} {fault} {when}. Same {bike}. Is {day} all right?",
    "What would it cost if the {part} of a {bike} {fault} {when}? I can come on {day}.",
    "On {day} I pass your shop with my {bike}. The {part} {fault} {when}, please have a look.",
    "Do you repair a {bike}? {when} the {part} {fault}. {day} after work is fine.",
)


def make_workshop() -> list[list[dict]]:
    """ORDERS different conversations of one question and its entry."""
    rng, made = random.Random(WORKSHOP_SEED), {}
    while len(made) < ORDERS:
        part, bike, day = rng.choice(list(JOBS)), rng.choice(BIKES), rng.choice(DAYS)
        faults, work, euros, days = JOBS[part]
        said = rng.choice(REQUESTS).format(
            part=part, bike=bike, day=day, fault=rng.choice(faults), when=rng.choice(WHEN)
        )
        asked = " ".join(said.replace(" .", ".").replace(" ,", ",").replace(" ?", "?").split())
        ready = DAYS[(DAYS.index(day) + days) % len(DAYS)]
        entry = f"Job: {part}, {work}\nBike: {bike}\nIn: {day}\nReady: {ready}\nPrice: {euros} euros"
        made[asked] = entry
    return [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": entry}]
        for asked, entry in made.items()
    ]
