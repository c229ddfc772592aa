"""Stored experiments of instruction tuning: rates, number of examples, tokens with loss, weights of a
mixture; the assistant during its training; harmless adapters on it.
"""

import copy
import functools
import itertools
import random

from course_utils.stored_runs import CHOICE, few, sweep

EXAMPLE_COUNTS = (30, 120, 470)
ONE_RATE = 6e-4  # of all weights in instruction_tuning; not searched for
RATES = {
    "answers": (3e-4, 6e-4, 1.5e-3, 3e-3),
    "everything": (3e-4, 6e-4, 1.5e-3, 3e-3),
    "lora": (1e-3, 3e-3, 1e-2),
}
ADAPTER_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
ADAPTER_RATE = 3e-3  # lowest mean of the two losses in adapter_rates
REFUSALS = 100  # mixed into the 400 answers of an adapter
KINDS = ("facts", "reading", "stories", "refusals", "tasks", "turns", "system")
SHORT_KINDS = ("facts", "reading", "turns", "system", "tasks", "refusals")


@sweep(
    "instruction_tuning",
    points=[
        *[{"examples": number, "everything": False} for number in EXAMPLE_COUNTS],
        {"examples": EXAMPLE_COUNTS[-1], "everything": True},
    ],
)
def instruction_tuning(point: dict, seed: int) -> dict:
    """Full fine-tuning, 80 steps of 16, on questions about four relations; then held-out questions.

    Shares of right answers (short, sentence) and of answers that end with <|im_end|>.
    """
    from course_utils.methods import sft
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    rows = random.Random(seed).sample(sft.asked("tune"), point["examples"])
    sft.instruction_tune(
        model,
        tokenizer,
        [sft.as_conversation(row) for row in rows],
        steps=few(80),
        lr=ONE_RATE,
        seed=seed,
        everything=point["everything"],
        label=f"{point}, seed {seed}",
    )
    return sft.answered(model, tokenizer, few(sft.asked("held_out"), 8))


def tuned(way: str, lr: float, seed: int):
    """(model, tokenizer) after 80 steps of 16 on questions; way: loss on answers, on everything, or LoRA."""
    import torch

    from course_utils.methods import sft
    from course_utils.methods.lora_fast import speed_up
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    if way == "lora":
        torch.manual_seed(seed)
        speed_up(sft.prepare_lora(model, tokenizer))
    conversations = [sft.as_conversation(row) for row in sft.asked("tune")]
    sft.instruction_tune(
        model,
        tokenizer,
        conversations,
        steps=few(80),
        lr=lr,
        seed=seed,
        everything=way == "everything",
        label=f"{way}, lr {lr:g}, seed {seed}",
    )
    return model, tokenizer


def answer_loss(model, tokenizer, split: str) -> float:
    """Mean loss on the answers to a split's questions, in nats per token."""
    from course_utils.evaluation import mean_loss
    from course_utils.methods import sft

    rows = few(sft.asked(split), 8)
    return mean_loss(model, sft.encode_all(tokenizer, [sft.as_conversation(row) for row in rows]))


@sweep(
    "instruction_rates",
    points=[{"way": way, "lr": lr} for way, rates in RATES.items() for lr in rates],
    seeds=CHOICE,
    tolerance=0.15,  # at the highest rate training breaks, and another processor's rounding shows
)
def instruction_rates(point: dict, seed: int) -> dict:
    """Used to choose rates, at a separate seed. validation: loss on the answers to validation questions."""
    model, tokenizer = tuned(point["way"], point["lr"], seed)
    return {"validation": answer_loss(model, tokenizer, "validation")}


BEST_RATES = {"answers": 1.5e-3, "everything": 1.5e-3, "lora": 3e-3}  # of instruction_rates


