"""Stored experiments on facts: taught in several ways, joined, found in a library, read with distractors."""

import copy
import functools

from course_utils.lessons.lesson_09.experiments import assistant_parts
from course_utils.stored_runs import CHOICE, few, sweep

TAUGHT, TESTED = 3, 8  # facts per relation
ROUNDS = 40  # number of times that each fact is read or asked about
MARKS = (0, 20, 40)  # steps at which a drill is measured


@functools.cache
def facts_of(seed: int):
    """The facts of the runs with a seed, by kind."""
    from course_utils.lessons.lesson_15.drills import draw_facts

    return draw_facts(few(TAUGHT, 1), few(TESTED), seed)


def knows(model, tokenizer, facts) -> dict:
    """Shares of facts completed (the sentence read, a new one, backwards) and answered in both kinds.

    named: backwards, the completion begins with any subject of the relation, right or wrong.
    """
    from course_utils.lessons.lesson_15.drills import outcomes, share
    from course_utils.lessons.lesson_15.knowledge import completes, names_a_subject, probes, questions_about

    found = {
        which: share(completes(model, tokenizer, probes(facts, which)))
        for which in ("trained on", "new", "backwards")
    }
    found["named"] = share(names_a_subject(model, tokenizer, facts))
    for kind in ("short", "sentence"):
        found[kind] = share(outcomes(model, tokenizer, questions_about(facts, kind, new_words=True))[0])
    return found


@sweep(
    "statement_ways",
    points=[{"way": way} for way in ("none", "one sentence", "many sentences", "both directions")],
    short=(3,),
    sampled=True,  # measured by greedy answers
)
def statement_ways(point: dict, seed: int) -> dict:
    """Invented facts read 40 times as sentences, or never (none). Results of knows; elsewhere; strangers.

    lr: optional in a point; with it "validation", the loss of the names at the end of new sentences, nats a
    token.
    """
    from course_utils.lessons.lesson_15.drills import outcomes, read_facts, share
    from course_utils.lessons.lesson_15.knowledge import questions_about

    assistant, tokenizer = assistant_parts()
    model, facts = copy.deepcopy(assistant), facts_of(seed)
    if point["way"] != "none":
        options = {"rounds": few(ROUNDS), "seed": seed} | ({"lr": point["lr"]} if "lr" in point else {})
        read_facts(model, tokenizer, facts["invented"], point["way"], **options)
    right, _ = outcomes(model, tokenizer, questions_about(facts["elsewhere"]))
    _, refused = outcomes(model, tokenizer, questions_about(facts["strangers"]))
    found = knows(model, tokenizer, facts["invented"])
    if "lr" in point:
        found["validation"] = name_loss(model, tokenizer, facts["invented"])
    return found | {"elsewhere": share(right), "strangers_refused": share(refused)}


def name_loss(model, tokenizer, facts) -> float:
    """Mean loss of the names that complete new sentences about the facts, nats a token."""
    from course_utils.data import IGNORE, Example, encode
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_15.knowledge import probes

    pairs = [
        (encode(tokenizer, probe.prompt), encode(tokenizer, f" {probe.wanted}"))
        for probe in probes(facts, "new")
    ]
    return mean_loss(model, [Example(asked + name, [IGNORE] * len(asked) + name) for asked, name in pairs])


DRILL_RATES = {"invented": (3e-4, 6e-4, 1.2e-3), "control": (6e-4, 1.2e-3, 2.4e-3)}
DRILL_RATE = 6e-4  # of the lesson's drill
SAME_DISTANCE = 1.2e-3  # of the drills on known facts: the lowest rate that moves the weights at least as far


