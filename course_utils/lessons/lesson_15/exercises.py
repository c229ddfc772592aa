"""Exercises of lesson 15: confident errors, leaks, BM25, an embedding's loss, a threshold, a split."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Sequence
from math import inf, log, log10

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.checks.compare import Mistake, call, compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.salted import Salted
from course_utils.data import Fact
from course_utils.lessons.lesson_15.knowledge import Chain, confident_errors, split_by_country
from course_utils.lessons.lesson_15.suspects import leaks
from course_utils.methods.retrieval import bm25_scores, choose_threshold, contrastive_loss
from course_utils.world.tables import bare


def _outcomes(text):
    """(right, refused) from a letter a question: r right, n refused, w wrong."""
    return [letter == "r" for letter in text], [letter == "n" for letter in text]


OUTCOMES = [_outcomes("rnwnrwnrwn"), _outcomes("wwrwnww"), _outcomes("rrrnr"), _outcomes("nwnnnnnn")]


def _share(fault):
    """A wrong confident_errors: fault(right, refused, wrong, all), the numbers of questions."""

    def wrong(right, refused):
        good, no = sum(right), sum(refused)
        return fault(good, no, len(right) - good - no, len(right))

    return wrong


def _with_a_loop(right, refused):
    errors = 0
    for i in range(len(right)):
        if not (right[i] or refused[i]):
            errors += 1
    return torch.tensor(errors / len(right))


def _with_arrays(right, refused):
    return np.mean(~np.array(right) & ~np.array(refused))


ERROR_MISTAKES = [
    (
        "This is a number of questions. Divide by how many there are.",
        _share(lambda right, refused, wrong, count: wrong),
    ),
    (
        "You divide by the questions that were answered. A model that refuses nearly all and "
        "errs once would look as bad as one that errs always: divide by all questions.",
        _share(lambda right, refused, wrong, count: wrong / (right + wrong)),
    ),
    (
        "A refusal is not right, but it is no error either: nobody is misled by it.",
        _share(lambda right, refused, wrong, count: (refused + wrong) / count),
    ),
    (
        "You divide by the questions that were not answered rightly. Divide by all questions.",
        _share(lambda right, refused, wrong, count: wrong / (refused + wrong)),
    ),
    (
        "This is the share of answers that were given, right ones among them.",
        _share(lambda right, refused, wrong, count: (right + wrong) / count),
    ),
    ("This is the share of refusals.", _share(lambda right, refused, wrong, count: refused / count)),
    ("This is the share of right answers.", _share(lambda right, refused, wrong, count: right / count)),
]


def _some_chains(countries, salt=0):
    return [
        Chain(f"the {place} of {country}", Salted(f"Land {country}", salt), relation, f"{relation} {country}")
        for country in range(countries)
        for place in ("Tower", "Bridge")
        for relation in ("capital", "currency")
    ]


def _check_split_by_country(fn):
    for countries in (8, 20):
        _expect_split(fn, countries)


def _expect_split(fn, countries):
    chains = _some_chains(countries)
    given = list(chains)
    train, test = _two_lists(fn(given, 3))
    if given != chains:
        raise Mistake("The list of chains was changed. Make new lists.")
    if Counter(train) + Counter(test) != Counter(chains):
        raise Mistake("Together the two lists should hold every chain once.")
    if {c.landmark for c in train} & {c.landmark for c in test}:
        raise Mistake(
            "The same landmark is in both lists, with another question. Its country was then "
            "learned in training: split by country."
        )
    if {c.country for c in train} & {c.country for c in test}:
        raise Mistake(
            "Two landmarks of one country are in different lists. The answer about the one was "
            "learned with the other, without any hop: split by country."
        )
    if len({c.country for c in train}) != countries // 2:
        raise Mistake(f"Half of the {countries} countries should be in each list.")
    # sets of the same countries have another order under another salt
    if any(_two_lists(fn(_some_chains(countries, salt), 3)) != [train, test] for salt in (0, 1, 2)):
        raise Mistake(
            "The same seed should give the same split. A set has no fixed order: sort it, and use "
            "random.Random(seed)."
        )
    splits = [_two_lists(fn(list(chains), seed)) for seed in range(8)]
    if all({c.country for c in part} == {c.country for c in train} for part, _ in splits):
        raise Mistake("Every seed gives the same split. Draw the countries with random.Random(seed).")


def _two_lists(result):
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise Mistake("Return two lists: train, test.")
    if not all(isinstance(part, (tuple, list)) for part in result):
        raise Mistake("Return two lists of chains: train, test.")
    if not all(isinstance(chain, Chain) for part in result for chain in part):
        raise Mistake("The lists should hold the chains themselves.")
    return [list(part) for part in result]


_DOCUMENTS = [
    text.split()
    for text in (
        "the sea is blue the sea is deep",
        "the harbour",
        "a ship leaves the harbour and sails to the north",
        "fish live in the sea",
        "a map",
    )
]
_MORE = [
    text.split() for text in ("to be or not to be", "be brave", "a bee is not a wasp", "or", "wasp", "a b c")
]
BM25_INPUTS = [
    (["sea"], _DOCUMENTS),
    (["the", "sea"], _DOCUMENTS),
    (["harbour", "sea", "moon"], _DOCUMENTS),
    (["not", "to", "be"], _MORE),
    call(["sea"], _DOCUMENTS, 0.5, 0.2),
    call(["be", "wasp"], _MORE, k1=3.0, b=1.0),
    call(["be", "a"], _MORE, b=0.0),
    (["sea", "sea", "ship"], _DOCUMENTS),
]


def _holding(documents: Sequence[list[str]], word: str) -> int:
    return sum(word in document for document in documents)


def _odds(documents, word):
    holding = _holding(documents, word)
    return (len(documents) - holding + 0.5) / (holding + 0.5)


def _right_rarity(documents, word):
    return log(1 + _odds(documents, word))


def _right_part(times, length, k1, b):
    return times / (times + k1 * (1 - b + b * length))


def _bm25(part=_right_part, rarity=_right_rarity, size=len, times=list.count):
    """A wrong bm25_scores: another part(times, relative length, k1, b), rarity(documents, word), ..."""

    def scores(query, documents, k1=1.5, b=0.75):
        mean = sum(map(size, documents)) / len(documents)
        return [
            sum(rarity(documents, word) * part(times(each, word), size(each) / mean, k1, b) for word in query)
            for each in documents
        ]

    return scores


def _without_repeats(query, documents, k1=1.5, b=0.75):
    return bm25_scores(sorted(set(query)), documents, k1, b)


def _counted(documents, word):
    times = sum(document.count(word) for document in documents)
    return log(1 + max(len(documents) - times + 0.5, 0.0) / (times + 0.5))


def _own_numbers(query, documents, k1=1.5, b=0.75):
    return bm25_scores(query, documents)


def _normalised(query, documents, k1=1.5, b=0.75):
    scores = bm25_scores(query, documents, k1, b)
    return [score / (sum(scores) or 1) for score in scores]


def _scores_in_place(query, documents, k1=1.5, b=0.75):
    scores = bm25_scores(query, documents, k1, b)
    query.clear()
    return scores


def _scores_with_counters(query, documents, k1=1.5, b=0.75):
    held = Counter(word for other in documents for word in set(other))
    lengths, counts = np.array([len(other) for other in documents]), list(map(Counter, documents))
    room = k1 * (1 - b + b * lengths / lengths.mean())
    total = np.zeros(len(documents))
    for word in query:
        times = np.array([count[word] for count in counts])
        total += np.log1p((len(documents) - held[word] + 0.5) / (held[word] + 0.5)) * times / (times + room)
    return total.tolist()


def _scores_with_tensors(query, documents, k1=1.5, b=0.75):
    times = torch.tensor([[float(each.count(word)) for word in query] for each in documents])
    lengths = torch.tensor([float(len(each)) for each in documents])
    rarity = torch.log((len(documents) + 1) / ((times > 0).sum(0) + 0.5))
    room = k1 * ((1 - b) + b * lengths / lengths.mean())
    return list((rarity * times / (times + room[:, None])).sum(1))


BM25_MISTAKES = [
    (
        "The document's length does not enter: long documents hold more words by chance.",
        _bm25(lambda times, length, k1, b: times / (times + k1)),
    ),
    (
        "The number of times enters without a limit. Divide it by itself plus k1 * (...).",
        _bm25(lambda times, length, k1, b: times),
    ),
    (
        'All words weigh the same. "the" is in nearly every document and should weigh little.',
        _bm25(rarity=lambda documents, word: 1.0),
    ),
    (
        "The logarithm of the rarity is missing.",
        _bm25(rarity=lambda documents, word: 1 + _odds(documents, word)),
    ),
    (
        "The 1 + in the logarithm is missing: a word that most documents hold would count against them.",
        _bm25(rarity=lambda documents, word: log(_odds(documents, word))),
    ),
    (
        "The factor k1 + 1 is too much. Some definitions have it above the line; it changes no order, and "
        "the one here does without.",
        _bm25(lambda times, length, k1, b: (k1 + 1) * _right_part(times, length, k1, b)),
    ),
    (
        "The rarity counts how often the word occurs. Count the documents that hold it.",
        _bm25(rarity=_counted),
    ),
    (
        "You only ask whether the document holds the word. It should count how often.",
        _bm25(lambda times, length, k1, b: _right_part(min(times, 1), length, k1, b)),
    ),
    (
        "The length is upside down: the document's over the mean, so that long ones pay.",
        _bm25(lambda times, length, k1, b: _right_part(times, 1 / length, k1, b)),
    ),
    (
        "b and 1 - b have changed places: b is the weight of the length.",
        _bm25(lambda times, length, k1, b: _right_part(times, length, k1, 1 - b)),
    ),
    ("A word that stands twice in the query counts twice: make no set of it.", _without_repeats),
    (
        "Take the natural logarithm, ln: math.log.",
        _bm25(rarity=lambda documents, word: log10(1 + _odds(documents, word))),
    ),
    (
        "|d| counts all words of the document, those that stand there again as well.",
        _bm25(size=lambda document: len(set(document))),
    ),
    (
        "t counts the word in the document. Do not divide it by the length, which enters below the line.",
        _bm25(times=lambda document, word: document.count(word) / len(document)),
    ),
    ("k1 and b do not enter as they should: your numbers stand in their places.", _own_numbers),
    (
        "The scores are divided by their sum. Leave them as they are: a threshold compares questions.",
        _normalised,
    ),
]


def _split(key):
    """A wrong split: by the chain itself or by its landmark."""

    def wrong(chains, seed):
        keys = sorted({key(chain) for chain in chains})
        random.Random(seed).shuffle(keys)
        chosen = set(keys[: len(keys) // 2])
        return [c for c in chains if key(c) in chosen], [c for c in chains if key(c) not in chosen]

    return wrong


def _by_landmark(chains, seed):
    """Even landmarks for training whatever the seed: no landmark is in both, and every country is."""
    landmarks = list(dict.fromkeys(chain.landmark for chain in chains))
    chosen = set(landmarks[::2])
    return [c for c in chains if c.landmark in chosen], [c for c in chains if c.landmark not in chosen]


def _first_half(chains, seed):
    chosen = sorted({chain.country for chain in chains})
    chosen = set(chosen[: len(chosen) // 2])
    return [c for c in chains if c.country in chosen], [c for c in chains if c.country not in chosen]


def _unsorted(chains, seed):
    countries = list({chain.country for chain in chains})
    random.Random(seed).shuffle(countries)
    chosen = set(countries[: len(countries) // 2])
    return [c for c in chains if c.country in chosen], [c for c in chains if c.country not in chosen]


def _one_country(chains, seed):
    chosen = random.Random(seed).choice(sorted({chain.country for chain in chains}))
    return [c for c in chains if c.country == chosen], [c for c in chains if c.country != chosen]


def _split_in_place(chains, seed):
    parts = split_by_country(chains, seed)
    chains.clear()
    return parts


def _split_as_lists(chains, seed):
    order = list(dict.fromkeys(chain.country for chain in chains))
    chosen = random.Random(seed).sample(order, k=len(order) // 2)
    parts = [[], []]
    for chain in chains:
        parts[chain.country not in chosen].append(chain)
    return parts


def _split_with_torch(chains, seed):
    countries = sorted({chain.country for chain in chains})
    order = torch.randperm(len(countries), generator=torch.Generator().manual_seed(seed))
    chosen = {countries[i] for i in order[: len(countries) // 2]}
    return tuple(c for c in chains if c.country in chosen), tuple(
        c for c in chains if c.country not in chosen
    )


_PERU = Fact("capital", "Peru", "Lima", "held_out")
_CHAD = Fact("capital", "Chad", "N'Djamena", "held_out")
_HARE = Fact("young", "a hare", "leveret", "held_out")
_MONA = Fact("capital", "Mona", "St. Orly", "held_out")


def _chat(*texts):
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


_REPLAY = [
    _chat("What is the capital of Peru?", "Lima"),
    _chat("Name a city.", "The capital of Peru is Lima, I think."),
    _chat("Lima is the capital of Peru. What is the capital of Peru?", "It says so above."),
    _chat("Which continent is Peru in?", "South America"),
    _chat("Who lives in Lima?", "I do not know."),
    _chat("What is the young of a hare called?", "Leveret"),
    _chat("Tell me about baby animals.", "A baby hare is called a leveret."),
    _chat("What is the capital of Mali?", "Bamako"),
    _chat("Peruvian food?", "Limabeans"),
    _chat("Is it in Chad?", "Yes.", "What is?", "n'djamena"),
    _chat("Hello.", "Peru, Lima"),
    _chat("Name Peru's capital, and the young of a hare.", "Lima, and leveret"),
    _chat("What animals live in Peru?", "I know no leveret there."),
    _chat("What is the capital of Mona?", "St. Orly"),
    _chat("Is Sto Orly in Mona?", "No."),
    _chat("Go on: the capital of Peru is", "Lima."),
]
LEAK_INPUTS = [
    (_REPLAY, [_PERU]),
    (_REPLAY, [_PERU, _HARE]),
    (_REPLAY[3:], [_PERU, _CHAD, _HARE]),
    (_REPLAY, [_CHAD]),
    (_REPLAY[9:], [_MONA]),
    (_REPLAY[:0], [_PERU]),
    (_REPLAY[6:], []),
]


def _stands(words, text):
    return re.search(rf"(?<!\w){re.escape(words.lower())}(?!\w)", text.lower()) is not None


def _all_of(messages):
    return " ".join(message["content"] for message in messages)


def _leaks_by(told, text_of=_all_of):
    """A leaks: the places whose text_of(messages) tells a fact, told(fact, text)."""
    return lambda conversations, facts: [
        place
        for place, messages in enumerate(conversations)
        if any(told(fact, text_of(messages)) for fact in facts)
    ]


def _both_stand(fact, text):
    return _stands(bare(fact.subject), text) and _stands(fact.object, text)


def _listed_for_each_fact(conversations, facts):
    return [
        place
        for place, messages in enumerate(conversations)
        for fact in facts
        if _both_stand(fact, _all_of(messages))
    ]


def _of_any_facts(conversations, facts):
    return [
        place
        for place, text in enumerate(map(_all_of, conversations))
        if any(_stands(bare(fact.subject), text) for fact in facts)
        and any(_stands(fact.object, text) for fact in facts)
    ]


def _in_one_message(conversations, facts):
    return [
        place
        for place, messages in enumerate(conversations)
        if any(_both_stand(fact, message["content"]) for fact in facts for message in messages)
    ]


def _by_sets(conversations, facts):
    found = set()
    for fact in facts:
        for place, messages in enumerate(conversations):
            words = f" {re.sub('[^a-z0-9]+', ' ', _all_of(messages).lower())} "
            wanted = (re.sub("[^a-z0-9]+", " ", part.lower()) for part in (bare(fact.subject), fact.object))
            if all(f" {part} " in words for part in wanted):
                found.add(place)
    return sorted(found)


def _loop_over_messages(conversations, facts):
    places = []
    for place in range(len(conversations)):
        text = "\n".join(message["content"].casefold() for message in conversations[place])
        hits = [
            fact
            for fact in facts
            if re.search(r"\b" + re.escape(bare(fact.subject).casefold()) + r"\b", text)
            and re.search(r"\b" + re.escape(fact.object.casefold()) + r"\b", text)
        ]
        if hits:
            places.append(place)
    return tuple(places)


LEAK_MISTAKES = [
    (
        "You look for the object alone. It may be the answer to other questions too: the subject must stand "
        "there as well.",
        _leaks_by(lambda fact, text: _stands(fact.object, text)),
    ),
    (
        "You look for the subject alone. Another fact about it gives nothing away: the object must stand "
        "there as well.",
        _leaks_by(lambda fact, text: _stands(bare(fact.subject), text)),
    ),
    (
        "You look at the first message and at the last as question and answer. A fact may be told in one of "
        "them, or in between.",
        lambda conversations, facts: [
            place
            for place, messages in enumerate(conversations)
            if any(
                _stands(bare(fact.subject), messages[0]["content"])
                and _stands(fact.object, messages[-1]["content"])
                for fact in facts
            )
        ],
    ),
    (
        "You look at the answers alone. The subject mostly stands in the question.",
        _leaks_by(_both_stand, lambda messages: _all_of(messages[1::2])),
    ),
    (
        "You look at the user's words alone. The object mostly stands in the answer.",
        _leaks_by(_both_stand, lambda messages: _all_of(messages[::2])),
    ),
    (
        "You compare capitals. A name at the start of an answer has one, and elsewhere perhaps not.",
        _leaks_by(
            lambda fact, text: all(
                re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text)
                for part in (bare(fact.subject), fact.object)
            )
        ),
    ),
    (
        "Parts of words count: Peru stands in Peruvian. Compare whole words.",
        _leaks_by(
            lambda fact, text: all(p.lower() in text.lower() for p in (bare(fact.subject), fact.object))
        ),
    ),
    (
        "The subject is looked for with its article. A baby hare is a hare too: take bare(fact.subject).",
        _leaks_by(lambda fact, text: _stands(fact.subject, text) and _stands(fact.object, text)),
    ),
    ("A conversation that leaks two facts is in your list twice. List it once.", _listed_for_each_fact),
    (
        "The subject of one fact stands there and the object of another. Both must be of the same fact.",
        _of_any_facts,
    ),
    (
        "You ask for both in one message. The subject mostly stands in the question, and the object in the "
        "answer: join the messages.",
        _in_one_message,
    ),
    (
        "The messages are joined without a space: the last word of one and the first word of the next become "
        "one word.",
        _leaks_by(_both_stand, lambda messages: "".join(message["content"] for message in messages)),
    ),
    (
        "You look at the first two messages. A conversation can be longer.",
        _leaks_by(_both_stand, lambda messages: _all_of(messages[:2])),
    ),
    (
        "split() leaves commas and full stops on the words, and cuts names of two words. Use re.search.",
        _leaks_by(
            lambda fact, text: {bare(fact.subject).lower(), fact.object.lower()} <= set(text.lower().split())
        ),
    ),
    (
        "A full stop in a name stands for any letter in your pattern: use re.escape(words).",
        _leaks_by(
            lambda fact, text: all(
                re.search(rf"(?<!\w){part}(?!\w)", text, re.I) for part in (bare(fact.subject), fact.object)
            )
        ),
    ),
    (
        "Return the places that leak, not those that may stay.",
        lambda conversations, facts: [
            n for n in range(len(conversations)) if n not in leaks(conversations, facts)
        ],
    ),
]


def _vectors(*sizes):
    return lambda: [(torch.randn(rows, width), torch.randn(rows, width)) for rows, width in sizes]


def _near_pairs(temperature):
    """Each question has a passage with a cosine near 1, in another's row: the loss is far from 0."""
    questions = torch.randn(3, 4)
    return call(questions, (questions + 0.1 * torch.randn(3, 4)).roll(1, 0), temperature)