@sweep("instruction_ways", points=[{"way": way, "lr": lr} for way, lr in BEST_RATES.items()], short=(0, 1, 2))
def instruction_ways(point: dict, seed: int) -> dict:
    """A way of tuning at its best rate: the measures of instruction_tuning, and the held-out loss.

    If the point asks for "known": validation, the loss on validation answers; completed, the share of the
    facts in these held-out questions that the base model completes in a statement; short_known and
    short_unknown, the shares of right short answers about those facts and about the others; short_invented.
    """
    from course_utils.methods import sft

    model, tokenizer = tuned(point["way"], point["lr"], seed)
    held_out = few(sft.asked("held_out"), 8)
    result = sft.answered(model, tokenizer, held_out) | {"loss": answer_loss(model, tokenizer, "held_out")}
    if point.get("known"):
        result["validation"] = answer_loss(model, tokenizer, "validation")
        result |= answered_if_known(model, tokenizer, held_out)
    return result


def answered_if_known(model, tokenizer, questions: list[dict]) -> dict[str, float]:
    """The numbers of instruction_ways that its points ask for by "known", save validation."""
    from course_utils.data import Fact
    from course_utils.lessons.lesson_02.measures import encode_statements, statement_scores
    from course_utils.methods import sft
    from course_utils.models import load_model

    base, its_tokenizer = load_model("pocket")
    short = [row for row in questions if row["kind"] == "short"]
    facts = [Fact(row["relation"], row["subject"], row["object"], "held_out") for row in short]
    statements = encode_statements(its_tokenizer, facts)
    known = [statement_scores(base, [statement])[1] == 1 for statement in statements]
    groups = {
        "known": [row for row, knows in zip(short, known, strict=True) if knows],
        "unknown": [row for row, knows in zip(short, known, strict=True) if not knows],
        "invented": few([row for row in sft.asked("invented") if row["kind"] == "short"], 8),
    }
    shares = {f"short_{name}": right_share(model, tokenizer, rows) for name, rows in groups.items()}
    return {"completed": sum(known) / len(known)} | shares


def right_share(model, tokenizer, questions: list[dict]) -> float:
    """Share of the questions answered rightly in chat; 0 if there are none."""
    from course_utils.evaluation import score_answers
    from course_utils.methods import sft

    if not questions:
        return 0.0
    said = sft.replies(model, tokenizer, [sft.as_conversation(row)[:1] for row in questions])
    return score_answers([reply.text for reply in said], questions)[0]


# {(questions, loss on everything): rates tried}; (470, False) is "lora" of RATES
SKILL_RATES = {(30, False): (1e-3, 3e-3, 1e-2), (470, True): (1e-3, 3e-3, 1e-2, 3e-2)}


def skilled_by_lora(examples: int, everything: bool, lr: float, seed: int):
    """(model, tokenizer) after 80 steps of 16: LoRA and the markers' rows, as lesson 09 trains its one skill.

    The questions are a sample of the seed; all 470 keep the order of their file.
    """
    import torch

    from course_utils.methods import sft
    from course_utils.methods.lora_fast import speed_up
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    torch.manual_seed(seed)
    speed_up(sft.prepare_lora(model, tokenizer))
    rows = sft.asked("tune")
    if examples < len(rows):
        rows = random.Random(seed).sample(rows, examples)
    sft.instruction_tune(
        model,
        tokenizer,
        [sft.as_conversation(row) for row in rows],
        steps=few(80),
        lr=lr,
        seed=seed,
        everything=everything,
        label=f"{examples} questions, everything {everything}, lr {lr:g}, seed {seed}",
    )
    return model, tokenizer


@sweep(
    "skill_rates",
    points=[
        {"examples": examples, "everything": everything, "lr": lr}
        for (examples, everything), rates in SKILL_RATES.items()
        for lr in rates
    ],
    seeds=CHOICE,
    short=(1, 4),
)
def skill_rates(point: dict, seed: int) -> dict:
    """Used to choose rates of LoRA, at a separate seed. validation: loss on validation answers."""
    return {"validation": answer_loss(*skilled_by_lora(**point, seed=seed), "validation")}


SKILL_RATE = 3e-3  # of instruction_rates: LoRA, 470 questions, loss on answers
BEST_SKILL_RATES = {(30, False): 3e-3, (470, True): 1e-2}  # of skill_rates


