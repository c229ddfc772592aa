"""Lesson 02's measures of a model: answers, old texts, and statements of facts that no replay repeats."""

import random
import re
from dataclasses import dataclass

import torch

from course_utils.data import (
    DATA,
    Example,
    batches,
    chunks_by_length,
    collate,
    encode,
    encode_prompt_completion,
    encode_text,
    load_facts,
    load_questions,
    load_source_texts,
    read_jsonl,
)
from course_utils.evaluation import answer_questions, mean_loss, score_answers
from course_utils.models import eval_mode
from course_utils.stored_runs import few
from course_utils.world.tables import bare
from course_utils.world.templates import FORMS, TAKES_THE, fill

QUESTIONS, TEXTS, FACTS = 150, 60, 144  # numbers of questions, texts and facts measured


@dataclass(frozen=True)
class Yardstick:
    """Encoded examples: questions for selection and for the report, old texts, statements of facts."""

    validation: list[Example]
    held_out: list[Example]
    texts: list[Example]
    statements: list[Example]

    def measure(self, model) -> dict:
        """Losses in nats per token; `known`: the share of the statements whose object the model completes."""
        fact_loss, known = statement_scores(model, self.statements)
        return {
            "validation_loss": mean_loss(model, self.validation),
            "answer_loss": mean_loss(model, self.held_out),
            "text_loss": mean_loss(model, self.texts),
            "fact_loss": fact_loss,
            "known": known,
        }


def yardstick(tokenizer, questions=QUESTIONS, texts=TEXTS, facts=FACTS) -> Yardstick:
    """The examples on which the stored runs are measured, or fewer or more of them."""

    def some(split):
        rows = load_questions(split)
        return encode_questions(tokenizer, random.Random(0).sample(rows, min(few(questions, 8), len(rows))))

    old = [encode_text(tokenizer, text) for text in load_source_texts()[: few(texts, 4)]]
    unrepeated = random.Random(0).sample(never_replayed(), few(facts, 8))
    return Yardstick(some("validation"), some("held_out"), old, encode_statements(tokenizer, unrepeated))


def encode_questions(tokenizer, rows):
    """Question rows as examples with loss on the answer and its end."""
    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]


def words(text):
    """The words of a text with single spaces around them, so that one text can be searched for in another."""
    found = re.findall(r"[^\W_]+", text)
    return f" {' '.join(found)} "


def never_replayed():
    """The held-out facts that no replay text states: subject and object never occur together in one."""
    texts = [words(text) for text in load_source_texts("replay")]
    return [
        fact
        for fact in load_facts("held_out")
        if not any(words(bare(fact.subject)) in text and words(fact.object) in text for text in texts)
    ]


def encode_statements(tokenizer, facts):
    """Each fact as a statement, such as "The capital of Angola is Luanda", with loss on the object alone."""
    examples = []
    for fact in facts:
        start = encode(tokenizer, fill(FORMS[fact.relation].probe, fact.subject, fact.object))
        wanted = encode(tokenizer, (" the " if fact.object in TAKES_THE else " ") + fact.object)
        examples.append(Example(start + wanted, [-100] * len(start) + wanted))
    return examples


@torch.no_grad()
def statement_scores(model, examples, batch_size=64):
    """(mean loss on the objects' tokens, share of examples whose tokens with loss are all likeliest)."""
    right = []
    with eval_mode(model):
        for chunk in chunks_by_length(examples, batch_size, lambda example: len(example.input_ids)):
            batch = collate([examples[index] for index in chunk], 0)
            batch = {name: value.to(model.device) for name, value in batch.items()}
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
            targets = batch["labels"][:, 1:]  # (rows, tokens - 1)
            right += ((logits.argmax(-1) == targets) | (targets == -100)).all(1).tolist()
    return mean_loss(model, examples), sum(right) / len(right)


def question_stream(tokenizer, seed, batch_size=16):
    """Endless batches of training questions."""
    examples = encode_questions(tokenizer, load_questions("tune"))
    return batches(examples, batch_size, seed, tokenizer.pad_token_id)


def replay_stream(tokenizer, seed, texts):
    """Alternating batches of questions and of texts like those of pre-training, for accumulate=2."""
    old = [encode_text(tokenizer, text) for text in load_source_texts("replay")]
    old_batches = batches(old, texts, seed, tokenizer.pad_token_id)
    for questions, repeated in zip(question_stream(tokenizer, seed), old_batches, strict=True):
        yield questions
        yield repeated


def answering(model, tokenizer, questions=100) -> dict:
    """On held-out questions: the share answered, and the mean number of tokens per answer."""
    asked = random.Random(1).sample(load_questions("held_out"), questions)
    answers = answer_questions(model, tokenizer, asked)
    return {
        "answered": score_answers(answers, asked)[0],
        "tokens": sum(len(encode(tokenizer, answer)) for answer in answers) / len(answers),
    }


def texts_by_kind(tokenizer, texts):
    """{kind: encoded texts} of the first `texts` held-out texts like those of pre-training."""
    kinds = {}
    for row in read_jsonl(DATA / "source" / "held_out.jsonl")[:texts]:
        kinds.setdefault(row["kind"], []).append(encode_text(tokenizer, row["text"]))
    return kinds
