"""What lessons hand on: made once, kept under home()/cache, made again when an input changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from course_utils.home import cached
from course_utils.kernels import chosen_product
from course_utils.session import check_not_stopped


def sft_model(session) -> tuple:
    """The instruction-tuned model of lesson 09 and its tokenizer: (model, tokenizer), eval mode.

    Made once for a model, scale and seed, and loaded afresh at every call.
    """
    from course_utils.methods import sft
    from course_utils.models import load_model, save_model

    def make(folder: Path) -> None:
        model, tokenizer = session.load_model()
        sft.assistant(session, model, tokenizer)
        check_not_stopped()
        save_model(model, tokenizer, folder)

    return load_model(str(cached("sft", conditions_of(session), make)), session.device)


def conditions_of(session) -> dict[str, Any]:
    """What of a session a result depends on, the checksum of its model's weights included."""
    return {
        "model": session.model_name,
        "weights": weights_checksum(session),
        "scale": session.scale,
        "seed": session.seed,
        "product": chosen_product(),  # another one rounds otherwise
    }


def weights_checksum(session) -> str:
    """SHA-256 over the weight files of the session's model; its name where they are not on disk yet."""
    from course_utils.model_files import sha256
    from course_utils.models import resolve

    place = resolve(session.model_name, session.device).place
    if not isinstance(place, Path):
        return str(place)
    sums = [sha256(path) for path in sorted(place.glob("*.safetensors"))]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def preference_pairs(session):
    """Pairs of stories with preferences (preferences.Preferences: train, held_out, controlled) of lesson 10.

    The shipped ones for the pocket model; for another one its own answers, made once and labelled alike.
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

    return preferences.load_preferences(cached("preferences", conditions_of(session), make))


def reward_model(session) -> tuple:
    """The reward model of lesson 10, trained on preference_pairs, and its tokenizer; eval mode."""
    from course_utils import preferences
    from course_utils.methods import reward
    from course_utils.model_files import quiet

    pairs = preference_pairs(session).train[: session.steps(quick=2400, full=10_000, smoke=16)]
    rows = json.dumps([preferences.as_row(pair) for pair in pairs])
    inputs = conditions_of(session) | {"pairs": hashlib.sha256(rows.encode()).hexdigest()}

    def make(folder: Path) -> None:
        language_model, tokenizer = sft_model(session)
        model = reward.from_language_model(language_model)
        reward.fit(
            model,
            preferences.encode_pairs(tokenizer, pairs),
            pad_id=tokenizer.pad_token_id,
            steps=session.steps(quick=None, full=None),
            seed=session.seed,
            autocast=session.autocast,
        )
        check_not_stopped()
        with quiet():
            reward.save_reward_model(model, tokenizer, folder)

    folder = cached("reward", inputs, make)
    with quiet():
        return reward.load_reward_model(folder, session.device)