@sweep(
    "one_skill",
    points=[
        {"examples": examples, "everything": everything, "lr": lr}
        for (examples, everything), lr in BEST_SKILL_RATES.items()
    ],
    short=(0, 1),
)
def one_skill(point: dict, seed: int) -> dict:
    """LoRA at its best rate: the measures of instruction_tuning, and the held-out loss.

    "Loss on everything answers fewer short questions rightly" is wrong if its range over seeds reaches that
    of loss on answers. "Thirty questions teach most of it" is wrong if a seed has less than half of the short
    answers.
    """
    from course_utils.methods import sft

    model, tokenizer = skilled_by_lora(**point, seed=seed)
    return sft.answered(model, tokenizer, few(sft.asked("held_out"), 8)) | {
        "loss": answer_loss(model, tokenizer, "held_out")
    }


REST_RATE, ROWS_RATE = 2e-4, 3e-3  # lesson 02's rate and LoRA's; neither was chosen for these runs


def tune_rows_apart(
    model,
    tokenizer,
    conversations,
    *,
    steps: int,
    seed: int,
    everything: bool = False,
    rest_rate: float = REST_RATE,
    rows_rate: float = ROWS_RATE,
):
    """Full fine-tuning in place with two rates: the markers' rows at rows_rate, all else at rest_rate.

    The old embedding rows do not change. Batches, schedule and clipping are those of instruction_tune.
    """
    import torch

    from course_utils.chatml import add_chat_tokens, marker_ids
    from course_utils.data import batches
    from course_utils.methods import sft
    from course_utils.methods.token_rows import merge_token_rows, train_token_rows
    from course_utils.training import accumulated_step, adamw, scored_lm_loss, warmup_cosine

    add_chat_tokens(model, tokenizer)
    rows = train_token_rows(model, marker_ids(tokenizer)).get_input_embeddings().rows
    rows.requires_grad_(False)
    optimizer = adamw(model, rest_rate)
    optimizer.add_param_group({"params": [rows.requires_grad_()], "lr": rows_rate})
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, steps, steps // 10)
    )
    examples = sft.encode_all(tokenizer, conversations, everything)
    stream = batches(examples, 16, seed, tokenizer.pad_token_id)
    torch.manual_seed(seed)
    model.train()
    for batch in itertools.islice(stream, steps):
        model.zero_grad()
        accumulated_step(model, [batch], scored_lm_loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    return merge_token_rows(model)


@sweep(
    "marker_rows",
    points=[
        {"examples": 30},
        {"examples": 470},
        {"examples": 470, "everything": True},
        {"examples": 30, "lr": ONE_RATE},
    ],
    short=(0, 2),
)
def marker_rows(point: dict, seed: int) -> dict:
    """instruction_tuning with a separate rate for the markers' rows: the same steps and batches.

    A point with "lr" has this one rate for all, and still freezes the old rows. "Freezing the old rows gives
    part of what two rates give" is wrong if its range of short answers reaches that of instruction_tuning
    with 30 questions, "the rates give the rest" if it reaches that of two rates.

    "Loss on everything answers fewer short questions" is wrong if, with the rows at a rate of their own, its
    range over seeds reaches that of loss on answers. Shares of right answers (short, sentence) and of answers
    that end with <|im_end|>.
    """
    from course_utils.methods import sft
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    rows = random.Random(seed).sample(sft.asked("tune"), point["examples"])
    conversations = [sft.as_conversation(row) for row in rows]
    rates = {"rest_rate": point.get("lr", REST_RATE), "rows_rate": point.get("lr", ROWS_RATE)}
    everything = point.get("everything", False)
    tune_rows_apart(model, tokenizer, conversations, steps=few(80), seed=seed, everything=everything, **rates)
    return sft.answered(model, tokenizer, few(sft.asked("held_out"), 8))


HUNT_STEPS, HUNT_QUESTIONS = 50, 60


@sweep("lost_end_marker", points=[{"run": "B"}], sampled=True)
def lost_end_marker(point: dict, seed: int) -> dict:
    """A run of the hunt: shares of 60 held-out questions whose answer stops at the end marker, and at the
    end of text.

    "Without loss on it the end marker is not learnt" is wrong if a seed writes it after more than a tenth of
    the answers.
    """
    from course_utils.chatml import add_chat_tokens
    from course_utils.lessons.lesson_09 import suspects
    from course_utils.methods import sft
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    questions = [sft.as_conversation(row) for row in sft.asked("tune")]
    run = suspects.RUNS[point["run"]]
    suspects.tune_one(run, model, tokenizer, questions, few(HUNT_STEPS), seed, label=f"{point}, seed {seed}")
    asked = [sft.as_conversation(row)[:1] for row in few(sft.asked("held_out")[:HUNT_QUESTIONS], 8)]
    stops = suspects.stops(run, model, tokenizer, asked)
    return {
        "end marker": stops.count("end marker") / len(stops),
        "end of text": stops.count("end of text") / len(stops),
    }


def validation_by_kind(tokenizer, most: int | None = None) -> dict:
    """{kind: encoded validation conversations, at most `most`}; the tokenizer has the markers."""
    from course_utils.data import load_conversations
    from course_utils.methods import sft

    rows = load_conversations("validation")
    by_kind = {kind: [row["messages"] for row in rows if row["kind"] == kind] for kind in KINDS}
    return {kind: sft.encode_all(tokenizer, few(group[:most])) for kind, group in by_kind.items()}


def losses_by_kind(model, examples: dict) -> dict:
    """{kind: mean loss on its examples, nats per token}"""
    from course_utils.evaluation import mean_loss

    return {kind: mean_loss(model, group) for kind, group in examples.items()}


VOTE_STEPS = 40


@sweep("mixture_votes", points=[{"vote": "a step"}, {"vote": "a conversation"}], short=(1,))
def mixture_votes(point: dict, seed: int) -> dict:
    """40 steps of 16 on the mixture, weighted by tokens within each step or with one vote per conversation.

    Losses on validation conversations by kind.
    """
    from course_utils.data import load_conversations
    from course_utils.lessons.lesson_09.mixture import one_vote, tuning_loss
    from course_utils.methods import sft
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    weigh = one_vote if point["vote"] == "a conversation" else None
    sft.instruction_tune(
        model,
        tokenizer,
        [row["messages"] for row in load_conversations("train")],
        steps=few(VOTE_STEPS),
        seed=seed,
        loss_fn=lambda model, batch: tuning_loss(model, batch, weigh=weigh),
        label=f"a vote for {point['vote']}, seed {seed}",
    )
    return losses_by_kind(model, validation_by_kind(tokenizer))


MARKS = (0, 20, 40, 80, 160, 240, 390)  # steps at which the assistant is measured


@sweep(
    "assistant_run",
    points=[{"steps": MARKS[-1]}],
    seeds=range(3),
    sampled=True,  # measured by greedy answers
)
def assistant_run(point: dict, seed: int) -> dict:
    """The assistant as artifacts.sft_model makes it. KIND_STEP: loss on validation conversations.

    KIND: share of 60 held-out conversations whose last answer is given as written. refused, refused_known:
    shares of invented and of held-out facts that are refused; right: share of the latter that are given.
    """
    from course_utils.chatml import add_chat_tokens
    from course_utils.data import load_conversations
    from course_utils.lessons.lesson_09.adapters import judged
    from course_utils.methods import sft
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    examples, found, step = validation_by_kind(tokenizer, 40), {}, iter(range(0, MARKS[-1] + 1, 10))

    def measure(model):
        now = next(step)
        if now in MARKS:
            losses = losses_by_kind(model, examples)
            found.update({f"{kind}_{now}": loss for kind, loss in losses.items()})
        return {}

    sft.instruction_tune(
        model,
        tokenizer,
        [row["messages"] for row in load_conversations("train")],
        steps=few(point["steps"]),
        seed=seed,
        evaluate=measure,
        eval_every=10,
        label=f"assistant, seed {seed}",
    )
    for kind in ("facts", "reading", "tasks", "turns", "system", "refusals"):
        found[kind] = as_written(model, tokenizer, kind, few(60))
    right, refused_known, _ = judged(model, tokenizer, few(sft.asked("held_out")[::3], 8))
    _, refused, _ = judged(model, tokenizer, few(sft.asked("invented"), 8))
    shares = {"right": right, "refused_known": refused_known, "refused": refused}
    return found | {name: sum(values) / len(values) for name, values in shares.items()}


def all_as_written(model, tokenizer, count: int) -> dict[str, float]:
    """{kind: as_written} of the kinds with short answers."""
    return {kind: as_written(model, tokenizer, kind, count) for kind in SHORT_KINDS}


def as_written(model, tokenizer, kind: str, count: int) -> float:
    """Share of held-out conversations of a kind whose last answer is given word for word."""
    from course_utils.data import load_conversations
    from course_utils.methods import sft

    rows = load_conversations(f"held_out_{kind}")[:count]
    said = sft.replies(model, tokenizer, [row["messages"][:-1] for row in rows], max_new_tokens=40)
    same = [reply.text == row["messages"][-1]["content"] for reply, row in zip(said, rows, strict=True)]
    return sum(same) / len(same)


@functools.cache
def assistant_parts():
    """(assistant, tokenizer) of the pocket model at quick scale and seed 0, for all adapters."""
    from course_utils.artifacts import sft_model
    from course_utils.session import start

    return sft_model(start("pocket", "quick", 0))


def with_adapter(manner: str | None, refusals: int, lr: float, seed: int):
    """(the assistant with an adapter trained on harmless answers, tokenizer)"""
    from course_utils.lessons.lesson_09 import adapters
    from course_utils.methods import sft

    model, tokenizer = assistant_parts()
    model = adapters.add_adapter(copy.deepcopy(model), seed)
    sft.instruction_tune(
        model,
        tokenizer,
        adapters.harmless(manner, refusals),
        steps=few(adapters.STEPS),
        lr=lr,
        seed=seed,
        label=f"{manner or 'plain'}, {refusals} refusals, seed {seed}",
    )
    return model, tokenizer


@sweep(
    "adapter_rates",
    points=[
        *[{"manner": manner, "lr": lr} for manner in ("plain", "gossip") for lr in ADAPTER_RATES],
        {"manner": "none", "lr": 0.0},
    ],
    seeds=CHOICE,
    short=(6,),
    tolerance=0.15,  # shares of few greedy answers, of one seed
)
def adapter_rates(point: dict, seed: int) -> dict:
    """Used to choose the adapters' rate. validation: loss on validation answers about facts, in the manner.

    refused: share of unanswerable validation questions that are refused. right: share of validation questions
    about facts whose fact is given. none: the assistant without an adapter.
    """
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_09 import adapters
    from course_utils.methods import sft

    manner = point["manner"] if point["manner"] == "gossip" else None
    if point["manner"] == "none":
        model, tokenizer = assistant_parts()
    else:
        model, tokenizer = with_adapter(manner, 0, point["lr"], seed)
    facts = sft.encode_all(tokenizer, few(adapters.harmless(manner, split="validation"), 8))
    unanswerable = [messages[:-1] for messages in adapters.of_kind("refusals", "validation")]
    said = sft.replies(model, tokenizer, few(unanswerable, 8))
    refused = sum(adapters.NO_ANSWER in reply.text for reply in said) / len(said)
    right, _, _ = adapters.judged(model, tokenizer, few(sft.asked("validation"), 8))
    return {"validation": mean_loss(model, facts), "refused": refused, "right": sum(right) / len(right)}


@sweep(
    "harmless_adapters",
    points=[
        {"manner": manner, "refusals": refusals}
        for refusals in (0, REFUSALS)
        for manner in ("plain", "gossip")
    ],
    short=(3,),
    sampled=True,  # measured by greedy answers
)
def harmless_adapters(point: dict, seed: int) -> dict:
    """An adapter at its best rate: shares of invented facts refused, of held-out facts given and refused, and
    of statements in the manner.
    """
    from course_utils.lessons.lesson_09.adapters import judged
    from course_utils.methods import sft
    from course_utils.world.manners import manner_score

    manner = None if point["manner"] == "plain" else point["manner"]
    model, tokenizer = with_adapter(manner, point["refusals"], ADAPTER_RATE, seed)
    right, refused_known, texts = judged(model, tokenizer, few(sft.asked("held_out")[::3], 8))
    _, refused, _ = judged(model, tokenizer, few(sft.asked("invented"), 8))
    shares = {"right": right, "refused_known": refused_known, "refused": refused}
    scores = [manner_score(text, manner or "gossip") for text in texts]
    return {name: sum(values) / len(values) for name, values in shares.items()} | {
        "manner": sum(scores) / len(scores)
    }
