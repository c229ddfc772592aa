"""Two synthetic files, made with a seed: chats of a support desk from templates, messages to a cafe."""

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


CAFE = """
Allergens, Opening hours, Parking, Free Wi-Fi, Gift cards, High chairs, Dogs in the garden, Oat milk,
Birthday cakes, A table for twelve, The upper room on Friday, Cakes without eggs, Warm food after five, My
own cup, Beans from Honduras, Sandwiches for an office, A ramp at the door, Laptops in the morning, Pictures
on the wall, Bread of yesterday, Tea by the pot, A quiet corner, Card or cash, Soup of the day, Jobs in the
kitchen, Lost umbrella, Sugar-free jam, A receipt with tax, Music in the evening, Toys for children, Bicycle
stand, Smoking outside, Recipe of the brownie, Knitting circle, Reserved window seat, Power sockets, Gluten
in the oats, Half portions, Water for dogs, Key for the toilet, Newspapers, Takeaway boxes, Deposit on jars,
Complaint about noise, Closed in August, Blankets in the garden, Breakfast at noon, Cold brew, Wedding cake
tasting, Group of schoolchildren, Staircase to the gallery, Honey from bees nearby, Second-hand books, Rent
for a stall, Chess on Mondays, Discount for students, Waffles on Sunday, Juice by the bottle, Nuts in the
pesto, Flowers on the table
"""
AFTER = {"?": 12, "": 4, "? Thanks!": 3, ", Thanks": 2}  # {what ends a message: its weight}


def cafe_messages(seed: int, count: int = 200) -> list[Conversation]:
    """What customers of a cafe ask about in a few words, some with thanks, and one kind of answer.

    "Thanks" has a capital, and before some no sentence has ended.
    """
    rng, rows = random.Random(seed), []
    topics = [topic.strip() for topic in CAFE.replace("\n", " ").split(",")]
    for line in range(1, count + 1):
        topic = rng.choice(topics)
        [after] = rng.choices(list(AFTER), list(AFTER.values()))
        messages = [
            {"role": "user", "content": f"{topic}{after}"},
            {"role": "assistant", "content": f"Our page on this: {topic.lower()}."},
        ]
        rows.append(Conversation(line, messages))
    return rows
