"""Lesson 14, difference_interval: an interval with questions and seeds."""

import math

import numpy as np
import torch

from course_utils.checks.compare import Mistake, unchanged
from course_utils.checks.exercises import Exercise
from course_utils.evaluation import difference_interval


def _scores(seeds, questions, gap, luck):
    """Scores of two methods, as sums of effects of questions and seeds (luck); their seeds are unrelated."""
    hard = 0.9 * torch.randn(questions)  # common to both
    sides = []
    lasting = torch.randn(2, seeds)
    lasting = torch.linalg.qr((lasting - lasting.mean(1, keepdim=True)).T)[0].T  # unrelated, of norm 1
    for effect in lasting:
        own = 0.35 * torch.randn(questions)
        noise = 0.05 * torch.randn(seeds, questions)
        sides.append(0.5 + hard + own + luck * effect[:, None] + noise)
    return sides[0] + gap, sides[1]


def _check_difference_interval(fn):
    # questions have the larger effect in the first, seeds in the second; the first has so few seeds that
    # separate questions per seed would show
    tried = []
    for seeds, questions, gap, luck in [(3, 60, 0.3, 0.085), (8, 45, -0.4, 0.72)]:
        ours, theirs = _scores(seeds, questions, gap, luck)
        with unchanged(ours=ours, theirs=theirs):
            result, again = (fn(ours, theirs, draws=4000, seed=1) for _ in range(2))
        mean, low, high = _three_numbers(result)
        _expect_mean(mean, (ours.mean() - theirs.mean()).item())
        if low > high:
            raise Mistake("The interval's ends are swapped: low first.")
        if _three_numbers(again) != (mean, low, high):
            raise Mistake(
                "Two calls with the same seed give different intervals. Draw with a generator made from the "
                "seed."
            )
        tried.append((low, high, ours, theirs))
    _expect_intervals(tried)
    _expect_seeds_of_each(fn, ours, theirs)
    _, low, high = _three_numbers(fn(ours, theirs, draws=1, seed=1))
    if high - low > 1e-6:
        raise Mistake("With draws=1 there is one mean, and both ends equal it. Use the argument `draws`.")


def _expect_seeds_of_each(fn, ours, theirs):
    """Seeds in order of their means, and five of theirs beside eight of ours: both show paired seeds."""
    ours, sorted_ = (scores[scores.mean(1).argsort()] for scores in (ours, theirs))
    _, *ends = _three_numbers(fn(ours, sorted_, draws=4000, seed=1))
    if _distance(ends, _interval()(ours, sorted_, 20_000, 2)[1:]) > 0.065:
        raise Mistake(
            "You draw the same seeds for both methods. Their trainings are unrelated: draw the seeds of each "
            "method separately."
        )
    fewer = theirs[:5]
    wrong = Mistake(
        "The numbers of seeds may differ. Draw seeds separately for each method, take its mean over them, "
        "then the difference."
    )
    try:
        result = fn(ours, fewer, draws=4000, seed=1)
    except (IndexError, RuntimeError, ValueError):
        raise wrong from None
    mean, *ends = _three_numbers(result)
    _expect_mean(mean, (ours.mean() - fewer.mean()).item())
    if _distance(ends, _interval()(ours, fewer, 20_000, 2)[1:]) > 0.065:
        raise wrong


def _three_numbers(result):
    if not isinstance(result, (tuple, list)) or len(result) != 3 or any(value is None for value in result):
        raise Mistake("Return three numbers: the difference of the means, and the interval's two ends.")
    numbers = tuple(float(value) for value in result)
    if not all(map(math.isfinite, numbers)):
        raise Mistake(f"All three should be finite numbers, but are {numbers}.")
    return numbers


def _expect_mean(mean, right):
    if abs(mean + right) < 1e-5:
        raise Mistake("The sign is wrong: ours minus theirs, so that ours is better above 0.")
    if abs(mean - right) > 1e-5:
        raise Mistake(
            "The first value should be the difference of the measured means, not of one draw or of all "
            f"draws: {right:.5f}, but it is {mean:.5f}."
        )


def _distance(ends, others):
    """The larger distance between the ends of two intervals, divided by the second's width."""
    return max(abs(end - other) for end, other in zip(ends, others, strict=True)) / (others[1] - others[0])


