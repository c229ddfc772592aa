"""The runs of lesson 08: a short training on questions about facts, and the tuned model's behaviour."""

import copy
from contextlib import nullcontext

from course_utils.chatml import marker_ids
from course_utils.data import batches, load_conversations
from course_utils.evaluation import normalise
from course_utils.methods.lora import apply_lora
from course_utils.methods.sft import replies
from course_utils.methods.token_rows import train_token_rows
from course_utils.training import scored_lm_loss, train

RATE = 5e-3  # best of three on the validation split
LONGEST = 16  # new tokens per answer


def facts(split="train"):
    """Conversations of one question about a fact and its answer, half of the answers in a sentence."""
    return [row["messages"] for row in load_conversations(split) if row["kind"] == "facts"]


def tune(
    chat,
    tokenizer,
    examples,
    *,
    steps,
    seed,
    lr=RATE,
    train_rows=True,
    stream=None,
    loss_fn=scored_lm_loss,
    autocast=nullcontext,
    label="training",
):
    """(a tuned copy of the chat model, the loss of each step): LoRA on all linear layers, rank 8, alpha 16.

    train_rows: also train the two rows of the markers. stream: batches other than the course's.
    """
    model = apply_lora(copy.deepcopy(chat), 8, 16.0)
    if train_rows:
        train_token_rows(model, marker_ids(tokenizer))
    stream = stream or batches(examples, 16, seed, tokenizer.pad_token_id)
    history = train(
        model, stream, steps=steps, lr=lr, loss_fn=loss_fn, seed=seed, autocast=autocast, label=label
    )
    return model, history.column("loss")[1]


def behaviour(model, tokenizer, conversations):
    """(shares of answers; the answers) on conversations' questions.

    begun: as the wanted answer begins; stopped: with the end marker, within LONGEST tokens; right words:
    those of the wanted answer, stopped or not; case, a leading article, punctuation at the ends do not count.
    """
    said = replies(model, tokenizer, [turns[:-1] for turns in conversations], max_new_tokens=LONGEST)
    wanted = [turns[-1]["content"] for turns in conversations]
    pairs = [(reply.text, want) for reply, want in zip(said, wanted, strict=True)]
    shares = {
        "begun": sum(text.startswith(want.rstrip(".")) for text, want in pairs) / len(pairs),
        "stopped": sum(reply.ended for reply in said) / len(pairs),
        "right words": sum(normalise(text) == normalise(want) for text, want in pairs) / len(pairs),
    }
    return shares, [reply.text + " ..." * (not reply.ended) for reply in said]


def six(rows):
    """Six of the rows, at fixed indices."""
    return rows[:: max(1, len(rows) // 6)][:6]
