"""Several stories of a policy at each prompt, and the parts of their gold scores."""

import torch

from course_utils.lessons.lesson_12.judging import parts
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