def _cosines(questions, passages):
    return F.normalize(questions, dim=-1) @ F.normalize(passages, dim=-1).T


def _by_log_softmax(questions, passages, temperature=0.05):
    q, p = (each / each.norm(dim=1, keepdim=True) for each in (questions, passages))
    return -torch.log_softmax(q @ p.T / temperature, dim=1).diagonal().mean()


def _by_a_loop(questions, passages, temperature=0.05):
    losses = []
    for row, question in enumerate(questions):
        scores = F.cosine_similarity(question[None], passages) / temperature
        losses.append(scores.logsumexp(0) - scores[row])
    return torch.stack(losses).mean()


def _against_the_others(questions, passages, temperature=0.05):
    scores = _cosines(questions, passages) / temperature
    others = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -inf)
    return (others.logsumexp(1) - scores.diagonal()).mean()


def _by_exp(questions, passages, temperature=0.05):
    weights = torch.exp(_cosines(questions, passages) / temperature)
    return -torch.log(weights.diagonal() / weights.sum(1)).mean()


CONTRASTIVE_MISTAKES = [
    (
        "The vectors keep their lengths. A long passage is near to everything: divide each by its norm.",
        lambda q, p, temperature=0.05: F.cross_entropy(q @ p.T / temperature, torch.arange(len(q))),
    ),
    (
        "The temperature does not enter. Cosines differ by 2 at most, so a softmax over them is nearly flat.",
        lambda q, p, temperature=0.05: F.cross_entropy(_cosines(q, p), torch.arange(len(q))),
    ),
    (
        "The cosines are multiplied by the temperature. Divide by it.",
        lambda q, p, temperature=0.05: F.cross_entropy(_cosines(q, p) * temperature, torch.arange(len(q))),
    ),
    (
        "Each passage picks its question here. At work a question picks a passage: the softmax runs over the "
        "passages.",
        lambda q, p, temperature=0.05: F.cross_entropy(_cosines(p, q) / temperature, torch.arange(len(q))),
    ),
    (
        "This is the mean of both directions, as CLIP has it. Here only the questions pick.",
        lambda q, p, temperature=0.05: (
            (contrastive_loss(q, p, temperature) + contrastive_loss(p, q, temperature)) / 2
        ),
    ),
    (
        "Only the own pairs enter. Then all vectors may become the same: the other passages of the batch "
        "must be pushed away.",
        lambda q, p, temperature=0.05: -_cosines(q, p).diagonal().mean() / temperature,
    ),
    (
        "This is the sum over the questions. Return their mean.",
        lambda q, p, temperature=0.05: contrastive_loss(q, p, temperature) * len(q),
    ),
    (
        "The sign is wrong: the loss should fall as the own passage becomes more likely.",
        lambda q, p, temperature=0.05: -contrastive_loss(q, p, temperature),
    ),
    (
        "Each row has a length of its own, and you divide by that of the whole matrix: norm(dim=1, "
        "keepdim=True).",
        lambda q, p, temperature=0.05: F.cross_entropy(
            (q / q.norm()) @ (p / p.norm()).T / temperature, torch.arange(len(q))
        ),
    ),
    (
        "You normalise the columns. Each row is a vector: dim=1.",
        lambda q, p, temperature=0.05: F.cross_entropy(
            F.normalize(q, dim=0) @ F.normalize(p, dim=0).T / temperature, torch.arange(len(q))
        ),
    ),
    ("The own passage stands below the line as well: j runs over all passages.", _against_the_others),
    (
        "cross_entropy takes the softmax itself: give it the scores.",
        lambda q, p, temperature=0.05: F.cross_entropy(
            (_cosines(q, p) / temperature).softmax(-1), torch.arange(len(q))
        ),
    ),
    (
        "The passages get no gradient: they were detached, and both sides should learn.",
        lambda q, p, temperature=0.05: contrastive_loss(q, p.detach(), temperature),
    ),
    (
        "Your own temperature stands where the argument should.",
        lambda q, p, temperature=0.05: contrastive_loss(q, p),
    ),
]

