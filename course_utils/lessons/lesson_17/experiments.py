"""Stored experiments on splits that leak: what a leak is worth, and the support desk split in two ways.

Also the example's training with answers dealt out at random.
"""

import random
from collections.abc import Sequence

import torch

from course_utils.data import batches, encode_prompt_completion, load_facts
from course_utils.evaluation import difference_interval, fact_accuracy, wilson_interval
from course_utils.lessons.lesson_17.desk import TEMPLATES, support_chats
from course_utils.own.own_data import Conversation, leaks, question_groups
from course_utils.own.own_run import agrees, context, shared_words
from course_utils.own.prompting import Prompt, answers_by_prompt, as_text
from course_utils.own.split import leak_free_split
from course_utils.own.template_groups import from_opening, template_groups, templates_of
from course_utils.stored_runs import few, sweep
from course_utils.training import train
from course_utils.world.templates import FORMS, fill

SPELLINGS = ("{}", "Please tell me: {}", "Hello. {}")
NEVER = 24  # invented facts that are never taught
LATER = 4  # templates that come after the split
LATER_ASKED = 60  # of their chats
DESK_STEPS, DESK_BATCH, RATE = 60, 8, 1e-3  # of all weights
PASSES, LORA_RATE = 4, 3e-3  # of the lesson's tool on the pocket model


# --------------------------------------------------------------------------------- invented facts


def spelled_facts(seed: int) -> list[list[dict]]:
    """Rows of the question about each invented fact in three spellings, with the facts in random order."""
    facts = load_facts("invented")
    return random.Random(seed).sample([_three_rows(fact) for fact in facts], len(facts))


def _three_rows(fact):
    question = fill(FORMS[fact.relation].questions[0], fact.subject, fact.object)
    return [
        {
            "prompt": f"Question: {spelling.format(question)}\nAnswer:",
            "completion": f" {fact.object}",
            "relation": fact.relation,
            "object": fact.object,
            "kind": "short",
        }
        for spelling in SPELLINGS
    ]


def right_facts(student, tokenizer, rows: Sequence[dict]) -> tuple[float, float, float]:
    """(share of right answers, low, high)."""
    share = fact_accuracy(student, tokenizer, rows)[0]
    return share, *wilson_interval(share * len(rows), len(rows))


