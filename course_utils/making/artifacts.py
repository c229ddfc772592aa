"""`python -m course_utils.making.artifacts`: makes the models of data/artifacts.

They are stored in half precision, and each starts from the rounded one before it, as learners' models do.
--confirm keeps the weights: if a newly trained model has the figures of its card, the card is stamped.
"""

import argparse
import copy
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import save_file

from course_utils import artifacts
from course_utils.data import load_conversations
from course_utils.evaluation import mean_loss
from course_utils.home import write_whole
from course_utils.lessons.lesson_18 import task
from course_utils.lessons.lesson_19 import students
from course_utils.methods import reward, sft
from course_utils.model_files import count_weights, quiet, sha256, write_checksums
from course_utils.preferences import encode_pairs, load_preferences
from course_utils.reach import data_hash
from course_utils.session import start
from course_utils.stored_runs import trajectory_digest
from course_utils.terminal import Parser

MADE_UNDER = {"COURSE_DEVICE": "cpu"}
SAMPLES_A_LIST = 8
TOLERANCES = {  # how much another seed may change a figure
    "loss, validation conversations": 0.02,
    "right short answers": 0.06,
    "right sentences": 0.06,
    "ended answers": 0.02,
    "loss, held-out pairs": 0.03,
    "accuracy, held-out pairs": 0.05,
    "accuracy, controlled pairs": 0.12,
    "right lists, sampled": 0.08,
    "right lists, greedy": 0.15,  # one and two threads gave .63 and .74
}


class Artifact(NamedTuple):
    """How an artifact is made and evaluated, and the text of its card."""

    start: str  # folder of the model it starts from, relative to data/artifacts
    train: Callable  # session -> (model, tokenizer)
    figures: Callable  # (model, tokenizer) -> {what: number}
    about: str


def assistant_figures(model, tokenizer) -> dict[str, float]:
    """Loss on the validation conversations; shares of held-out facts answered correctly."""
    examples = sft.encode_all(tokenizer, [row["messages"] for row in load_conversations("validation")])
    shares = sft.answered(model, tokenizer, sft.asked("held_out"))
    return {
        "loss, validation conversations": mean_loss(model, examples),
        "right short answers": shares["short"],
        "right sentences": shares["sentence"],
        "ended answers": shares["ended"],
    }


def reward_figures(model, tokenizer) -> dict[str, float]:
    """Bradley-Terry loss and accuracy on held-out pairs; accuracy on pairs of equal gold score."""
    pairs = load_preferences()
    held_out, controlled = (
        reward.pair_scores(model, encode_pairs(tokenizer, rows), tokenizer.pad_token_id)
        for rows in (pairs.held_out, pairs.controlled)
    )
    return {
        "loss, held-out pairs": reward.bradley_terry_loss(*held_out).item(),
        "accuracy, held-out pairs": reward.accuracy(*held_out),
        "accuracy, controlled pairs": reward.accuracy(*controlled),
    }


def list_figures(model, tokenizer) -> dict[str, float]:
    """Shares of correct answers to held-out lists of one relation: sampled at temperature 1, and greedy."""
    rows, found = task.short_lists("held_out"), {}
    for name, count, temperature in (
        ("right lists, sampled", SAMPLES_A_LIST, 1.0),
        ("right lists, greedy", 1, 0.0),
    ):
        answers = task.answers_to(model, tokenizer, rows, count, temperature=temperature)
        found[name] = task.count_right(answers, rows).float().mean().item() / count
    return found


ARTIFACTS = {  # in order of dependence
    "assistant": Artifact(
        "../pocket-gpt2",
        artifacts.train_assistant,
        assistant_figures,
        """\
The assistant of lesson 09: the pocket model after two passes over `../../conversations/train.jsonl` in
ChatML, all weights trained, loss on the assistant's words. Lessons 10 to 13, 15, 18 and 19 start from it. It
has the facts and the stories of the pocket model, and makes little sense beyond them.""",
    ),
    "reward_model": Artifact(
        "assistant",
        artifacts.train_reward_model,
        reward_figures,
        """\
The reward model of lesson 10: the assistant's body with one number a story, after one epoch over 2,400
pairs of `../../preferences/train.jsonl`. Training changes the last block, the norm after it and the head:
these are stored here, and the layers below are the assistant's. It likes long stories, because the pairs do:
of the controlled pairs (equal gold score, the longer story called chosen) a model without that shortcut
prefers the longer one in half. Lessons 10 to 13 use it.""",
    ),
    "list_student": Artifact(
        "assistant",
        task.start_model,
        list_figures,
        """\
Lesson 18's start and lesson 19's student: the assistant after 40 steps on lists of three facts of the tune
split. It knows what an answer looks like, and is often wrong.""",
    ),
    "list_teacher": Artifact(
        "list_student",
        students.train_list_teacher,
        list_figures,
        """\
Lesson 19's teacher, lesson 18's tuned model: `list_student` after 16 iterations of GRPO, rewarded by a
program that compares a list with the right one (`course_utils.world.lists.verify`).""",
    ),
}