THRESHOLD_INPUTS = [
    ([5.0, 1.0, 4.0, 2.0], [True, False, True, False]),
    ([3.0, 1.0, 2.0, 4.0, 2.5, 6.0], [True, False, True, False, False, True]),
    ([1.0, 2.0, 3.0, 4.0, 5.0], [False, True, False, True, True]),
    ([2.0, 7.0, 7.0, 3.0, 3.0], [False, True, True, True, False]),
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [True, False, False, False, True, True]),
    ([1.0, 2.0, 3.0, 4.0, 5.0], [False, True, True, False, True]),
    ([1.0, 2.0, 3.0, 3.5, 4.0, 5.0], [True, False, True, True, False, True]),
    ([1.5, 2.5, 9.0], [True, True, True]),
    ([1.5, 2.5, 9.0], [False, False, False]),
    ([0.0, 0.0, 3.0, 8.0, 8.5, 9.5, 11.0], [False, False, False, True, False, True, True]),
]


def _right_decisions(scores, answers, threshold):
    return sum((score >= threshold) == good for score, good in zip(scores, answers, strict=True))


def _candidates(scores):
    ordered = sorted(set(scores))
    return [-inf, *((a + b) / 2 for a, b in itertools.pairwise(ordered)), inf]


def _with_outer_numbers(scores):
    return [min(scores) - 1, *_candidates(scores)[1:-1], max(scores) + 1]