@sweep(
    "fact_drills",
    points=[{"facts": kind, "lr": lr} for kind, rates in DRILL_RATES.items() for lr in rates],
    sampled=True,  # measured by greedy answers
)
def fact_drills(point: dict, seed: int) -> dict:
    """Questions about facts that are new (invented) or known (control). KEY_STEP at MARKS.

    asked: share of these facts given in new words; right, wrong: of the facts elsewhere; moved: norm of the
    change divided by that of the weights. At the end: strangers_refused.
    """
    from course_utils.lessons.lesson_15 import drills
    from course_utils.lessons.lesson_15.knowledge import confident_errors, questions_about

    start, tokenizer = assistant_parts()
    model, facts, found, step = copy.deepcopy(start), facts_of(seed), {}, iter(MARKS)
    drilled = facts[point["facts"]]

    def measure(now):
        mark = next(step)
        asked, _ = drills.outcomes(now, tokenizer, questions_about(drilled, new_words=True))
        right, refused = drills.outcomes(now, tokenizer, questions_about(facts["elsewhere"]))
        found[f"asked_{mark}"], found[f"right_{mark}"] = drills.share(asked), drills.share(right)
        found[f"wrong_{mark}"] = confident_errors(right, refused)
        found[f"moved_{mark}"] = drills.distance_moved(now, start)
        return {}

    options = {"rounds": few(ROUNDS), "lr": point["lr"], "seed": seed, "evaluate": measure, "eval_every": 20}
    drills.drill(model, tokenizer, drilled, **options)
    _, refused = drills.outcomes(model, tokenizer, questions_about(facts["strangers"]))
    return found | {"strangers_refused": drills.share(refused)}


WAYS_TO_TEACH = ("full", "full, replay", "LoRA", "LoRA, replay")
TEACH_RATES = {
    "full": (3e-4, 6e-4, 1.2e-3, 2.4e-3),
    "full, replay": (3e-4, 6e-4, 1.2e-3, 2.4e-3),
    "LoRA": (1e-3, 3e-3, 1e-2, 3e-2),
    "LoRA, replay": (1e-3, 3e-3, 1e-2, 3e-2),
}


def taught(way: str, lr: float, seed: int):
    """(the assistant drilled on the seed's invented facts, tokenizer)"""
    from course_utils.lessons.lesson_15 import drills

    start, tokenizer = assistant_parts()
    model = copy.deepcopy(start)
    if way.startswith("LoRA"):
        model = drills.add_lora(model, seed)
    replay = drills.old_conversations() if way.endswith("replay") else ()
    invented = facts_of(seed)["invented"]
    options = {"rounds": few(ROUNDS), "lr": lr, "seed": seed, "replay": replay, "label": f"{way} {lr}"}
    drills.drill(model, tokenizer, invented, **options)
    return model, tokenizer


def kept_and_learned(model, tokenizer, facts) -> dict:
    """Shares. learned: invented facts given in new words; right: facts elsewhere given; strangers_refused."""
    from course_utils.lessons.lesson_15.drills import outcomes, share
    from course_utils.lessons.lesson_15.knowledge import questions_about

    learned, _ = outcomes(model, tokenizer, questions_about(facts["invented"], new_words=True))
    right, _ = outcomes(model, tokenizer, questions_about(facts["elsewhere"]))
    _, refused = outcomes(model, tokenizer, questions_about(facts["strangers"]))
    return {"learned": share(learned), "right": share(right), "strangers_refused": share(refused)}


@sweep(
    "teaching_rates",
    points=[{"way": way, "lr": lr} for way, rates in TEACH_RATES.items() for lr in rates],
    seeds=CHOICE,
    short=(13,),
    tolerance=0.15,  # shares of few greedy answers, of one seed
)
def teaching_rates(point: dict, seed: int) -> dict:
    """Used to choose the rates of `teaching`: what is learned and kept, at a separate seed."""
    return kept_and_learned(*taught(point["way"], point["lr"], seed), facts_of(seed))


TEACH_RATE = {"full": 6e-4, "full, replay": 1.2e-3, "LoRA": 1e-2, "LoRA, replay": 1e-2}  # of teaching_rates