@sweep(
    "leaks_worth",
    points=[
        {"trained": "all weights", "steps": 70, "lr": RATE},
        {"trained": "lora", "passes": PASSES, "lr": LORA_RATE},
        *[{"trained": "lora", "steps": steps, "lr": LORA_RATE} for steps in (70, 140)],
    ],
    seeds=range(3),
    short=(0, 1),
    sampled=True,  # measured by greedy answers
)
def leaks_worth(point: dict, seed: int) -> dict:
    """Sixty invented facts are taught, each in two spellings of its question; shares of right answers.

    leaked: to a third spelling of taught facts; fresh: of 24 facts that are never taught; by_base: to the
    leaked ones without training. Batches of 16; all weights for 70 steps, or LoRA of rank 16 for four passes,
    as the lesson's tool trains, for as many steps, and for twice as many. What would show that a leak is
    harmless: leaked less than 10 points above fresh.
    """
    from course_utils.methods.lora import apply_lora
    from course_utils.methods.lora_fast import speed_up
    from course_utils.models import load_model
    from course_utils.training import scored_lm_loss

    spelled = spelled_facts(seed)
    never, taught = few(spelled[:NEVER]), few(spelled[NEVER:])
    rows = [row for three in taught for row in three[:2]]
    student, tokenizer = load_model("pocket")
    by_base = right_facts(student, tokenizer, [three[2] for three in taught])[0]
    torch.manual_seed(seed)
    options = {}
    if point["trained"] == "lora":
        student, options = speed_up(apply_lora(student, 16, 16.0)), {"loss_fn": scored_lm_loss}
    steps = point.get("steps") or -(-point["passes"] * len(rows) // 16)
    examples = [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]
    stream = batches(examples, 16, seed, tokenizer.pad_token_id)
    label = f"{point}, seed {seed}"
    train(student, stream, steps=few(steps), lr=point["lr"], seed=seed, label=label, **options)
    return {
        "leaked": right_facts(student, tokenizer, [three[2] for three in taught])[0],
        "fresh": right_facts(student, tokenizer, [three[2] for three in never])[0],
        "by_base": by_base,
    }


# ----------------------------------------------------------------------------------- support desk


def colleagues_files(
    seed: int, by: str = "question"
) -> tuple[list[Conversation], list[Conversation], list[Conversation]]:
    """(training, held-out, later chats) of one question and answer each, split by question or template."""
    chats, made_from = support_chats(seed, follow_ups=())
    new = random.Random(seed).sample(range(len(TEMPLATES)), LATER)
    first, later = (
        [row for row, template in zip(chats, made_from, strict=True) if (template in new) == late]
        for late in (False, True)
    )
    grouped = {"question": question_groups, "template": template_groups}[by]
    keys = grouped([row.asked for row in first])
    held_out = set(leak_free_split(keys, ["chat"] * len(keys), seed=seed))
    inside, outside = (
        [row for n, row in enumerate(first) if (n in held_out) == side] for side in (True, False)
    )
    assert not leaks(inside, outside), "a question is on both sides"
    return outside, inside, later


def desk_rows(chats: Sequence[Conversation]) -> list[dict]:
    """Chats of one question and answer in the same form."""
    return [{"prompt": as_text(row.messages[:-1]), "completion": f" {row.answers[0]}"} for row in chats]


def taught_desk(student, tokenizer, chats: Sequence[Conversation], seed: int, steps=DESK_STEPS, **options):
    """Tune all weights of a model, in place, on the answers of the desk's chats."""
    examples = [
        encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in desk_rows(chats)
    ]
    stream = batches(examples, DESK_BATCH, seed, tokenizer.pad_token_id)
    return train(student, stream, steps=steps, lr=RATE, seed=seed, **options)


def desk_answers(student, tokenizer, chats: Sequence[Conversation]) -> list[str]:
    """The model's greedy answers to the chats' questions, as plain text."""
    prompts = [row.messages[:-1] for row in chats]
    said = answers_by_prompt(student, tokenizer, Prompt("text", []), prompts, context(student), 24)
    return [reply.text for reply in said]


def desk_score(said: Sequence[str], chats: Sequence[Conversation]) -> tuple[float, float, float]:
    """(mean F1 of the answers' words against the desk's, low, high over questions)."""
    scores = [shared_words(text, row.answers[0]) for text, row in zip(said, chats, strict=True)]
    return difference_interval(torch.tensor([scores]), torch.zeros(1, len(scores)))


def desk_right(said: Sequence[str], chats: Sequence[Conversation]) -> tuple[float, float, float]:
    """(share of the answers that agree with the desk's, low, high)."""
    right = sum(agrees(text, row.answers[0]) for text, row in zip(said, chats, strict=True))
    return right / len(chats), *wilson_interval(right, len(chats))


def right_by_template(held_out: Sequence[Conversation], train: Sequence[Conversation]) -> str:
    """How many answers of a program that knows a question's template alone are right, and one of them.

    It is asked those held-out questions whose template is trained on. It says what the first training row of
    that template says; this is right if it agrees with the reference. The one shown is as most of them are.
    """
    rows = [*train, *held_out]
    templates = templates_of([from_opening(row.asked)[0] for row in rows])
    said = {}
    for template, row in zip(templates, train, strict=False):
        said.setdefault(template, row)
    judged = zip(templates[len(train) :], held_out, strict=True)
    known = [(said[template], row) for template, row in judged if template in said]
    right = [agrees(first.answers[0], row.answers[0]) for first, row in known]
    trained, asked = known[right.index(2 * sum(right) > len(right))]
    return (
        f"of {len(held_out)} held-out conversations {len(known)} have the very template of a training row; "
        f"its answer, copied, is right for {sum(right)}\n"
        f"    trained on: {trained.asked[0]} -> {trained.answers[0]}\n"
        f"    held out:   {asked.asked[0]} -> {asked.answers[0]}"
    )


@sweep(
    "desk_splits",
    points=[{"split by": "question"}, {"split by": "template"}],
    short=(0, 1),
    sampled=True,  # measured by greedy answers
)
def desk_splits(point: dict, seed: int) -> dict:
    """The support desk's chats of twelve templates, split by question or by template; four come later.

    Words shared with the desk's answers (F1), and shares of answers that agree with them: held out, later.
    The same steps and rate for both. What would show that the split does not matter: by question and by
    template, the held-out score is equally far from the later one.
    """
    from course_utils.models import load_model

    rows, held_out, later = colleagues_files(seed, point["split by"])
    held_out, later = few(held_out), few(later[:LATER_ASKED])
    student, tokenizer = load_model("pocket")
    taught_desk(student, tokenizer, rows, seed, few(DESK_STEPS), label=f"{point}, seed {seed}")
    result = {"trained on": len(rows), "held-out rows": len(held_out)}
    for name, chats in {"held out": held_out, "later": later}.items():
        said = desk_answers(student, tokenizer, chats)
        result |= {name: desk_score(said, chats)[0], f"{name}, right": desk_right(said, chats)[0]}
    return result


# ------------------------------------------------------------------------------------ the example


def cleaned_example(tokenizer, limit: int) -> list[Conversation]:
    """The example's conversations without copies, shortened to the limit."""
    from course_utils.own.own_data import EXAMPLES, fit_conversations, read_conversations, without_duplicates

    different, _, _ = without_duplicates(read_conversations(EXAMPLES / "conversations.jsonl"))
    return fit_conversations(different, tokenizer, limit)[0]


def deal_answers(rows: Sequence[Conversation], seed: int) -> list[Conversation]:
    """The rows with all their answers dealt out at random."""
    from dataclasses import replace

    answers = [answer for row in rows for answer in row.answers]
    dealt = iter(random.Random(seed).sample(answers, len(answers)))
    return [
        replace(
            row,
            messages=[
                message | {"content": next(dealt)} if message["role"] == "assistant" else message
                for message in row.messages
            ],
        )
        for row in rows
    ]


@sweep(
    "answers_dealt_out",
    points=[{"answers": "dealt out"}],
    seeds=range(3),
    short=(0,),
    sampled=True,  # measured by greedy answers, too
)
def answers_dealt_out(point: dict, seed: int) -> dict:
    """SFT of the lesson's example by LoRA, as the tool trains: loss on held-out answers before and after.

    Split by question, with all training answers dealt out at random. agrees: share of held-out
    answers that agree with the reference. What would show that a lower loss means learned answers: dealt out,
    the loss does not fall.
    """
    from course_utils.chatml import add_chat_tokens, encode_conversation
    from course_utils.evaluation import mean_loss
    from course_utils.methods.sft import replies
    from course_utils.models import load_model
    from course_utils.own import own_run
    from course_utils.training import scored_lm_loss

    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    limit = context(model)
    rows = cleaned_example(tokenizer, limit)
    keys = question_groups([row.asked for row in rows])
    held_out = set(leak_free_split(keys, ["conversation"] * len(keys), seed=seed))
    judged = few([row for n, row in enumerate(rows) if n in held_out])
    trained = deal_answers([row for n, row in enumerate(rows) if n not in held_out], seed)
    held = [encode_conversation(tokenizer, row.messages) for row in judged]
    before = mean_loss(model, held)
    plan = own_run.Plan("lora", seed, few(-(-PASSES * len(trained) // own_run.Plan.batch_size)), LORA_RATE)
    torch.manual_seed(seed)
    model = own_run.prepare_model(model, tokenizer, plan)
    examples = [encode_conversation(tokenizer, row.messages) for row in trained]
    stream = batches(examples, plan.batch_size, seed, tokenizer.pad_token_id)
    settings = {"loss_fn": scored_lm_loss, "seed": seed, "label": f"{point}, seed {seed}"}
    train(model, stream, steps=plan.steps, lr=plan.lr, **settings)
    prompts, references, _, room = own_run.to_ask(judged, tokenizer, limit)
    said = replies(model, tokenizer, prompts, max_new_tokens=room)
    right = [agrees(reply.text, wanted) for reply, wanted in zip(said, references, strict=True)]
    return {"before": before, "after": mean_loss(model, held), "agrees": sum(right) / len(right)}