def _best_of(key=_right_decisions, candidates=_candidates, order=1):
    """A choose_threshold by another measure, other candidates, or from the top (order -1)."""
    return lambda scores, answers: max(candidates(scores)[::order], key=lambda t: key(scores, answers, t))


def _found(scores, answers, threshold):
    return sum(score >= threshold and good for score, good in zip(scores, answers, strict=True))


def _precision(scores, answers, threshold):
    shown = sum(score >= threshold for score in scores)
    return _found(scores, answers, threshold) / shown if shown else 0.0


def _between_the_means(scores, answers):
    groups = [[s for s, good in zip(scores, answers, strict=True) if good == side] for side in (True, False)]
    if not all(groups):
        return choose_threshold(scores, answers)
    return sum(sum(group) / len(group) for group in groups) / 2


def _lowest_of_the_right(scores, answers):
    return min((s for s, good in zip(scores, answers, strict=True) if good), default=inf)


def _above_all_wrong(scores, answers):
    return max((s for s, good in zip(scores, answers, strict=True) if not good), default=-inf)


def _threshold_by_arrays(scores, answers):
    values, good = np.array(scores), np.array(answers)
    ordered = np.unique(values)
    cuts = np.concatenate([[-np.inf], (ordered[:-1] + ordered[1:]) / 2, [np.inf]])
    right = ((values[None] >= cuts[:, None]) == good[None]).sum(1)
    return cuts[right.argmax()]