def _expect_intervals(tried):
    """tried: [(low, high, ours, theirs)]; 4,000 draws move an end by about a hundredth of the width."""
    rights = [_interval()(ours, theirs, 20_000, 2)[1:] for _, _, ours, theirs in tried]
    if all(_distance(ends[:2], right) < 0.065 for ends, right in zip(tried, rights, strict=True)):
        return
    low, high, right = *tried[0][:2], rights[0]
    if high - low < 0.02 * (right[1] - right[0]):
        raise Mistake(
            "All draws are nearly equal. Draw with replacement: some questions twice, some not at all; a "
            "mere reordering keeps the mean. Or do you make a new generator in each draw?"
        )
    distances = {
        message: sum(
            _distance((low, high), wrong(ours, theirs, 8000, 2)[1:]) for low, high, ours, theirs in tried
        )
        for message, wrong in INTERVAL_MISTAKES
    }
    message = min(distances, key=distances.get)
    if distances[message] < 0.1:
        raise Mistake(message)
    raise Mistake(
        f"The interval should be near {right[0]:.3f} to {right[1]:.3f} but is {low:.3f} to {high:.3f}."
    )


def _interval(cut=0.025, questions=True, seeds=True, paired=True, size=1.0, one_seed=False, around=0.0):
    """A difference_interval with settings: what is resampled, of which size, and what is cut off.

    All draws at once: the counts of each question and seed are the weights of a mean.
    """

    def made(ours, theirs, draws=2000, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def weights(count, again=True, share=1.0):  # [draws, count]
            if not again:
                return torch.full((draws, count), 1 / count)
            drawn = max(1, int(share * count))
            picks = torch.randint(count, (draws, drawn), generator=generator)
            return torch.zeros(draws, count).scatter_add_(1, picks, torch.ones(draws, drawn)) / drawn

        asked = weights(ours.shape[1], questions, size)
        others = asked if paired else weights(ours.shape[1], questions, size)
        mine = weights(len(ours), seeds)
        same = mine if one_seed else weights(len(theirs), seeds)
        means = (mine @ ours * asked).sum(1) - (same @ theirs * others).sum(1)
        mean = (ours.mean() - theirs.mean()).item()
        low, high = (means - around * mean).quantile(torch.tensor([cut, 1 - cut]))
        return mean, low.item(), high.item()

    return made


def _single_answers(ours, theirs, draws=2000, seed=0):
    """Draws single answers, as if each came from its own question and seed."""
    generator = torch.Generator().manual_seed(seed)
    difference = (ours - theirs).flatten()
    picks = torch.randint(len(difference), (draws, len(difference)), generator=generator)
    low, high = difference[picks].mean(1).quantile(torch.tensor([0.025, 0.975]))
    return difference.mean().item(), low.item(), high.item()


def _of_questions(ours, theirs, draws=2000, seed=0):
    difference = ours.mean(0) - theirs.mean(0)
    low, high = difference.quantile(torch.tensor([0.025, 0.975]))
    return difference.mean().item(), low.item(), high.item()


def _questions_for_each_seed(ours, theirs, draws=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sides = []
    for scores in (ours, theirs):
        rows = scores[torch.randint(len(scores), (draws, len(scores)), generator=generator)]
        picks = torch.randint(scores.shape[1], rows.shape, generator=generator)  # [draws, seeds, questions]
        sides.append(rows.gather(2, picks).mean((1, 2)))
    low, high = (sides[0] - sides[1]).quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _seed_for_each_question(ours, theirs, draws=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randint(ours.shape[1], (draws, ours.shape[1]), generator=generator)
    means = [
        scores[torch.randint(len(scores), asked.shape, generator=generator), asked].mean(1)
        for scores in (ours, theirs)
    ]
    low, high = (means[0] - means[1]).quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _seeds_for_each_question(ours, theirs, draws=2000, seed=0):
    """As many seeds as there are, but others for each question."""
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randint(ours.shape[1], (draws, 1, ours.shape[1]), generator=generator)
    means = []
    for scores in (ours, theirs):
        picks = torch.randint(len(scores), (draws, len(scores), ours.shape[1]), generator=generator)
        means.append(scores[picks, asked].mean((1, 2)))
    low, high = (means[0] - means[1]).quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _paired_if_as_many(ours, theirs, draws=2000, seed=0):
    return _interval(one_seed=len(ours) == len(theirs))(ours, theirs, draws, seed)


def _no_replacement(ours, theirs, draws=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack(
        [(ours - theirs)[:, torch.randperm(ours.shape[1], generator=generator)].mean() for _ in range(50)]
    )
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _new_generators(ours, theirs, draws=2000, seed=0):
    means = torch.stack([torch.tensor(difference_interval(ours, theirs, 1, seed)[1]) for _ in range(50)])
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _seeds_of_theirs(ours, theirs, draws=2000, seed=0):
    """Draws as many seeds of both as theirs has."""
    _, low, high = _interval()(ours[: len(theirs)], theirs, draws, seed)
    return (ours.mean() - theirs.mean()).item(), low, high


def _of_draws(ours, theirs, draws=2000, seed=0):
    _, low, high = _interval()(ours, theirs, draws, seed)
    return (low + high) / 2 + 0.02 * (high - low), low, high


def _unseeded(ours, theirs, draws=2000, seed=0):
    return _interval()(ours, theirs, draws, torch.seed() % 2**32)


def _fixed_draws(ours, theirs, draws=2000, seed=0):
    return _interval()(ours, theirs, 4000, seed)


def _in_place(ours, theirs, draws=2000, seed=0):
    ours += 1e-3
    return _interval()(ours, theirs, draws, seed)


def _absolute(ours, theirs, draws=2000, seed=0):
    mean, low, high = _interval()(ours, theirs, draws, seed)
    return abs(mean), min(abs(low), abs(high)), max(abs(low), abs(high))


def _turned_ends(ours, theirs, draws=2000, seed=0):
    mean, low, high = _interval()(ours, theirs, draws, seed)
    return mean, high, low


def _interval_with_numpy(ours, theirs, draws=2000, seed=0):
    ours, theirs, rng = ours.numpy(), theirs.numpy(), np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        picks = rng.integers(ours.shape[1], size=ours.shape[1])
        mine, other = (rng.integers(len(each), size=len(each)) for each in (ours, theirs))
        means.append(ours[np.ix_(mine, picks)].mean() - theirs[np.ix_(other, picks)].mean())
    return [ours.mean() - theirs.mean(), *np.percentile(means, [2.5, 97.5])]


INTERVAL_MISTAKES = [
    (
        "Your interval covers other questions, but hardly other trainings. In each draw, draw the seeds of "
        "each method once, for all questions.",
        _interval(seeds=False),
    ),
    (
        "You draw only seeds. Other questions give other scores, too: draw them as well.",
        _interval(questions=False),
    ),
    (
        "You draw separate questions for the two methods, so one may get an easy draw and the other a hard "
        "one. Draw the questions once, and take both scores of each.",
        _interval(paired=False),
    ),
    (
        "You draw separate questions for each seed. In each draw, draw the questions once, for all seeds and "
        "both methods.",
        _questions_for_each_seed,
    ),
    (
        "You draw a seed anew for each question, so the luck of a training averages out. In each draw, draw "
        "the seeds of each method once, for all questions.",
        _seed_for_each_question,
    ),
    (
        "You draw single answers, as if each came from its own training and question. Draw whole seeds and "
        "whole questions.",
        _single_answers,
    ),
    (
        "This contains 90% of the draws: you cut off 5% at each end. For 95%, cut off 2.5%.",
        _interval(cut=0.05),
    ),
    (
        "This contains 99% of the draws: you cut off 0.5% at each end. For 95%, cut off 2.5%.",
        _interval(cut=0.005),
    ),
    (
        "This is one standard error to each side, which contains two thirds of the draws.",
        _interval(cut=0.1587),
    ),
    ("Each draw has half of the questions: draw as many as there are.", _interval(size=0.5)),
    ("This is the spread of single questions. Return the interval of the mean over them.", _of_questions),
    (
        "Your interval is around 0, since you subtract the difference. It must be around the measured "
        "difference.",
        _interval(around=1.0),
    ),
]

EXERCISE = Exercise(
    name="difference_interval",
    lesson="14",
    minutes=14,
    difficulty=3,
    reference=difference_interval,
    check=_check_difference_interval,
    wrong=[
        *((wrong, message) for message, wrong in INTERVAL_MISTAKES),
        (_no_replacement, "with replacement"),
        (_new_generators, "a new generator in each draw"),
        (_interval(one_seed=True), "You draw the same seeds for both methods"),
        (_paired_if_as_many, "You draw the same seeds for both methods"),
        (_seeds_for_each_question, "In each draw, draw the seeds of each method once"),
        (_seeds_of_theirs, "The numbers of seeds may differ"),
        (_interval(size=0.05), "The interval should be near"),
        (lambda a, b, draws, seed: _interval()(b, a, draws, seed), "sign is wrong"),
        (_absolute, "sign is wrong"),
        (_turned_ends, "low first"),
        (_of_draws, "not of one draw"),
        (_unseeded, "Two calls with the same seed"),
        (_fixed_draws, "Use the argument `draws`"),
        (_in_place, "ours was changed"),
        (lambda a, b, draws, seed: _interval()(a, b, draws, seed)[1:], "Return three numbers"),
        (lambda a, b, draws, seed: (0.05, 0.04, 0.06), "measured means"),
    ],
    right=[_interval_with_numpy, _interval()],
    then="All intervals below use your function: run the cells below again.",
    hints=(
        "Imitate a repetition of the whole experiment: other questions, other trainings. Draw as many "
        "questions as there are, with replacement, the same for both methods; draw as many seeds as there "
        "are for each method; take the difference of the means. Repeat this many times.",
        "torch.randint(n, (n,), generator=...) draws n of n with replacement. ours[seeds][:, "
        "questions].mean() minus "
        "theirs[other_seeds][:, questions].mean() is one draw. The quantiles of the draws at .025 and .975 "
        "are the ends. The first value is the difference of the means themselves.",
    ),
)