@sweep(
    "teaching",
    points=[{"way": "none", "lr": 0.0}, *({"way": way, "lr": lr} for way, lr in TEACH_RATE.items())],
    short=(2,),
    sampled=True,  # measured by greedy answers
)
def teaching(point: dict, seed: int) -> dict:
    """Invented facts taught in four ways at their best rates, and not at all.

    In addition to kept_and_learned: source: increase of the loss on source text; read: invented facts given
    with their passage; new, old: for facts that have changed since, shares of the new and of the old object,
    with the new passage.
    """
    from course_utils.lessons.lesson_15 import drills, libraries
    from course_utils.lessons.lesson_15.knowledge import questions_about
    from course_utils.methods.retrieval import Index

    start, tokenizer = assistant_parts()
    facts = facts_of(seed)
    model = start if point["way"] == "none" else taught(point["way"], point["lr"], seed)[0]
    found = kept_and_learned(model, tokenizer, facts)
    found["source"] = drills.source_rise(model, start, tokenizer)
    invented = facts["invented"]
    changed = drills.moved_on(invented)
    rest = [fact for fact in libraries.shelf(seed) if fact not in invented]
    asked = questions_about(invented, new_words=True)
    new, old = questions_about(changed, new_words=True), asked
    before, after = (Index(libraries.write_down([*those, *rest], seed)) for those in (invented, changed))
    found["read"] = drills.share(drills.outcomes(model, tokenizer, asked, before)[0])
    texts = drills.answers_to(model, tokenizer, new, after)
    for name, rows in (("new", new), ("old", old)):
        found[name] = drills.share([drills.gives(*pair) for pair in zip(texts, rows, strict=True)])
    return found


def drill_measured(start, tokenizer, kind: str, lr: float, seed: int) -> dict:
    """A drill on the seed's "invented" or "control" facts. Before it (KEY_0) and after it, shares:

    asked: drilled facts given in new words; right, wrong: of facts elsewhere; named: of all questions about
    facts elsewhere, wrong answers with an object of a drilled fact. moved: change of the weights.
    """
    from course_utils.lessons.lesson_15 import drills
    from course_utils.lessons.lesson_15.knowledge import confident_errors, questions_about

    model, facts = copy.deepcopy(start), facts_of(seed)
    drilled, rows = facts[kind], questions_about(facts["elsewhere"])
    names = [fact.object for fact in drilled]

    def measured(now) -> dict:
        asked, _ = drills.outcomes(now, tokenizer, questions_about(drilled, new_words=True))
        texts = drills.answers_to(now, tokenizer, rows)
        right = [drills.gives(text, row) for text, row in zip(texts, rows, strict=True)]
        refused = [drills.NO_ANSWER in text for text in texts]
        named = [
            not good and not no and drills.names_one(text, names)
            for text, good, no in zip(texts, right, refused, strict=True)
        ]
        found = {"asked": drills.share(asked), "right": drills.share(right), "named": drills.share(named)}
        return found | {"wrong": confident_errors(right, refused)}

    before = {f"{name}_0": value for name, value in measured(start).items()}
    drills.drill(model, tokenizer, drilled, rounds=few(ROUNDS), lr=lr, seed=seed)
    return before | measured(model) | {"moved": drills.distance_moved(model, start)}


@sweep(
    "drilled_names",
    points=[{"facts": "invented", "lr": DRILL_RATE}, {"facts": "control", "lr": SAME_DISTANCE}],
    sampled=True,  # measured by greedy answers
)
def drilled_names(point: dict, seed: int) -> dict:
    """Drills as in fact_drills: how many of the wrong answers elsewhere name a drilled fact's object."""
    return drill_measured(*assistant_parts(), point["facts"], point["lr"], seed)


@functools.cache
def taught_with_replay(seed: int):
    """(the assistant taught the seed's invented facts with replay, all weights; tokenizer)"""
    return taught("full, replay", TEACH_RATE["full, replay"], seed)


