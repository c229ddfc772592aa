"""Lesson 13, frozen_copy: keep the reference."""

import copy

import torch
from torch import nn

from course_utils.checks.compare import Mistake, expect_tensor, identical
from course_utils.checks.exercises import Exercise
from course_utils.methods.rollouts import frozen_copy


class _Toy(nn.Module):
    """A model made from its config, like those of transformers."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(nn.Linear(config, 4), nn.Dropout(0.5), nn.Linear(4, 2))

    def forward(self, x):
        return self.layers(x)


def _check_frozen_copy(fn):
    for size in (4, 3):
        model = _Toy(size).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        reference = fn(model)
        if reference is None:
            raise Mistake("the result is None. Is there a return?")
        if not isinstance(reference, nn.Module):
            raise Mistake(f"The result should be a model, but is of type {type(reference).__name__}.")
        _expect_frozen_copy(reference, model, before)


def _expect_frozen_copy(reference, model, before):
    places = {parameter.data_ptr() for parameter in model.parameters()}
    if any(parameter.data_ptr() in places for parameter in reference.parameters()):
        raise Mistake(
            "The reference shares its weights with the policy: it moves along, and the KL stays 0. Make a "
            "copy."
        )
    if any(parameter.requires_grad for parameter in reference.parameters()):
        raise Mistake(
            "The reference is not frozen: an optimiser that gets its parameters would train it, and its "
            "forward pass keeps activations for nothing."
        )
    if any(module.training for module in reference.modules()):
        raise Mistake(
            "The reference is in training mode: dropout changes its log-probabilities in every call."
        )
    if not all(parameter.requires_grad for parameter in model.parameters()):
        raise Mistake("You froze the policy, too: freeze the copy, not the model.")
    if not all(module.training for module in model.modules()):
        raise Mistake("You put the policy into eval mode: change the copy, not the model.")
    if not identical(model.state_dict(), before):
        raise Mistake("You changed the policy's weights.")
    if reference.state_dict().keys() != before.keys() or not identical(reference.state_dict(), before):
        raise Mistake("The copy's weights differ from the model's.")
    x = torch.randn(3, model.config)
    expected = expect_tensor(reference(x), (3, 2), "what the reference gives").clone()
    model(x).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    if not torch.equal(reference(x), expected):
        raise Mistake("The reference moves along when the policy is trained: make an independent copy.")


def _frozen_itself(model):
    return model.eval().requires_grad_(False)


def _shallow(model):
    reference = copy.deepcopy(model)
    for own, theirs in zip(reference.parameters(), model.parameters(), strict=True):
        own.data = theirs.data
    return reference.eval().requires_grad_(False)


def _assigned(model):
    reference = type(model)(model.config)
    reference.load_state_dict(model.state_dict(), assign=True)
    return reference.eval().requires_grad_(False)


def _training_copy(model):
    return copy.deepcopy(model).requires_grad_(False)


def _trainable_copy(model):
    return copy.deepcopy(model).eval()


def _policy_frozen(model):
    return copy.deepcopy(model.requires_grad_(False)).eval()


def _policy_in_eval(model):
    return copy.deepcopy(model.eval()).requires_grad_(False)


def _from_config(model):
    reference = type(model)(model.config)
    reference.load_state_dict(model.state_dict())
    return reference.eval().requires_grad_(False)


def _step_by_step(model):
    reference = copy.deepcopy(model)
    for parameter in reference.parameters():
        parameter.requires_grad = False
    reference.train(False)
    return reference


EXERCISE = Exercise(
    name="frozen_copy",
    lesson="13",
    minutes=5,
    difficulty=1,
    reference=frozen_copy,
    check=_check_frozen_copy,
    wrong=[
        (_frozen_itself, "shares its weights"),
        (_shallow, "shares its weights"),
        (_assigned, "shares its weights"),
        (_training_copy, "in training mode"),
        (_trainable_copy, "not frozen"),
        (_policy_frozen, "You froze the policy, too"),
        (_policy_in_eval, "You put the policy into eval mode"),
        (lambda model: type(model)(model.config).eval().requires_grad_(False), "weights differ"),
        (lambda model: None, "Is there a return?"),
    ],
    right=[_from_config, _step_by_step],
    hints=(
        "Three things can go wrong with a reference: it moves along, it is trained, it is noisy. So make a "
        "copy, freeze it, and switch off dropout.",
        "copy.deepcopy gives a model with its own weights; .eval() switches dropout off; "
        ".requires_grad_(False) freezes. Both methods return the model.",
    ),
    then="All that follows uses your reference.",
)
