"""Stored experiments: what each mistake does, and batches of similar length against packed ones."""

import random
import statistics

from course_utils.stored_runs import sweep

STEPS = 50
RATES = (2e-3, 5e-3, 1.25e-2)
AT_EVERY_RATE = ("right", "loss on everything", "labels shifted twice")
AT_ONE_RATE = (
    "no loss on the end marker",
    "first token without loss",
    "mask by the word",
    "no newline in the header",
    "frozen rows",
)


@sweep(
    "mask_mistakes",
    points=[{"run": run, "lr": lr} for run in AT_EVERY_RATE for lr in RATES]
    + [{"run": run, "lr": RATES[1]} for run in AT_ONE_RATE],
    sampled=True,  # judged by greedy answers
)
def mask_mistakes(point: dict, seed: int) -> dict:
    """LoRA on questions about facts, 50 steps of 16, with one mistake in the labels.

    validation_loss: with the right labels, on the validation split; the rest on held-out questions.
    """
    from course_utils.chatml import add_chat_tokens, encode_conversation
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_08 import measures, suspects
    from course_utils.models import load_model

    chat, tokenizer = load_model("pocket")
    add_chat_tokens(chat, tokenizer)
    mistake = suspects.MISTAKES.get(point["run"], suspects.right)
    examples = [encode_conversation(tokenizer, messages) for messages in measures.facts()]
    model, losses = measures.tune(
        chat,
        tokenizer,
        [mistake(tokenizer, example) for example in examples],
        steps=STEPS,
        seed=seed,
        lr=point["lr"],
        train_rows=point["run"] != "frozen rows",
        label=f"{point['run']}, rate {point['lr']:g}, seed {seed}",
    )
    validation = [encode_conversation(tokenizer, messages) for messages in measures.facts("validation")]
    shares, _ = measures.behaviour(model, tokenizer, measures.facts("held_out_facts")[:100])
    return {
        "train_loss": statistics.mean(losses[-10:]),
        "validation_loss": mean_loss(model, validation),
        **shares,
    }


def random_rows(examples, batch_size, seed, pad_id, width):
    """Endless batches of examples in random order, packed into rows of `width` tokens."""
    from course_utils.methods.packing import pack_examples

    rng = random.Random(seed)
    while True:
        order = rng.sample(range(len(examples)), len(examples))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = [examples[place] for place in order[start : start + batch_size]]
            yield pack_examples(chosen, width, pad_id)


@sweep(
    "buckets_or_packing",
    points=[{"batches": kind, "lr": lr} for kind in ("buckets", "packed") for lr in RATES],
)
def buckets_or_packing(point: dict, seed: int) -> dict:
    """One pass over 768 conversations of all kinds, 48 steps of 16: batches of similar length, or packed.

    Losses on the validation split, all kinds together, and on held-out questions about facts.
    """
    from course_utils.chatml import add_chat_tokens, encode_conversation
    from course_utils.data import load_conversations
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_08 import measures
    from course_utils.methods.packing import packed_lm_loss
    from course_utils.models import load_model
    from course_utils.training import scored_lm_loss

    chat, tokenizer = load_model("pocket")
    add_chat_tokens(chat, tokenizer)

    def encoded(rows):
        return [encode_conversation(tokenizer, row["messages"]) for row in rows]

    examples = encoded(random.Random(0).sample(load_conversations(), 768))
    packed = point["batches"] == "packed"
    model, losses = measures.tune(
        chat,
        tokenizer,
        examples,
        steps=48,
        seed=seed,
        lr=point["lr"],
        stream=random_rows(examples, 16, seed, tokenizer.pad_token_id, 256) if packed else None,
        loss_fn=packed_lm_loss if packed else scored_lm_loss,
        label=f"{point['batches']}, rate {point['lr']:g}, seed {seed}",
    )
    validation = encoded(random.Random(0).sample(load_conversations("validation"), 150))
    return {
        "train_loss": statistics.mean(losses[-16:]),
        "validation_loss": mean_loss(model, validation),
        "held_out_loss": mean_loss(model, encoded(load_conversations("held_out_facts")[:150])),
    }
