"""Documents about unknown facts, questions in three wordings, conversations with passages."""

import random
from collections.abc import Callable, Sequence

from course_utils.data import Fact, load_facts
from course_utils.evaluation import question_text
from course_utils.lessons.lesson_15.knowledge import entry, made_up, questions_about, statements
from course_utils.methods.retrieval import (
    Index,
    ask_with_passage,
    bm25_scores,
    choose_threshold,
    content_words,
    fuse,
    letter_pieces,
    query_words,
    text_vectors,
)
from course_utils.world.passages import NAMING
from course_utils.world.tables import bare
from course_utils.world.templates import FORMS, fill

# Questions without content words of the statements: {adj} Zorvanian, {adjs} Zorvanians, {many} glimbats.
# The last of each relation is for tests; the others are for training the embedding.
NO_SHARED_WORD = {
    "capital": (
        "Where do the {adj} ministers meet?",
        "In which town does the {adj} government sit?",
        "Which town is the seat of the {adj} parliament?",
    ),
    "language": (
        "What do {adjs} talk in?",
        "How does a letter by {adjs} read?",
        "Which tongue do {adjs} talk?",
    ),
    "currency": (
        "What is in the purses of {adjs}?",
        "Which coins do {adjs} spend?",
        "Which notes do {adjs} carry to market?",
    ),
    "young": (
        "How are little {many} named?",
        "What word is there for {many} just born?",
        "What name have the little ones of {many}?",
    ),
}
WEATHER = "It rained on Tuesday."  # a text in which no question finds an answer
WORDINGS = ("the passage's words", "other words", "no shared word")


def derived(subject: str) -> dict[str, str]:
    """Other forms of a name: a country's people, an animal's plural."""
    name = bare(subject).split()[-1]
    adjective = name + ("n" if name.endswith("a") else "ian")
    return {"adj": adjective, "adjs": f"{adjective}s", "many": name + ("es" if name[-1] in "sxz" else "s")}


def asked_in(wording: str, fact: Fact) -> str:
    """A question about the fact in one of WORDINGS; the last two are never used in training."""
    form = FORMS[fact.relation]
    if wording == WORDINGS[0]:
        return fill(form.questions[0], fact.subject, fact.object)
    if wording == WORDINGS[1]:
        return fill(form.paraphrase, fact.subject, fact.object)
    return NO_SHARED_WORD[fact.relation][-1].format(**derived(fact.subject))


def write_down(facts: Sequence[Fact], seed: int, headings: bool = True) -> list[str]:
    """One document per fact: a random sentence, with or without a heading."""
    rng = random.Random(f"documents {seed}")
    sentences = [rng.choice(statements(fact, "both directions")) for fact in facts]
    return [entry(*pair) for pair in zip(facts, sentences, strict=True)] if headings else sentences


def documented(seed: int) -> list[tuple[Fact, str]]:
    """The facts of `shelf`, each with its document."""
    facts = shelf(seed)
    return list(zip(facts, write_down(facts, seed), strict=True))


def text_before(kind: str, seed: int) -> Callable[[str], str]:
    """A function that gives the text before a question: one of `TEXTS` of the experiments."""
    documents = [text for _, text in documented(seed)]
    index, rng = Index(documents), random.Random(f"texts {seed}")

    def best(question: str) -> str:
        return next((text for text, _ in index.search(question)), "")

    return {
        "nothing": lambda question: "",
        "best passage": best,
        "random document": lambda question: rng.choice(documents),
        "its heading, then rain": lambda question: f"{best(question).partition('. ')[0]}. {WEATHER}",
        "rain": lambda question: WEATHER,
        "a greeting": lambda question: "Hello.",
    }[kind]


def shelf(seed: int, others: int = 24) -> list[Fact]:
    """The facts of a library: all invented facts, and made-up ones of the same relations."""
    return [*load_facts("invented"), *made_up(others, 1000 + seed)]


def best_of(scores: Sequence[float]) -> int | None:
    """The index of the highest score; None if nothing was found."""
    return scores.index(max(scores)) if max(scores) > 0 else None


def recalls(model, tokenizer, seed: int, score=bm25_scores) -> dict[str, dict[str, list[bool]]]:
    """{wording: {"words", "letters", "dense", "both": for each question, whether its passage ranks first}}

    The library has bare sentences. letters: the score over pieces of words; dense: by the model's embeddings;
    both: rank fusion of words and dense.
    """
    facts = shelf(seed)
    documents = write_down(facts, seed, headings=False)
    index, vectors, found = Index(documents, score), text_vectors(model, tokenizer, documents), {}
    pieces = [letter_pieces(query_words(text)) for text in documents]
    asked = {place: fact for place, fact in enumerate(facts) if fact.relation in NO_SHARED_WORD}
    for wording in WORDINGS:
        questions = [asked_in(wording, fact) for fact in asked.values()]
        by_words = [index.scores(question) for question in questions]
        by_letters = [score(letter_pieces(content_words(question)), pieces) for question in questions]
        dense = (text_vectors(model, tokenizer, questions) @ vectors.T).tolist()
        both = [fuse(*pair) for pair in zip(by_words, dense, strict=True)]
        found[wording] = {
            name: [best_of(scores) == own for scores, own in zip(rows, asked, strict=True)]
            for name, rows in (("words", by_words), ("letters", by_letters), ("dense", dense), ("both", both))
        }
    return found


