"""Several stories of a policy at each prompt, and the parts of their gold scores."""

import torch

from course_utils.checks.tables import show_table
from course_utils.lessons.lesson_12.judging import interval, parts
from course_utils.methods.rollouts import answer_texts, encode_prompts, rollout, sampling_of

NAMES = ("gold", "mood", "politeness", "sound", "on_prompt", "words")


def told(model, tokenizer, prompts, rounds, seed=0, max_new_tokens=150):
    """(the texts, prompt by prompt in each round, {name of a part: [prompts], the mean over the rounds})."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    asked, sampling = prompts * rounds, sampling_of(tokenizer, max_new_tokens)
    texts = answer_texts(
        tokenizer, rollout(model, encode_prompts(tokenizer, asked), generator=generator, **sampling)
    )
    found = [parts(*both) for both in zip(asked, texts, strict=True)]
    values = {name: torch.tensor([float(one[name]) for one in found]) for name in NAMES}
    return texts, {name: each.view(rounds, -1).mean(0) for name, each in values.items()}


def show_changes(stories, title):
    """A table: the parts before, and their changes with 95% intervals over the prompts.

    stories: {name: what `told` gives}, the first as it was before.
    """
    (first, (_, before)), *others = stories.items()
    rows = [
        {"part": name.replace("_", " "), first: before[name].mean().item()}
        | {f"change, {other}": interval(parts[name] - before[name]) for other, (_, parts) in others}
        for name in NAMES
    ]
    show_table(rows, title)


def at_quantiles(stories, quantiles):
    """Places of stories at these quantiles of the last one's change of the gold score since the first."""
    (_, before), *_, (_, after) = stories.values()
    order = (after["gold"] - before["gold"]).argsort().tolist()
    return [order[round(q * (len(order) - 1))] for q in quantiles]
