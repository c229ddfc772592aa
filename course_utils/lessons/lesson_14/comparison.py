"""One task, every method of the course: what is trained, how it is asked, what it takes.

The task is to answer questions about facts that the model has read. Prompting trains nothing; the others are
trained by one loop with one loss, so that their seconds and bytes can be compared.
"""

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from course_utils.data import batches, encode, encode_prompt_completion, load_questions
from course_utils.evaluation import exact_match
from course_utils.generation import generate, pad_left, sample_tokens
from course_utils.training import accumulated_step, adamw, fast_lm_loss, train

TRAINED = ("prompt tuning", "LoRA", "QLoRA", "full")
METHODS = ("prompting", *TRAINED)
RATES = {  # tried for each method; sweeps_methods.BEST has the best of them
    "prompt tuning": (0.01, 0.03, 0.1, 0.3),
    "LoRA": (1e-3, 3e-3, 1e-2, 3e-2),
    "QLoRA": (1e-3, 3e-3, 1e-2, 3e-2),
    "full": (5e-5, 1.5e-4, 5e-4, 1.5e-3),
}
SHOTS = (0, 2, 4, 6)
STEPS, BATCH = 60, 16
RANK, ALPHA, LENGTH = 8, 16.0, 16
PROMPT_WORDS = "Here are questions, each with its answer.\n"


@dataclass(frozen=True)
class Task:
    """Questions to tune on, those of split validation to choose settings by, held-out ones to judge by."""

    tune: list[dict]
    choose: list[dict]
    judge: list[dict]


def task(choose: int = 100, judge: int = 200) -> Task:
    """All questions to tune on, and so many to choose and to judge by."""
    return Task(load_questions("tune"), _one_a_fact("validation", choose), _one_a_fact("held_out", judge))


def _one_a_fact(name, count):
    """One question each about so many facts, every other one to be answered in a sentence."""
    facts = {}
    for row in load_questions(name):
        facts.setdefault((row["relation"], row["subject"]), {})[row["kind"]] = row
    drawn = random.Random(0).sample(sorted(facts), count)
    return [facts[fact]["sentence" if number % 2 else "short"] for number, fact in enumerate(drawn)]


def encoded(tokenizer, questions: Sequence[dict]):
    """Questions as examples: loss on the answer and the end."""
    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in questions]


def examples_in_front(questions: Sequence[dict], shots: int, seed: int) -> str:
    """A prompt of `shots` questions with their answers, drawn at random."""
    drawn = random.Random(seed).sample(questions, shots)
    return "".join(f"{row['prompt']}{row['completion']}\n" for row in drawn)


def prepare(model, tokenizer, method: str):
    """The model ready to be trained by a method: changed in place, or behind a prompt."""
    from course_utils.methods.lora import apply_lora, attention_targets
    from course_utils.methods.prompt_tuning import PromptTuning, prompt_from_words
    from course_utils.methods.quantization import quantize_model

    if method not in TRAINED:
        raise ValueError(f"method is one of {', '.join(TRAINED)}; got {method!r}")
    if method == "prompt tuning":
        return PromptTuning(model, prompt_from_words(model, encode(tokenizer, PROMPT_WORDS), LENGTH))
    if method == "full":
        return model
    apply_lora(model, RANK, ALPHA, attention_targets(model))
    return quantize_model(model) if method == "QLoRA" else model


def tune(
    model,
    tokenizer,
    method: str,
    questions: Sequence[dict],
    *,
    lr: float,
    seed: int,
    steps: int = STEPS,
    **options,
):
    """(trained model, seconds of its steps). The start of A is drawn by the seed, too."""
    torch.manual_seed(seed)
    model = prepare(model, tokenizer, method)
    stream = batches(encoded(tokenizer, questions), BATCH, seed, tokenizer.pad_token_id)
    settings = {"weight_decay": 0.0, "label": f"{method}, lr {lr:g}, seed {seed}", **options}
    history = train(model, stream, steps=steps, lr=lr, seed=seed, loss_fn=fast_lm_loss, **settings)
    return model, sum(history.column("seconds")[1])


def right_answers(model, tokenizer, questions: Sequence[dict], in_front: str = "") -> list[int]:
    """1 for each question whose greedy answer, up to the end of its line, is right, else 0."""
    prompts = [in_front + row["prompt"] for row in questions]
    answers = generate(model, tokenizer, prompts, max_new_tokens=24, stop=("eos", "\n"), batch_size=100)
    pairs = zip(answers, questions, strict=True)
    return [int(exact_match(answer, row["object"], row["kind"])) for answer, row in pairs]


def file_bytes(model, method: str, in_front: str = "") -> int:
    """Size of the files that hold what a method made; for prompting, of the text."""
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
    """For memory.measure_peak: a training step on random tokens, or, for prompting, a batch of answers."""
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