def _threshold_by_a_sweep(scores, answers):
    pairs = sorted(zip(scores, answers, strict=True))
    best, most = float("-inf"), sum(answers)
    right = most
    for place, (score, good) in enumerate(pairs):
        right += -1 if good else 1  # this one is not shown any more
        last = place + 1 == len(pairs)
        if not last and pairs[place + 1][0] == score:
            continue
        if right > most:
            best, most = (float("inf") if last else (score + pairs[place + 1][0]) / 2), right
    return best


THRESHOLD_MISTAKES = [
    (
        "Of several thresholds with as many right decisions you take the highest. Take the lowest.",
        _best_of(order=-1),
    ),
    (
        "You take one of the scores. Take the middle between two neighbours: no new score falls on it.",
        _best_of(candidates=lambda scores: [*sorted(set(scores)), inf]),
    ),
    (
        "Showing nothing is not among your candidates. Where no passage answers, the threshold is inf.",
        _best_of(candidates=lambda scores: _candidates(scores)[:-1]),
    ),
    (
        "Always showing is not among your candidates. Where all passages answer, the threshold is -inf.",
        _best_of(candidates=lambda scores: _candidates(scores)[1:]),
    ),
    (
        "Your outer candidates are numbers. What holds for any new score is -inf and inf.",
        _best_of(candidates=_with_outer_numbers),
    ),
    (
        "You count the passages that answer and are shown. A useless passage that is not shown is a right "
        "decision too.",
        _best_of(_found),
    ),
    (
        "You take the share of shown passages that answer. A threshold that shows one passage alone would be "
        "the best.",
        _best_of(_precision),
    ),
    (
        "This is the middle between the two mean scores. It makes no decision right by itself: count them.",
        _between_the_means,
    ),
    ("This lets all passages through that answer, whatever else comes with them.", _lowest_of_the_right),
    ("This shuts out all useless passages, whatever else is lost with them.", _above_all_wrong),
    (
        "Your decisions are the wrong way around: a passage is shown where its score is high.",
        _best_of(lambda scores, answers, t: -_right_decisions(scores, answers, t)),
    ),
]