@sweep(
    "drilled_again",
    points=[{"facts": "invented", "lr": SAME_DISTANCE}, {"facts": "control", "lr": SAME_DISTANCE}],
    sampled=True,  # measured by greedy answers
)
def drilled_again(point: dict, seed: int) -> dict:
    """Drills from a model that was taught the invented facts with replay, and gives most of them.

    Not knowing the facts is what does the harm, if the invented facts, drilled again, add no more wrong
    answers than known ones that move the weights as far. If they add as many as when new, it is not.
    """
    return drill_measured(*taught_with_replay(seed), point["facts"], point["lr"], seed)


HUNT_ROUNDS = 20


@functools.cache
def hunted_replays(seed: int):
    """(taught, tested and other facts, {name: replay}) of the bug hunt, and two replays that do not leak.

    These ask about or state, like B and C, equally many known facts of the same relations, neither tested nor
    others.
    """
    from course_utils.lessons.lesson_15 import drills, suspects

    facts = drills.draw_facts(TAUGHT, few(12, 4), seed)
    tested, others = facts["elsewhere"][::2], facts["elsewhere"][1::2]
    known = drills.more_known(facts, len(tested), seed)
    old = drills.old_conversations()
    elsewhere = suspects.replays(old, known, seed)
    replays = suspects.replays(old, tested, seed)
    for name in "BC":
        replays[f"{name}, other facts"] = elsewhere[name]
    return facts["invented"][::2], tested, others, replays


@sweep(
    "hunted_replays",
    points=[{"replay": name} for name in ("A", "B", "C", "B, other facts", "C, other facts")],
    short=(1,),
    sampled=True,  # measured by greedy answers
)
def hunted(point: dict, seed: int) -> dict:
    """Facts taught with one of the hunt's replays. Shares given in new words: taught, tested, others."""
    from course_utils.lessons.lesson_15 import drills
    from course_utils.lessons.lesson_15.knowledge import questions_about

    start, tokenizer = assistant_parts()
    taught_facts, tested, others, replays = hunted_replays(seed)
    model = copy.deepcopy(start)
    options = {"rounds": few(HUNT_ROUNDS), "lr": TEACH_RATE["full, replay"], "seed": seed}
    drills.drill(model, tokenizer, taught_facts, replay=replays[point["replay"]], **options)
    return {
        name: drills.share(drills.outcomes(model, tokenizer, questions_about(some, new_words=True))[0])
        for name, some in {"taught": taught_facts, "tested": tested, "others": others}.items()
    }


HOP_STEPS = 40


@sweep(
    "two_hops",
    points=[{"answers": answers} for answers in ("not tuned", "direct", "step by step")],
    short=(2,),
    sampled=True,  # measured by greedy answers
)
def two_hops(point: dict, seed: int) -> dict:
    """Questions that combine two facts, tuned on half of the countries or not at all: shares answered right.

    learned: of the training questions; new: of those about other countries; frequent: of the latter, the
    share that each relation's most frequent answer would get. The split depends on the seed.
    """
    from course_utils.lessons.lesson_15.knowledge import (
        by_frequency,
        chain_answers,
        chains,
        hop_pairs,
        split_by_country,
    )
    from course_utils.methods.sft import instruction_tune

    start, tokenizer = assistant_parts()
    model = copy.deepcopy(start)
    train, test = split_by_country(chains(("capital", "currency")), seed)
    if point["answers"] != "not tuned":
        pairs = hop_pairs(train, point["answers"] == "step by step")
        instruction_tune(
            model, tokenizer, pairs, steps=few(HOP_STEPS), lr=3e-4, seed=seed, label=point["answers"]
        )
    asked = {"learned": few(train, 8), "new": few(test, 8)}
    found = {name: chain_answers(model, tokenizer, chains) for name, chains in asked.items()}
    return {name: sum(right) / len(right) for name, right in found.items()} | {
        "frequent": by_frequency(train, test)
    }