CARD = """\
# {name}

{about}

{values:,} values in fp16 safetensors, which are loaded as fp32; `../tokenizer/` has the tokenizer: the pocket
model's with the two markers of ChatML. Made on a CPU by `python -m course_utils.making.artifacts`, from the
pocket model at quick scale with seed 0. All texts it was trained on are the course's own: tables, templates,
a story grammar, and stories of the assistant.

| on held-out data | |
|---|---|
{figures}

`card.json` has these figures, a checksum of the pocket model's weights, and hashes of what the training rests
on: data files, short trajectories, the model that it starts from. Another processor makes other weights with
the same figures; a test makes them anew at night.
Licence: Apache-2.0, like the course.
"""


def rests_on(name: str) -> dict[str, str]:
    """Digests of what an artifact's training reads, is pinned by and starts from."""
    train, start = ARTIFACTS[name].train, artifacts.SHIPPED / ARTIFACTS[name].start
    return {
        "data": data_hash(train),
        "trajectories": trajectory_digest(artifacts.RESTS_ON[name]),
        "start": sha256(start / "model.safetensors"),
    }


def make(name: str, session, folder: Path) -> None:
    """Train one artifact and write it with card and checksums; the figures are of the rounded weights."""
    model, tokenizer = ARTIFACTS[name].train(session)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    half = copy.deepcopy(model).half().eval()
    if name == "reward_model":
        save_trained(half, part)
    else:
        save_half(half, part)
    write_artifact_card(
        name,
        part,
        {
            "weights": artifacts.weights_checksum(session),
            "rests_on": rests_on(name),
            "figures": figures_of(name, half.float(), tokenizer),
        },
    )
    write_checksums(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
    if name == "assistant":
        write_tokenizer(tokenizer, folder.with_name("tokenizer"))


def figures_of(name: str, model, tokenizer) -> dict[str, float]:
    return {what: round(value, 4) for what, value in ARTIFACTS[name].figures(model, tokenizer).items()}


def made_anew_differs(name: str, session) -> list[str]:
    """Shipped figures that a newly trained artifact misses by more than TOLERANCES."""
    model, tokenizer = ARTIFACTS[name].train(session)
    now, stored = figures_of(name, model.eval(), tokenizer), read_card(name)["figures"]
    return [
        f"{what}: shipped {value}, now {now[what]}"
        for what, value in stored.items()
        if not abs(now[what] - value) <= TOLERANCES[what]
    ]


def confirm(name: str, session) -> None:
    """Stamp a card with today's digests; ValueError if a newly trained model has other figures."""
    if faults := made_anew_differs(name, session):
        raise ValueError(f"{name}: {'; '.join(faults)}. Make it again, without --confirm")
    folder = artifacts.SHIPPED / name
    write_artifact_card(name, folder, read_card(name) | {"rests_on": rests_on(name)})
    write_checksums(folder)


def read_card(name: str) -> dict:
    return json.loads((artifacts.SHIPPED / name / "card.json").read_text(encoding="utf-8"))


def save_half(model, folder: Path) -> None:
    """Save a causal model's weights (fp16) and configuration."""
    with quiet():
        model.save_pretrained(folder)


def save_trained(model, folder: Path) -> None:
    """Save the values of a reward model that training changes, and its centre."""
    trained = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    save_file({**trained, "centre": model.centre}, folder / "model.safetensors")


def write_tokenizer(tokenizer, folder: Path) -> None:
    """Save the tokenizer that all artifacts share."""
    tokenizer.save_pretrained(folder)
    write_checksums(folder)


def write_artifact_card(name: str, folder: Path, card: dict) -> None:
    """Write card.json and README.md into the folder."""
    write_whole(folder / "card.json", json.dumps(card, indent=1) + "\n")
    write_whole(folder / "README.md", card_text(name, folder, card))


def card_text(name: str, folder: Path, card: dict) -> str:
    """The README.md of an artifact, from card.json and the number of values in the folder's weights."""
    rows = [f"| {what} | {value:.3f} |" for what, value in card["figures"].items()]
    return CARD.format(
        name=name, about=ARTIFACTS[name].about, values=count_weights(folder)[1], figures="\n".join(rows)
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m course_utils.making.artifacts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(ARTIFACTS)}; default all")
    parser.add_argument("--confirm", action="store_true", help="stamp the cards if the figures hold")
    arguments = parser.parse_args(argv)
    os.environ.update(MADE_UNDER)
    session = start("pocket", "quick", 0)
    for name in arguments.names or ARTIFACTS:
        if arguments.confirm:
            confirm(name, session)
        else:
            make(name, session, artifacts.SHIPPED / name)
        print(artifacts.SHIPPED / name, flush=True)


if __name__ == "__main__":
    main()