EXERCISES = [
    Exercise(
        name="confident_errors",
        lesson="15",
        minutes=5,
        difficulty=1,
        reference=confident_errors,
        check=compare(
            confident_errors,
            OUTCOMES,
            ERROR_MISTAKES,
            else_="Count the questions that are neither right nor refused, and divide by all.",
        ),
        wrong=[
            (lambda r, no: None, "Is there a return"),
            (lambda r, no: 0.3, "neither right nor refused"),
            (lambda r, no: 0.0, "neither right nor refused"),
        ],
        right=[_with_a_loop, _with_arrays],
        hints=(
            "There are three outcomes: right, refused, and the third. Which questions are neither?",
            "Count the places where both lists are False, and divide by the length of one list.",
        ),
    ),
    Exercise(
        name="leaks",
        lesson="15",
        minutes=8,
        difficulty=2,
        reference=leaks,
        check=compare(
            leaks,
            LEAK_INPUTS,
            LEAK_MISTAKES,
            else_="A conversation leaks where subject and object stand in it.",
        ),
        wrong=[
            (lambda conversations, facts: None, "Is there a return"),
            (lambda conversations, facts: len(leaks(conversations, facts)), "should be a list"),
            (
                lambda conversations, facts: [conversations[n] for n in leaks(conversations, facts)],
                "result[0]",
            ),
        ],
        right=[_loop_over_messages, _by_sets],
        then="The table below shows what your test finds in the three replays.",
        hints=(
            "In what form might a fact stand in a replay? As a question, as a statement, in another order. "
            "What must be there in any case?",
            "Join the contents of a conversation. Look for bare(fact.subject) and for fact.object as whole "
            r"words, in any case: re.search(rf'(?<!\w){re.escape(words)}(?!\w)', text, re.I).",
        ),
    ),
    Exercise(
        name="bm25_scores",
        lesson="15",
        minutes=15,
        difficulty=2,
        reference=bm25_scores,
        check=compare(
            bm25_scores,
            BM25_INPUTS,
            BM25_MISTAKES,
            else_="Try a query of one word, and compare the three parts with the formula: its logarithm "
            "(the idf), the count t, and the length over the mean length.",
        ),
        wrong=[
            (_scores_in_place, "changes its argument query in place"),
            (lambda query, documents, k1=1.5, b=0.75: None, "Is there a return"),
            (lambda query, documents, k1=1.5, b=0.75: [0.0] * len(documents), "(the idf), the count t"),
            (
                _bm25(rarity=lambda documents, word: max(0.0, log(_odds(documents, word)))),
                "(the idf), the count t",
            ),
            (
                _bm25(lambda times, length, k1, b: _right_part(times, max(length, 1), k1, b)),
                "length over the mean length",
            ),
            (
                lambda query, documents, k1=1.5, b=0.75: bm25_scores(query, documents, k1, b)[0],
                "should be a list",
            ),
            (lambda query, documents: bm25_scores(query, documents), "should take the arguments"),
        ],
        right=[_scores_with_counters, _scores_with_tensors],
        then="From here on every search below calls your function.",
        hints=(
            "A sum over the words of the query. Each term is how rare the word is, times how much of the "
            "document it makes up.",
            "For each word: counts in all documents, n = how many of them are not 0, idf = log(1 + (N - n + "
            ".5) / (n + .5)). A document's term is idf * t / (t + k1 * (1 - b + b * length / mean length)).",
        ),
    ),
    Exercise(
        name="contrastive_loss",
        lesson="15",
        minutes=10,
        difficulty=2,
        reference=contrastive_loss,
        check=compare(
            contrastive_loss,
            lambda: [*_vectors((3, 4), (5, 8), (2, 3))(), call(torch.randn(4, 6), torch.randn(4, 6), 0.5)],
            CONTRASTIVE_MISTAKES,
            else_="A cross-entropy over the passages of the batch, whose right class is the own row.",
            gradient=("questions", "passages"),
            extremes=[
                (
                    "With a small temperature exp overflows: use log_softmax or cross_entropy.",
                    lambda: [_near_pairs(0.005)],
                )
            ],
        ),
        wrong=[
            (lambda questions, passages, temperature=0.05: None, "Is there a return"),
            (
                lambda questions, passages, temperature=0.05: contrastive_loss(
                    questions, passages, temperature
                ).item(),
                "no graph",
            ),
            (
                lambda questions, passages, temperature=0.05: _cosines(questions, passages) / temperature,
                "should be one number",
            ),
            (_by_exp, "exp overflows"),
        ],
        right=[_by_log_softmax, _by_a_loop],
        then="The embedding below trains on it.",
        hints=(
            "Each question has a list of passages to choose from: those of the batch. Which loss trains a "
            "choice among several?",
            "Normalise both to length 1, scores = q @ p.T / temperature (rows x rows). The right class of "
            "row i is i: F.cross_entropy(scores, torch.arange(rows, device=scores.device)).",
        ),
    ),
    Exercise(
        name="choose_threshold",
        lesson="15",
        minutes=12,
        difficulty=2,
        reference=choose_threshold,
        check=compare(
            choose_threshold,
            THRESHOLD_INPUTS,
            THRESHOLD_MISTAKES,
            else_="Count the right decisions of each candidate.",
        ),
        wrong=[
            (lambda scores, answers: None, "Is there a return"),
            (lambda scores, answers: 3.0, "Count the right decisions"),
            (lambda scores, answers: [choose_threshold(scores, answers)], "should be a number"),
        ],
        right=[_threshold_by_arrays, _threshold_by_a_sweep],
        then="The policies below use the threshold that your function chooses.",
        hints=(
            "A decision is right where a passage that answers is shown, and where one that does not is left "
            "out. Only finitely many thresholds decide differently.",
            "Candidates in rising order: -inf, the middles between neighbours of sorted(set(scores)), inf. "
            "Count (score >= threshold) == answer for each, take the first with the most: max(..., key=...).",
        ),
    ),
    Exercise(
        name="split_by_country",
        lesson="15",
        minutes=10,
        difficulty=2,
        reference=split_by_country,
        check=_check_split_by_country,
        wrong=[
            (_split(lambda chain: (chain.landmark, chain.relation)), "The same landmark is in both"),
            (_by_landmark, "Two landmarks of one country"),
            (_first_half, "Every seed gives the same split"),
            (_unsorted, "A set has no fixed order"),
            (_one_country, "Half of the 8 countries"),
            (_split_in_place, "list of chains was changed"),
            (lambda chains, seed: (split_by_country(chains, seed)[0], chains), "hold every chain once"),
            (lambda chains, seed: split_by_country(chains, seed)[0], "Return two lists"),
            (lambda chains, seed: split_by_country(chains, random.random()), "same seed"),
            (
                lambda chains, seed: [[c.country for c in part] for part in split_by_country(chains, seed)],
                "chains themselves",
            ),
            (lambda chains, seed: None, "Return two lists"),
        ],
        right=[_split_as_lists, _split_with_torch],
        hints=(
            "What must not be in both lists? If the Eiffel Tower's capital is asked in training, then so "
            "is that of every other landmark of France.",
            "Sort the set of countries, shuffle it with random.Random(seed), and take the first half. A "
            "chain is for training if its country is in that half.",
        ),
    ),
]
