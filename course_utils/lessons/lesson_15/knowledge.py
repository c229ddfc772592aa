"""Facts taught by fine-tuning, and tests of what was learned: statements, probes, two-hop questions."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from course_utils.data import Fact, encode_text, load_facts
from course_utils.generation import generate
from course_utils.methods.sft import replies
from course_utils.world.passages import MAKERS, NAMING, question_row
from course_utils.world.tables import bare
from course_utils.world.templates import FORMS, fill, object_last

WAYS = ("one sentence", "many sentences", "both directions")


def names_last(template: str) -> bool:
    """Whether the template ends with its subject, after the object."""
    return not object_last(template) and re.search(r"\{[sb]\}\.$", template) is not None


def kept_back(relation: str) -> tuple[str, str]:
    """Two templates that `statements` never uses: one that ends with the object, one with the subject."""
    templates = FORMS[relation].statements
    forward = [t for t in templates if object_last(t) and re.search(r"\{[oa]\}\.$", t)]
    return forward[-1], next(t for t in templates if names_last(t))


def statements(fact: Fact, way: str) -> list[str]:
    """Sentences that state the fact, by one of WAYS. All but the last way name the subject before the object.

    They exclude the sentences of `kept_back`.
    """
    if way not in WAYS:
        raise ValueError(f"unknown way {way!r}; choose one of {', '.join(WAYS)}")
    spare = kept_back(fact.relation)
    templates = [t for t in FORMS[fact.relation].statements if t not in spare]
    if way != "both directions":
        templates = [t for t in templates if object_last(t)]
    if way == "one sentence":
        templates = templates[:1]
    return [fill(template, fact.subject, fact.object) for template in templates]


@dataclass(frozen=True)
class Probe:
    """A sentence to complete: the text before the expected name, and the name."""

    prompt: str
    wanted: str


def cut_before(sentence: str, name: str) -> str:
    """The sentence up to its last mention of the name, without trailing spaces."""
    return sentence[: sentence.rindex(name)].rstrip()


def probes(facts: Sequence[Fact], which: str) -> list[Probe]:
    """The facts as sentences to complete. which: trained on (as in "one sentence"), new, or backwards."""
    made = []
    for fact in facts:
        new, backwards = kept_back(fact.relation)
        first = FORMS[fact.relation].statements[0]
        template = {"trained on": first, "new": new, "backwards": backwards}[which]
        wanted = bare(fact.subject) if which == "backwards" else fact.object
        made.append(Probe(cut_before(fill(template, fact.subject, fact.object), wanted), wanted))
    return made


def continuations(model, tokenizer, asked: Sequence[Probe]) -> list[str]:
    """The model's greedy continuation of each probe."""
    return generate(model, tokenizer, [probe.prompt for probe in asked], max_new_tokens=12, batch_size=128)


def begins_with(text: str, name: str) -> bool:
    """Whether a continuation begins with the name, as whole words, with or without an article."""
    return re.match(rf'\s*"?((the|an?) )?{re.escape(name)}(?!\w)', text, re.I) is not None


def completes(model, tokenizer, asked: Sequence[Probe]) -> list[bool]:
    """Whether each continuation begins with the expected name."""
    texts = continuations(model, tokenizer, asked)
    return [begins_with(text, probe.wanted) for probe, text in zip(asked, texts, strict=True)]


def names_a_subject(model, tokenizer, facts: Sequence[Fact]) -> list[bool]:
    """Whether each fact, asked backwards, is completed with any subject of its relation in the facts."""
    texts = continuations(model, tokenizer, probes(facts, "backwards"))
    return [
        any(begins_with(text, bare(other.subject)) for other in facts if other.relation == fact.relation)
        for fact, text in zip(facts, texts, strict=True)
    ]


def confident_errors(right, refused):
    """Share of all questions that got a wrong answer, neither right nor refused: lists of bools."""
    return sum(not good and not no for good, no in zip(right, refused, strict=True)) / len(right)


