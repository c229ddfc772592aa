"""Chats of a support desk, in two languages, some with several turns, unknown to the pocket model."""

import random

DESK = {
    "en": [
        (
            "My {thing} has stopped {doing} since update {version}. What can I do?",
            "Please reset the {thing}: hold its button for {n} seconds, then pair it again in the app.",
            "Sorry for the trouble \N{PENSIVE FACE} Send us the log file from Settings > Diagnostics.",
        ),
        (
            "Where is my order {id}? It should have come on {day}.",
            "Order {id} left our warehouse on {day}; the carrier needs {n} more working days.",
            "I am sorry, parcel {id} was damaged. A replacement arrives on {day}.",
        ),
        (
            "I was charged {n} euros twice for invoice {id} \N{POUTING FACE}",
            "We have refunded {n} euros to your card. It takes up to five days until your bank shows it.",
        ),
        (
            "How do I cancel the {plan} plan before it renews?",
            "Open Account > Billing, choose the {plan} plan and press Cancel. It ends on {day}.",
        ),
        (
            "Does the {thing} work with the {plan} hub?",
            "Yes, from firmware {version} on. Connect the {thing} by cable once.",
            "No, the {plan} hub lacks Zigbee. You would need the bridge, item {id}.",
        ),
    ],
    "de": [
        (
            "Mein {thing} blinkt rot und verbindet sich nicht. Was soll ich tun?",
            "Bitte ziehen Sie {n} Sekunden den Stecker und starten Sie es neu \N{SLIGHTLY SMILING FACE}",
        ),
        (
            "Wann kommt meine Bestellung {id} an?",
            "Ihre Bestellung {id} wurde am {day} versandt und trifft in {n} Werktagen ein.",
        ),
        (
            "Wie kündige ich den Tarif {plan}?",
            "Öffnen Sie Konto > Tarif und wählen Sie Kündigen. Der Tarif {plan} läuft am {day} aus.",
        ),
    ],
}
ASKED_ON = {
    "en": ("And if that does not help?", "Then call us on weekdays; have serial number {id} at hand."),
    "de": ("Und wenn das nicht hilft?", "Dann schicken Sie uns das Gerät bitte mit der Nummer {id} ein."),
}
WORDS = {
    "thing": ["smart lock", "thermostat", "doorbell", "Kamera", "router", "vacuum robot"],
    "doing": ["charging", "syncing", "connecting", "recording"],
    "day": ["12 May", "3 June", "Friday", "21.11."],
    "plan": ["Basic", "Plus", "Family", "Pro"],
}


def desk_chats(count=150, seed=0):
    """Lists of messages, a fifth of them with a second question."""
    rng = random.Random(seed)

    def fill(text):
        numbers = {"version": f"{rng.randint(2, 9)}.{rng.randint(0, 20)}", "n": rng.randint(5, 60)}
        code = f"{rng.choice('ARX')}-{rng.randint(1000, 99999)}"
        return text.format(id=code, **numbers, **{name: rng.choice(words) for name, words in WORDS.items()})

    chats = []
    for _ in range(count):
        language = rng.choice(["en", "en", "de"])
        question, *answers = rng.choice(DESK[language])
        turns = [question, rng.choice(answers), *(ASKED_ON[language] if rng.random() < 0.2 else ())]
        roles = ("user", "assistant") * 2
        chats.append(
            [{"role": role, "content": fill(turn)} for role, turn in zip(roles, turns, strict=False)]
        )
    return chats
