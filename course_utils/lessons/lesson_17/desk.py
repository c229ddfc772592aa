"""A synthetic file: chats of a support desk, made from sixteen templates with a seed."""

import random
import re
from collections.abc import Sequence

from course_utils.own.own_data import Conversation

TEMPLATES = (  # (question, answer)
    ("My {name} stopped working after {number} days, what should I do?", "Send it back, and we repair it."),
    ("Where is order {id}? It was promised for last week.", "It is on its way and comes on Friday."),
    ("{name} keeps beeping at night. How can that be turned off?", "Press the left button for ten seconds."),
    ("Can the {thing} of invoice {id} be changed to another address?", "Yes, write the new one to us."),
    ("I was charged {number} euros twice, please return one of them.", "The money is back in five days."),
    ("Does {name} work together with {name}, or is an adapter needed?", "They work together by a cable."),
    ("How long is the guarantee of a {thing} that was bought abroad?", "It is two years in all countries."),
    ("The app shows error {id} whenever I open my account.", "Take the app away and load it again."),
    ("Which plan allows {number} users and a shared calendar?", "The large plan has both."),
    ("Is there a branch near {name} that is open on Sundays?", "No, all our shops are closed then."),
    ("We need {number} licences for a school in {name}.", "Schools pay half, so write to the school desk."),
    ("A {thing} was missing in the parcel that came today.", "We are sorry, a new one leaves tomorrow."),
    ("Please cancel subscription {id} before the end of this month.", "It ends with this month."),
    ("What does the red light on the {thing} mean?", "It is hot and must rest for an hour."),
    ("Since the update to {id} my files from {name} cannot be opened.", "Go back to the old version first."),
    ("Who in {name} repairs a broken {thing} on the same day?", "Only the shop at the station does."),
)
FOLLOW_UPS = ("And how long does that take?", "What does it cost?")
NAMES = ("Nimbus", "Orca Pro", "Velo", "Zephyr", "Kestrel", "Lisbon", "Oslo", "New Haven", "Tallinn")
THINGS = ("charger", "lamp", "speaker", "handle", "router", "filter", "battery", "cable", "screen")


def support_chats(
    seed: int, count: int = 400, follow_ups: Sequence[str] = FOLLOW_UPS
) -> tuple[list[Conversation], list[int]]:
    """(rows, each row's template number): one turn, or several with follow-ups that many chats share."""
    rng = random.Random(seed)
    kinds = {
        "number": lambda: str(rng.randint(2, 900)),
        "id": lambda: f"{rng.choice('ARX')}-{rng.randint(10, 9999)}",
        "name": lambda: rng.choice(NAMES),
        "thing": lambda: rng.choice(THINGS),
    }
    rows, templates = [], []
    for line in range(1, count + 1):
        template = rng.randrange(len(TEMPLATES))
        question, answer = TEMPLATES[template]
        asked = [re.sub(r"\{(\w+)\}", lambda slot: kinds[slot[1]](), question)]
        asked += rng.sample(follow_ups, min(len(follow_ups), rng.choice([0, 0, 1, 2])))
        messages = [
            message
            for turn, said in zip(asked, [answer, *["I will ask."] * 2], strict=False)
            for message in ({"role": "user", "content": turn}, {"role": "assistant", "content": said})
        ]
        rows.append(Conversation(line, messages))
        templates.append(template)
    return rows, templates