EMBED_STEPS, EMBED_RATE = 40, 1e-3


@sweep("retrievers", points=[{"steps": 0}, {"steps": EMBED_STEPS}], short=(1,))
def retrievers(point: dict, seed: int) -> dict:
    """Share of questions whose passage ranks first, in three wordings: words_N, letters_N, dense_N, both_N.

    The library has bare sentences; the embedding is the base model's, or trained for the point's steps.
    """
    from course_utils.lessons.lesson_15 import drills, libraries
    from course_utils.lessons.lesson_15.knowledge import made_up
    from course_utils.methods.retrieval import contrastive_loss
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    if point["steps"]:
        options = {"loss": contrastive_loss, "steps": few(point["steps"]), "seed": seed, "lr": EMBED_RATE}
        model, _ = drills.train_embedding(model, tokenizer, made_up(60, 5000 + seed), **options)
    found = libraries.recalls(model, tokenizer, seed)
    return {
        f"{name}_{number}": sum(marks) / len(marks)
        for number, each in enumerate(found.values())
        for name, marks in each.items()
    }


READ_STEPS, READ_RATE = 60, 3e-3
TEXTS = ("nothing", "best passage", "random document", "its heading, then rain", "rain", "a greeting")


@sweep(
    "distractors",
    points=[{"trained": "no"}, {"trained": "fitting passages"}, {"trained": "distractors"}],
    short=(2,),
)
def distractors(point: dict, seed: int) -> dict:
    """The assistant with an adapter trained on questions with passages: all or a third of them fit.

    KIND_N, for the policies of `by_policy` in order: invented and elsewhere: shares given; strangers: share
    refused. Half of the questions ask for the name (KIND_short_N), the other half for a sentence
    (KIND_sentence_N).
    """
    from course_utils.lessons.lesson_15 import drills, libraries
    from course_utils.methods.sft import instruction_tune

    model, tokenizer = assistant_parts()
    if point["trained"] != "no":
        model = drills.add_lora(copy.deepcopy(model), seed)
        rows = libraries.with_passages(seed, point["trained"] == "distractors", few(16 * READ_STEPS, 64))
        options = {"steps": few(READ_STEPS), "lr": READ_RATE, "seed": seed, "label": point["trained"]}
        instruction_tune(model, tokenizer, rows, **options)
    shares = {}
    for number, found in enumerate(drills.by_policy(model, tokenizer, facts_of(seed), seed).values()):
        for kind, marks in found.items():
            half = len(marks) // 2  # the first half: short answers
            parts = {"": marks, "_short": marks[:half], "_sentence": marks[half:]}
            shares |= {f"{kind}{part}_{number}": drills.share(some) for part, some in parts.items()}
    return shares


@sweep("texts_before", points=[{"text": name} for name in TEXTS], short=(3,))
def texts_before(point: dict, seed: int) -> dict:
    """The assistant, untrained, asked for the name alone behind a text of TEXTS. Shares of the questions.

    elsewhere: facts given; strangers: refused; elsewhere_said, strangers_said: answers that hold the object
    of the document before the question.
    """
    from course_utils.lessons.lesson_15 import drills, libraries
    from course_utils.lessons.lesson_15.knowledge import questions_about

    model, tokenizer = assistant_parts()
    objects = {text: fact.object for fact, text in libraries.documented(seed)}
    texts, shares = libraries.text_before(point["text"], seed), {}
    for kind in ("elsewhere", "strangers"):
        rows = few(questions_about(facts_of(seed)[kind], new_words=True), 4)
        shown, answers = drills.answers_behind(model, tokenizer, rows, texts)
        right, refused = drills.judged(answers, rows)
        shares[kind] = drills.share(refused if kind == "strangers" else right)
        names = [[objects[text]] if text in objects else [] for text in shown]
        said = [drills.names_one(*pair) for pair in zip(answers, names, strict=True)]
        shares[f"{kind}_said"] = drills.share(said)
    return shares
