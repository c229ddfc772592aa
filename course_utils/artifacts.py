"""What lessons hand on: made once, kept under home()/cache, made again when an input changes."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from course_utils.code_hash import code_hash, data_hash
from course_utils.session import home


def cached(name: str, inputs: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """The folder that make(folder) filled, from the cache where name, inputs and code are the same.

    inputs: as JSON values what the result depends on (model, scale, seed) beside the course's data and the code
    that make reaches. Several kernels may ask at once: one makes, the others wait. Nothing is kept where make
    fails. Raises TypeError for inputs that are not JSON, OSError on a full disk.
    """
    key = json.dumps([name, inputs, code_hash(make), data_hash(make)], sort_keys=True)
    folder = home() / "cache" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            print(f"Making {name} once; it will be kept in {folder}", flush=True)
            _fill(Path(f"{folder}.part"), make)
            Path(f"{folder}.part").replace(folder)
    return folder


def _fill(part: Path, make: Callable[[Path], None]) -> None:
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    part.mkdir()
    try:
        make(part)
    except BaseException as fault:
        shutil.rmtree(part, ignore_errors=True)
        if getattr(fault, "errno", None) == errno.ENOSPC or "No space left" in str(fault):
            raise OSError(
                errno.ENOSPC,
                f"The disk is full: nothing was kept in {part.parent}. Free some "
                "space, or set COURSE_HOME to a folder on another disk",
            ) from fault
        raise


def sft_model(session) -> tuple:
    """The instruction-tuned model of lesson 09 and its tokenizer: (model, tokenizer), eval mode.

    Made once for a model, scale and seed, and loaded afresh at every call.
    """
    from course_utils import sft
    from course_utils.models import load_model, save_model

    def make(folder: Path) -> None:
        model, tokenizer = session.load_model()
        sft.assistant(session, model, tokenizer)
        save_model(model, tokenizer, folder)

    return load_model(str(cached("sft", conditions_of(session), make)), session.device)


def conditions_of(session) -> dict[str, Any]:
    """What of a session a result depends on, the checksum of its model's weights included."""
    return {
        "model": session.model_name,
        "weights": weights_checksum(session),
        "scale": session.scale,
        "seed": session.seed,
    }


def weights_checksum(session) -> str:
    """SHA-256 over the weight files of the session's model; its name where they are not on disk yet."""
    from course_utils.models import resolve, sha256

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

    if session.model_name == "pocket" or session.scale == "smoke":
        return preferences.load_preferences()

    def make(folder: Path) -> None:
        model, tokenizer = sft_model(session)
        prompts = preferences.neutral_prompts()[: session.steps(quick=80, full=1000)]
        answers = preferences.sample_answers(model, tokenizer, prompts, preferences.ANSWERS, session.seed)
        pairs = preferences.make_preferences(prompts, answers, seed=session.seed)
        preferences.write_preferences(pairs, folder)

    return preferences.load_preferences(cached("preferences", conditions_of(session), make))


def reward_model(session) -> tuple:
    """The reward model of lesson 10, trained on preference_pairs, and its tokenizer; eval mode."""
    from course_utils import preferences, reward
    from course_utils.models import quiet

    pairs = preference_pairs(session).train[: session.steps(quick=1200, full=10_000, smoke=16)]
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
        with quiet():
            reward.save_reward_model(model, tokenizer, folder)

    folder = cached("reward", inputs, make)
    with quiet():
        return reward.load_reward_model(folder, session.device)
