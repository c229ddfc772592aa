"""One task, every method of the course: training, prompting and costs.

The task is to name three facts in order, as in data/lists: a list is right or wrong as a whole, and a program
verifies it. Each fact occurs in only one list of a set, so the lists are independent of each other. Prompting
trains nothing; all other methods use the same loop and loss.
"""

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch

from course_utils.data import DATA, IGNORE, Example, batches, encode, encode_prompt_completion, read_jsonl
from course_utils.generation import generate, pad_left, sample_tokens
from course_utils.training import accumulated_step, adamw, fast_lm_loss, scored_lm_loss, train
from course_utils.world.lists import LENGTH, items, list_row, verify

TRAINED = ("prompt tuning", "LoRA", "QLoRA", "full")
METHODS = ("prompting", *TRAINED)
SETTINGS = {  # examples in the prompt, or learning rates: equally many per method
    "prompting": (0, 1, 2, 3),
    "prompt tuning": (0.01, 0.03, 0.1, 0.3),
    "LoRA": (1e-3, 3e-3, 1e-2, 3e-2),
    "QLoRA": (1e-3, 3e-3, 1e-2, 3e-2),
    "full": (1e-4, 3e-4, 1e-3, 3e-3),
}
STEPS, BATCH = 60, 16
RANK, ALPHA, SOFT_TOKENS = 8, 16.0, 16  # on all linear layers
PROMPT_WORDS = "Here are requests, each with its answer.\n"
NEW_TOKENS = 24  # the longest right answer has 15 tokens


@dataclass(frozen=True)
class Task:
    """Lists for tuning, validation lists for choosing settings, held-out lists for evaluation."""

    tune: list[dict]
    choose: list[dict]
    judge: list[dict]


def task(choose: int = 100, judge: int = 200) -> Task:
    """All lists for tuning, and these numbers of lists for choosing and for evaluation."""
    sets = {"tune": lists_of("tune", 340), "choose": lists_of("validation", choose)}
    return Task(**sets, judge=lists_of("held_out", judge))


def lists_of(split: str, count: int) -> list[dict]:
    """`count` lists of three facts of a split, no fact in two of them; always the same ones.

    A row has prompt and completion as text, answers, relations and subjects.
    """
    facts = [row for row in read_jsonl(DATA / "facts.jsonl") if row["split"] == split]
    if count * LENGTH > len(facts):
        raise ValueError(f"{split} has {len(facts)} facts: not enough for {count} lists of {LENGTH}")
    random.Random(f"lists of {split}").shuffle(facts)
    rows = [list_row(facts[LENGTH * place : LENGTH * (place + 1)]) for place in range(count)]
    return [
        {
            "prompt": f"{row['prompt'][0]['content']}\nAnswer:",
            "completion": f" {', '.join(row['answers'])}.",
            **{name: row[name] for name in ("answers", "relations", "subjects")},
        }
        for row in rows
    ]


def answers_with_end(tokenizer, lists: Sequence[dict]) -> list[Example]:
    """Lists as examples, with loss on the answer and its end."""
    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in lists]


def answers_alone(tokenizer, lists: Sequence[dict], in_front: str = "") -> list[Example]:
    """Lists as examples, with loss on the answer but not on its end, which a prompt cannot teach."""
    examples = []
    for row in lists:
        prompt, answer = encode(tokenizer, in_front + row["prompt"]), encode(tokenizer, row["completion"])
        examples.append(Example(prompt + answer, [IGNORE] * len(prompt) + answer))
    return examples


def examples_in_front(lists: Sequence[dict], shots: int, seed: int) -> str:
    """A prompt of `shots` random lists with their answers."""
    drawn = random.Random(seed).sample(lists, shots)
    return "".join(f"{row['prompt']}{row['completion']}\n" for row in drawn)


def prepare(model, tokenizer, method: str):
    """The model prepared for training by a method: changed in place, or after a soft prompt."""
    from course_utils.methods.lora import apply_lora
    from course_utils.methods.lora_fast import speed_up
    from course_utils.methods.prompt_tuning import PromptTuning, prompt_from_words
    from course_utils.methods.quantization import quantize_model

    if method not in TRAINED:
        raise ValueError(f"method must be one of {', '.join(TRAINED)}; got {method!r}")
    if method == "prompt tuning":
        return PromptTuning(model, prompt_from_words(model, encode(tokenizer, PROMPT_WORDS), SOFT_TOKENS))
    if method == "full":
        return model
    apply_lora(model, RANK, ALPHA)
    return quantize_model(model) if method == "QLoRA" else speed_up(model)


def train_with(
    model,
    tokenizer,
    method: str,
    lists: Sequence[dict],
    *,
    lr: float,
    seed: int,
    steps: int = STEPS,
    **options,
):
    """(trained model, seconds of its steps). The seed also sets the initial A."""
    torch.manual_seed(seed)
    model = prepare(model, tokenizer, method)
    stream = batches(answers_with_end(tokenizer, lists), BATCH, seed, tokenizer.pad_token_id)
    loss_fn = fast_lm_loss if method == "prompt tuning" else scored_lm_loss
    settings = {"weight_decay": 0.0, "label": f"{method}, lr {lr:g}, seed {seed}", **options}
    history = train(model, stream, steps=steps, lr=lr, seed=seed, loss_fn=loss_fn, **settings)
    return model, sum(history.column("seconds")[1])


def answers_to(model, tokenizer, lists: Sequence[dict], in_front: str = "") -> list[str]:
    """Greedy answers, up to the end of their line."""
    prompts = [in_front + row["prompt"] for row in lists]
    return generate(model, tokenizer, prompts, max_new_tokens=NEW_TOKENS, stop=("eos", "\n"), batch_size=100)


def right_answers(answers: Sequence[str], lists: Sequence[dict]) -> list[int]:
    """1 for each list named completely and in order, else 0."""
    return [int(verify(text, row["answers"])) for text, row in zip(answers, lists, strict=True)]


def with_marks(text: str, answers: Sequence[str]) -> str:
    """The names in a text, each that is not the right one at its place with a cross."""
    named = zip_longest(items(text), answers[: len(items(text))])
    return ", ".join(name if name == right else f"{name} \N{BALLOT X}" for name, right in named)


def file_bytes(model, method: str, in_front: str = "") -> int:
    """Size of the files with a method's result; for prompting, of the text."""
    from course_utils.methods.lora_files import save_adapter
    from course_utils.methods.prompt_tuning import save_prompt

    if method == "prompting":
        return len(in_front.encode())
    with tempfile.TemporaryDirectory() as folder:
        if method == "full":
            model.save_pretrained(folder)
        else:
            (save_prompt if method == "prompt tuning" else save_adapter)(model, folder)
        return sum(path.stat().st_size for path in Path(folder).iterdir())


def method_step(method="full", batch_size=BATCH, tokens=64):
    """For memory.measure_peak: a training step on random tokens or, for prompting, a batch of answers."""
    from course_utils.memory import random_batch
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    batch = random_batch(model, batch_size, tokens)
    if method == "prompting":
        rows = pad_left(batch["input_ids"].tolist(), tokenizer.pad_token_id)
        return lambda: sample_tokens(model, *rows, max_new_tokens=24, temperature=0.0)
    model = prepare(model, tokenizer, method)
    optimizer = adamw(model, lr=1e-5)

    def step():
        accumulated_step(model, [batch], fast_lm_loss)
        optimizer.step()
        optimizer.zero_grad()

    return step
