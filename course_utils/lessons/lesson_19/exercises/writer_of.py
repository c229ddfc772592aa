"""Lesson 19, writer_of: bug hunt, who wrote it."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_19.suspects import writer_of


def _batches_to_place():
    """Log-probabilities of the same answers by three models; each model wrote some of the batches."""
    mask = torch.zeros(6, 5)
    for row, length in enumerate((5, 1, 3, 5, 2, 4)):
        mask[row, :length] = 1
    cases = []
    for place in range(150):
        values = {name: -3 * torch.rand(6, 5) - 0.2 for name in ("student", "teacher", "start")}
        if place >= 147:  # one token that is nearly impossible for a model
            values["student"][0, place - 146] = -40.0
        cases.append((values, mask))
    return cases


def _placed(score, best=max):
    """A wrong writer_of: the name with the best score(values, mask)."""

    def wrong(log_probs, mask):
        scores = {name: score(values, mask).item() for name, values in log_probs.items()}
        return best(scores, key=scores.get)

    return wrong


def _by_votes(log_probs, mask):
    sums = torch.stack([(values * mask).sum(1) for values in log_probs.values()])
    votes = sums.argmax(0).bincount(minlength=len(log_probs))
    return list(log_probs)[votes.argmax()]


def _by_stack(log_probs, mask):
    names, values = zip(*log_probs.items(), strict=True)
    return names[int((torch.stack(values) * mask[None]).flatten(1).sum(1).argmax())]


def _by_differences(log_probs, mask):
    """Right: no model has a positive mean log-ratio against the writer."""
    for name, own in log_probs.items():
        others = (other for key, other in log_probs.items() if key != name)
        if all(((own - other) * mask).sum() >= 0 for other in others):
            return name
    return None


WRITER_MISTAKES = [
    (
        "This is the model for which the answers are least likely. For the writer they are likeliest.",
        _placed(lambda v, m: (v * m).sum(), min),
    ),
    ("You count prompt and padding, too. Multiply by the mask.", _placed(lambda v, m: v.sum())),
    (
        "You divide every answer by its length, so a short one counts as much as a long one. The KL is that "
        "of whole answers: sum over tokens, then take the mean.",
        _placed(lambda v, m: ((v * m).sum(1) / m.sum(1)).mean()),
    ),
    (
        "You count for how many answers each model is the likeliest. A vote ignores the differences' size: "
        "the theorem is about the mean.",
        _by_votes,
    ),
    (
        "This is the mean of probabilities, which a single likely answer dominates. Take the mean of "
        "log-probabilities.",
        _placed(lambda v, m: (v * m).sum(1).exp().mean()),
    ),
    (
        "This is the mean of the tokens' probabilities. Take log-probabilities.",
        _placed(lambda v, m: (v.exp() * m).sum() / m.sum()),
    ),
    ("You use only the first token.", _placed(lambda v, m: v[:, 0].sum())),
    ("You use only the first answer.", _placed(lambda v, m: (v * m)[0].sum())),
]

EXERCISE = Exercise(
    name="writer_of",
    lesson="19",
    minutes=8,
    difficulty=2,
    reference=writer_of,
    check=compare(
        writer_of,
        _batches_to_place,
        WRITER_MISTAKES,
        else_="Sum the log-probabilities of an answer's tokens, take the mean over the answers, and "
        "return the name with the largest mean.",
    ),
    wrong=[
        (lambda log_probs, mask: "student", "Sum the log-probabilities"),
        (lambda log_probs, mask: None, "Is there a return"),
        (lambda log_probs: "student", "should take the arguments"),
    ],
    right=[_by_stack, _by_differences],
    hints=(
        "The mean of log p - log q over answers that p wrote is KL(p || q), which is never negative. Which "
        "model then has the largest mean log-probability?",
        "(values * mask).sum(1) is [rows], the log-probability of each answer; its mean is one number per "
        "model; return the name of the largest.",
    ),
    then="Your function gives the verdicts below.",
)
