"""Models and data that later lessons reuse: shipped for the pocket model at quick scale and seed 0; otherwise
made once, cached under home()/cache, and made again when an input changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from course_utils.data import DATA
from course_utils.home import cached
from course_utils.ownership import restore_command
from course_utils.session import check_not_stopped

SHIPPED = DATA / "artifacts"
SHIPPED_FOLDERS = ("assistant", "reward_model", "list_student", "list_teacher", "tokenizer")  # shared by all
RESTS_ON = {  # short trajectories that pin each artifact: if one of them changes, the artifact is made again
    "assistant": ("full", "conversations"),
    "preferences": ("full", "conversations", "sampling", "replies", "judges"),
    "reward_model": ("full", "conversations", "reward", "sampling", "replies", "judges"),
    "list_student": ("full", "conversations"),
    "list_teacher": ("full", "conversations", "grpo", "policies", "judges"),
}


def sft_model(session, shipped: bool = True) -> tuple:
    """The instruction-tuned model of lesson 09 and its tokenizer: (model, tokenizer), eval mode.

    Shipped, or made once per model, scale and seed; loaded from disk at every call. shipped=False: never
    take the shipped one.
    """
    from course_utils.models import load_model, save_model

    if shipped and is_shipped("assistant", session):
        return load_shipped("assistant", session.device)

    def make(folder: Path) -> None:
        save_model(*train_assistant(session), folder)

    return load_model(str(cached("sft", conditions_of(session), make, RESTS_ON["assistant"])), session.device)


def train_assistant(session) -> tuple[Any, Any]:
    """Tune the session's model into the assistant now: (model, tokenizer)."""
    from course_utils.methods import sft

    model, tokenizer = session.load_model()
    sft.assistant(session, model, tokenizer)
    check_not_stopped()
    return model, tokenizer


def is_shipped(name: str, session) -> bool:
    """Whether data/artifacts holds what this session would make: pocket's weights, quick scale, seed 0."""
    if (session.model_name, session.scale, session.seed) != ("pocket", "quick", 0):
        return False
    check_artifact(SHIPPED / name)
    card = json.loads((SHIPPED / name / "card.json").read_text(encoding="utf-8"))
    return card["weights"] == weights_checksum(session)


def check_artifact(folder: Path) -> None:
    """Raise ModelError unless the files of a folder in data/artifacts have their shipped checksums."""
    from course_utils.model_files import ModelError, wrong_checksums

    if faults := wrong_checksums(folder):
        raise ModelError(
            f"A shipped model is not whole: {'; '.join(faults)}. Restore it with: {restore_command(folder)}"
        )


def load_shipped(name: str, device) -> tuple:
    """A causal model of data/artifacts in fp32 and its tokenizer: (model, tokenizer), eval mode."""
    from course_utils.models import load_folder

    check_artifact(SHIPPED / name)
    check_artifact(SHIPPED / "tokenizer")
    return load_folder(SHIPPED / name, device, SHIPPED / "tokenizer")


def load_shipped_reward_model(device) -> tuple:
    """(reward model, tokenizer): the shipped last block, norm and head on the shipped assistant's body."""
    from safetensors.torch import load_file

    from course_utils.methods.reward import from_language_model

    assistant, tokenizer = load_shipped("assistant", device)
    model = from_language_model(assistant)
    trained = load_file(SHIPPED / "reward_model" / "model.safetensors", device=str(device))
    model.load_state_dict({**model.state_dict(), **trained})
    return model.requires_grad_(True), tokenizer


def conditions_of(session) -> dict[str, Any]:
    """The inputs of a session that a result depends on, including the checksum of its model's weights."""
    return {
        "model": session.model_name,
        "weights": weights_checksum(session),
        "scale": session.scale,
        "seed": session.seed,
    }


def weights_checksum(session) -> str:
    """SHA-256 of the weight files of the session's model, or its name if they are not on disk yet."""
    from course_utils.model_files import sum_of_weights
    from course_utils.models import resolve

    place = resolve(session.model_name, session.device).place
    return sum_of_weights(place) if isinstance(place, Path) else str(place)


def preference_pairs(session):
    """The preference pairs on stories of lesson 10 (preferences.Preferences: train, held_out, controlled).

    Shipped for the pocket model; any other model's own answers are made once and labelled in the same way.
    """
    from course_utils import preferences
    from course_utils.world import annotator

    if session.model_name == "pocket" or session.scale == "smoke":
        return preferences.load_preferences()

    def make(folder: Path) -> None:
        model, tokenizer = sft_model(session)
        prompts = annotator.neutral_prompts()[: session.steps(quick=80, full=1000)]
        answers = annotator.sample_answers(model, tokenizer, prompts, annotator.ANSWERS, session.seed)
        pairs = annotator.make_preferences(prompts, answers, seed=session.seed)
        preferences.write_preferences(pairs, folder)

    return preferences.load_preferences(
        cached("preferences", conditions_of(session), make, RESTS_ON["preferences"])
    )


def reward_model(session) -> tuple:
    """The reward model of lesson 10, trained on preference_pairs, and its tokenizer; eval mode.

    Shipped, or made once per model, scale and seed.
    """
    from course_utils import preferences
    from course_utils.methods import reward
    from course_utils.model_files import quiet

    if is_shipped("reward_model", session):
        return load_shipped_reward_model(session.device)
    pairs = _reward_pairs(session)
    rows = json.dumps([preferences.as_row(pair) for pair in pairs])
    inputs = conditions_of(session) | {"pairs": hashlib.sha256(rows.encode()).hexdigest()}

    def make(folder: Path) -> None:
        with quiet():
            reward.save_reward_model(*train_reward_model(session), folder)

    folder = cached("reward", inputs, make, RESTS_ON["reward_model"])
    with quiet():
        return reward.load_reward_model(folder, session.device)


def _reward_pairs(session):
    return preference_pairs(session).train[: session.steps(quick=2400, full=10_000, smoke=16)]


def train_reward_model(session) -> tuple[Any, Any]:
    """Train a reward model from the session's assistant now: (model, tokenizer)."""
    from course_utils import preferences
    from course_utils.methods import reward

    language_model, tokenizer = sft_model(session)
    model = reward.from_language_model(language_model)
    reward.fit(
        model,
        preferences.encode_pairs(tokenizer, _reward_pairs(session)),
        pad_id=tokenizer.pad_token_id,
        steps=session.steps(quick=None, full=None),
        seed=session.seed,
        autocast=session.autocast,
    )
    check_not_stopped()
    return model, tokenizer