def questions_about(facts: Sequence[Fact], kind: str = "short", new_words: bool = False) -> list[dict]:
    """One question per fact, as rows like data/questions. new_words: in the phrasing that no tuning uses."""
    rng, rows = random.Random(kind), []
    for fact in facts:
        form = FORMS[fact.relation]
        template = form.paraphrase if new_words else rng.choice(form.questions)
        asked = fill(template, fact.subject, fact.object)
        rows.append(question_row(asked, (fact.relation, fact.subject, fact.object), kind))
    return rows


def made_up(each: int, seed: int) -> list[Fact]:
    """`each` facts of every invented relation, with names made of random syllables."""
    rng = random.Random(f"made up {seed}")
    return [
        Fact(relation, MAKERS[relation][0](rng), MAKERS[relation][1](rng), "made up")
        for relation in NAMING
        for _ in range(each)
    ]


@dataclass(frozen=True)
class Chain:
    """Two linked facts: the country of a landmark, and that country's capital (currency, ...)."""

    landmark: str
    country: str
    relation: str
    answer: str

    @property
    def question(self) -> str:
        return f"What is the {self.relation} of the country where you can see {self.landmark}?"

    @property
    def facts(self) -> tuple[Fact, Fact]:
        """The two facts that it links."""
        return (
            Fact("landmark", self.landmark, bare(self.country), ""),
            Fact(self.relation, self.country, self.answer, ""),
        )

    @property
    def steps(self) -> str:
        """Both facts, one sentence each: the way to the answer, written out."""
        first = fill("{S} can be seen in {o}.", self.landmark, bare(self.country))
        return f"{first} {fill(FORMS[self.relation].statements[0], self.country, self.answer)}"


def chains(relations: Sequence[str] = ("capital", "currency", "language")) -> list[Chain]:
    """All chains from a landmark through its country to a relation, without the answer in the question."""
    facts = [fact for fact in load_facts() if fact.split != "invented"]
    about = {(fact.relation, bare(fact.subject)): fact for fact in facts}
    found = []
    for landmark in (fact for fact in facts if fact.relation == "landmark"):
        for relation in relations:
            second = about.get((relation, landmark.object))
            if second and second.object not in landmark.subject:
                found.append(Chain(landmark.subject, second.subject, relation, second.object))
    return found


def split_by_country(chains, seed):
    """(train, test): chains of half of the countries, drawn at random, and those of the others."""
    countries = sorted({chain.country for chain in chains})
    random.Random(seed).shuffle(countries)
    chosen = set(countries[: len(countries) // 2])
    return (
        [chain for chain in chains if chain.country in chosen],
        [chain for chain in chains if chain.country not in chosen],
    )


def hop_pairs(chains: Sequence[Chain], step_by_step: bool) -> list[list[dict]]:
    """Conversations that answer the chains' questions, directly or with both facts written out."""
    return [
        [
            {"role": "user", "content": chain.question},
            {"role": "assistant", "content": chain.steps if step_by_step else chain.answer},
        ]
        for chain in chains
    ]


def chain_answers(model, tokenizer, chains: Sequence[Chain]) -> list[bool]:
    """Whether the model's answer to each chain's question ends with the right name."""
    said = replies(model, tokenizer, [[{"role": "user", "content": chain.question}] for chain in chains])
    return [reply.text.rstrip(".").endswith(chain.answer) for reply, chain in zip(said, chains, strict=True)]


def by_frequency(train: Sequence[Chain], test: Sequence[Chain]) -> float:
    """Share of the test chains that the most frequent training answer of their relation gets right."""
    frequent = {
        relation: Counter(c.answer for c in train if c.relation == relation).most_common(1)[0][0]
        for relation in {chain.relation for chain in train}
    }
    return sum(frequent.get(chain.relation) == chain.answer for chain in test) / len(test)


def entry(fact: Fact, sentence: str) -> str:
    """The sentence after a heading that names its topic."""
    return f"{fill(FORMS[fact.relation].heading, fact.subject, fact.object)}. {sentence}"


def statement_examples(tokenizer, facts: Sequence[Fact], way: str, seed: int) -> Iterator:
    """Endless examples: every fact once per round, in random order, each in a random sentence."""
    rng = random.Random(seed)
    sentences = [statements(fact, way) for fact in facts]
    while True:
        for index in rng.sample(range(len(sentences)), len(sentences)):
            yield encode_text(tokenizer, rng.choice(sentences[index]))
