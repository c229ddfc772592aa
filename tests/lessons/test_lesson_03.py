"""Lesson 03: verdicts on answers; what the learner wrote is what trains; a broken LoRA fails the headline."""

import copy

import pytest
import torch
from helpers import draws_of, feed, tiny_gpt2
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks import ClaimFailed
from course_utils.data import Example, batches
from course_utils.lessons.lesson_03 import suspects
from course_utils.lessons.lesson_03.exercises.merge_fault import merge_fault
from course_utils.lessons.lesson_03.exercises.shared import LoRALinear, apply_lora, merge_lora
from course_utils.lessons.lesson_03.exercises.why_it_never_learns import why_it_never_learns
from course_utils.lessons.lesson_03.small_lora import LowRankChange, wrapped_layers
from course_utils.methods import lora
from course_utils.notebook_files import code_cells, lessons, read_notebook


@pytest.mark.parametrize("exercise, seed", draws_of("03"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


# --- LoRA in small is LoRA whole


def both(targets):
    """(a model with LoRA in small, one with the package's), the same A and B in both."""
    small, whole = tiny_gpt2(), tiny_gpt2()
    apply_lora(small, 4, 6.0, targets)
    lora.apply_lora(whole, 4, 6.0, targets)
    for name, layer in wrapped_layers(small).items():
        other = whole.get_submodule(name)
        nn.init.normal_(layer.change.lora_B, std=0.1)
        other.lora_A.data, other.lora_B.data = (
            layer.change.lora_A.data.clone(),
            layer.change.lora_B.data.clone(),
        )
    return small, whole


IDS = torch.randint(1, 64, (3, 10), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("targets", [["c_attn"], None])
def test_in_small_it_computes_what_the_package_computes(targets):
    small, whole = both(targets)
    for model in (small, whole):
        model(IDS, labels=IDS).loss.backward()
    torch.testing.assert_close(small(IDS).logits, whole(IDS).logits)
    assert lora.count_trainable(small) == lora.count_trainable(whole)
    for name, layer in wrapped_layers(small).items():
        for factor in ("lora_A", "lora_B"):
            own = getattr(layer.change, factor).grad
            torch.testing.assert_close(own, getattr(whole.get_submodule(name), factor).grad)
    merge_lora(small)
    lora.merge_lora(whole)
    assert not wrapped_layers(small)
    torch.testing.assert_close(small(IDS).logits, whole(IDS).logits)


def test_one_seed_draws_the_same_start():
    torch.manual_seed(0)
    small = LoRALinear(nn.Linear(6, 10), 3, 6.0)
    torch.manual_seed(0)
    whole = lora.LoRALinear(nn.Linear(6, 10), 3, 6.0)
    assert torch.equal(small.change.lora_A, whole.lora_A)


# --- the broken things of the bug hunts


def test_the_script_adds_the_transpose_and_raises_nothing():
    whole = lora.apply_lora(tiny_gpt2(), 4, 6.0, ["attn.c_proj"])
    for layer in lora.lora_layers(whole).values():
        nn.init.normal_(layer.lora_B)
    handed_over = suspects.merged_by_script(whole)
    assert handed_over.state_dict().keys() == tiny_gpt2().state_dict().keys()
    for name, layer in lora.lora_layers(whole).items():
        before, after = layer.original.weight, handed_over.get_submodule(name).weight
        assert isinstance(layer.original, Conv1D)
        assert merge_fault(before, after, (layer.weight - before).detach()) == "transposed"


def test_the_stuck_layers_are_stuck_each_for_its_own_reason():
    layers = suspects.stuck_layers(6, 5)
    found = {
        name: why_it_never_learns(copy.deepcopy(layer), torch.randn(3, 6)) for name, layer in layers.items()
    }
    assert found == {"first": "detached", "second": "frozen", "third": "both zero"}


# --- the notebook, with another answer in an exercise's cell


START = [
    "import os",
    "start(MODEL, SCALE",
    "# What this lesson imports",
    "base, tokenizer =",
    "# The questions",
]
PARTS = ["check.LowRankChange(", "check.LoRALinear(", "check.apply_lora("]
TRAINED = [*START, *PARTS, "def adapted(", "def logits_of(", "history = train("]
HUNT = 'folded_until_tried("why_it_never_learns")'
MERGED = [*TRAINED, "check.merge_lora(", "two_ways, merged ="]
HEADLINE = [*TRAINED[:-1], "PLACE =", "# Imports from peft", "config = LoraConfig(", "claim.same_as_peft("]


def run(marks: list[str], answers: dict, checked: bool = True, **replaced) -> None:
    """Runs the lesson's cells with these texts, in order; answers take the place of the exercises' cells.

    replaced: what makes, of all names, the value that a name gets before the last cell.
    """
    cells = [cell.source for cell in code_cells(read_notebook(lessons(["03"])[0]))]
    namespace = {"__name__": "__main__", "answers": answers}
    for mark in marks:
        source = next(source for source in cells if mark in source)
        for name in [name for name in answers if f"check.{name}(" in mark]:
            source = f"{name} = check.{name}(answers[{name!r}])" if checked else f"{name} = answers[{name!r}]"
        if mark == marks[-1]:
            namespace |= {name: make(namespace) for name, make in replaced.items()}
        exec(compile(source, f"lesson 03, the cell with {mark}", "exec"), namespace)


def counting(cls):
    """A right answer that counts how often its forward runs."""

    class Counting(cls):
        calls = 0

        def forward(self, x):
            Counting.calls += 1
            return super().forward(x)

    Counting.__name__ = cls.__name__
    return Counting


def recording(fn, calls):
    """A right answer that writes its name down when it is called."""

    def answer(*arguments, **named):
        calls.append(fn.__name__)
        return fn(*arguments, **named)

    answer.__name__ = fn.__name__
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("cls", [LowRankChange, LoRALinear])
def test_what_the_learner_wrote_is_trained(cls, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    answer = counting(cls)
    run(TRAINED[:-1], {cls.__name__: answer})
    in_the_check = answer.calls
    run(TRAINED, {cls.__name__: answer})
    assert f"your {cls.__name__}" in capsys.readouterr().out
    assert answer.calls > 2 * in_the_check


@pytest.mark.slow
def test_the_first_hunt_says_the_same_when_its_cell_runs_again(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    run([*START, *PARTS[:2], "curves = {", "check.why_it_never_learns(", HUNT, HUNT], {})
    first, again = capsys.readouterr().out.split("verdict")[-2:]
    for verdict in ("learns", "detached", "frozen", "both zero"):
        assert verdict in first and verdict in again


@pytest.mark.slow
def test_what_the_learner_wrote_wraps_and_merges(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    calls = []
    run(MERGED, {fn.__name__: recording(fn, calls) for fn in (apply_lora, merge_lora)})
    assert "your apply_lora" in capsys.readouterr().out
    assert calls.count("apply_lora") > 4 and calls[-1] == "merge_lora"  # its check calls the first four times


class ScaleDropped(LowRankChange):
    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        self.scale = 1.0


class FrozenA(LowRankChange):
    def forward(self, x):
        return self.scale * (x @ self.lora_A.detach().T) @ self.lora_B.T


def prompts_too_first(namespace):
    """A question_batches whose first call, for the lesson's LoRA, has the loss on prompts as well."""
    plain, calls = namespace["question_batches"], []

    def question_batches():
        calls.append(1)
        if len(calls) > 1:
            return plain()
        examples = [Example(row.input_ids, list(row.input_ids)) for row in namespace["tune"]]
        return batches(examples, 16, namespace["SEED"], namespace["tokenizer"].pad_token_id)

    return question_batches


class ByProduct(LowRankChange):
    """The same function in another order: it differs from PEFT's by rounding, which training lets grow."""

    def forward(self, x):
        return x @ (self.scale * self.lora_B @ self.lora_A).T


@pytest.mark.night
@pytest.mark.parametrize("right", [LowRankChange, ByProduct])
def test_a_right_one_keeps_the_headline(right, capsys):
    run(HEADLINE, {"LowRankChange": right}, checked=False)
    assert "have made the same change" in capsys.readouterr().out


@pytest.mark.night
@pytest.mark.parametrize("broken", [ScaleDropped, FrozenA])
def test_a_broken_change_fails_the_headline(broken):
    with pytest.raises(ClaimFailed, match="have made the same change"):
        run(HEADLINE, {"LowRankChange": broken}, checked=False)


@pytest.mark.night
def test_a_loss_on_prompts_fails_the_headline():
    with pytest.raises(ClaimFailed, match="have made the same change"):
        run(HEADLINE, {}, question_batches=prompts_too_first)


@pytest.mark.night
def test_a_frozen_A_does_not_lower_the_loss_as_far():
    with pytest.raises(ClaimFailed, match="LoRA lowers the loss"):
        run(
            [*TRAINED, "claim.lowers_the_loss("],
            {"LowRankChange": FrozenA},
            checked=False,
            of_base=judged_base,
        )


def judged_base(namespace):
    return namespace["judged"](namespace["base"])


def biases_alone(namespace):
    """A model of which only the biases are trained, as long as LoRA and at their best rate."""
    model, _ = namespace["session"].load_model()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    train = namespace["train"]
    train(model, namespace["question_batches"](), steps=60, lr=6e-3, seed=namespace["SEED"])
    return model


@pytest.mark.night
def test_biases_alone_do_not_lower_the_loss_as_far():
    with pytest.raises(ClaimFailed, match="LoRA lowers the loss"):
        run([*TRAINED[:-1], "claim.lowers_the_loss("], {}, of_base=judged_base, model=biases_alone)