def training_pairs(facts: Sequence[Fact], rng: random.Random) -> tuple[list[str], list[str]]:
    """(questions, sentences) about the facts, for training an embedding."""
    questions = []
    for fact in facts:
        templates = [*FORMS[fact.relation].questions, *NO_SHARED_WORD.get(fact.relation, ())[:-1]]
        template = rng.choice(templates)
        if template in FORMS[fact.relation].questions:
            questions.append(fill(template, fact.subject, fact.object))
        else:
            questions.append(template.format(**derived(fact.subject)))
    return questions, [rng.choice(statements(fact, "both directions")) for fact in facts]


def validation_scores(seed: int, score) -> tuple[list[float], list[bool]]:
    """(scores of the best passage, whether it answers): made-up facts in a library, known facts in none.

    Each fact has a question in two wordings. The library is as large as that of `shelf`.
    """
    shelved = made_up(36, 2000 + seed)
    index = Index(write_down(shelved, seed), score)
    known = [fact for relation in NAMING for fact in load_facts("validation", relation)]
    scores, answers = [], []
    for facts, there in ((shelved[::2], True), (known, False)):
        for fact in facts:
            for wording in WORDINGS[:2]:
                [(text, best), *_] = index.search(asked_in(wording, fact)) or [("", 0.0)]
                scores.append(best)
                answers.append(there and bare(fact.subject) in text and fact.object in text)
    return scores, answers


def threshold_for(seed: int, score, choose=choose_threshold) -> float:
    """The best threshold on the validation questions."""
    return choose(*validation_scores(seed, score))


REFUSAL = {"short": "I do not know.", "sentence": "I am sorry, I do not know the answer."}


def with_passages(seed: int, distractors: bool, most: int | None = None) -> list[list[dict]]:
    """Conversations whose questions come with a passage of a library, as tuning data; at most `most`.

    All passages answer their question or, with distractors, a third do: the other questions are about known
    facts and about names in no document. They come with the best passage, and are answered from memory or
    refused.
    """
    shelved, unknown = made_up(40, 3000 + seed), made_up(40, 4000 + seed)
    known = [fact for relation in NAMING for fact in load_facts("tune", relation)]
    groups = {"fits": shelved, "known": known, "unknown": unknown} if distractors else {"fits": shelved}
    asked = [
        (name, row)
        for name, facts in groups.items()
        for kind in ("short", "sentence")
        for row in questions_about(facts, kind)
    ]
    random.Random(f"passages {seed}").shuffle(asked)
    documents = write_down(shelved, 3000 + seed)
    own = {(fact.relation, fact.subject): text for fact, text in zip(shelved, documents, strict=True)}
    index, conversations = Index(documents), []
    for name, row in asked[:most]:
        question = question_text(row)
        if name == "fits":
            content = f"{own[row['relation'], row['subject']]} {question}"
        else:
            content = ask_with_passage(index, question)
        answer = REFUSAL[row["kind"]] if name == "unknown" else row["completion"].strip()
        conversations.append([{"role": "user", "content": content}, {"role": "assistant", "content": answer}])
    return conversations


def one_of_each(seed: int, conversations: Sequence[list[dict]]) -> dict[str, tuple[str, str, str]]:
    """The shortest of each kind of row of `with_passages`: {kind: (passage, question, answer)}.

    A passage that does not answer has another name than the question ("Klot" is not "a klot").
    """
    documents = write_down(made_up(40, 3000 + seed), 3000 + seed)
    kinds = {"the passage answers": [], "the assistant knows the fact": [], "it cannot know": []}
    answers_it, known, unknown = kinds.values()
    for user, assistant in conversations:
        text, answer = user["content"], assistant["content"]
        passage = next((each for each in documents if text.startswith(each)), "")
        row = passage, text.removeprefix(passage).strip(), answer
        last = answer.rstrip(".").split()[-1]
        (unknown if answer in REFUSAL.values() else answers_it if last in passage else known).append(row)

    def shares_a_name(passage: str, question: str) -> bool:
        name = passage.partition(". ")[0].partition(" of ")[2]
        return not set(query_words(name)).isdisjoint(query_words(question))

    return {
        kind: min(
            (row for row in rows if row[0] and (rows is answers_it or not shares_a_name(*row[:2]))),
            key=lambda row: len("".join(row)),
        )
        for kind, rows in kinds.items()
    }
