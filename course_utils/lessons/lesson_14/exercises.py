"""Exercises of lesson 14: choosing a setting, a paired interval, the front, break-even, bytes by rule."""

from __future__ import annotations

import math

import torch

from course_utils.checks.exercises import Exercise, Mistake, close


def choose_setting(rows):
    """(setting, score to report) of runs {"setting", "choose", "judge"}, several seeds a setting."""
    means = {}
    for setting in {row["setting"] for row in rows}:
        runs = [row for row in rows if row["setting"] == setting]
        means[setting] = [sum(run[name] for run in runs) / len(runs) for name in ("choose", "judge")]
    best = max(means, key=lambda setting: means[setting][0])
    return best, means[best][1]


RUNS = [
    {"setting": setting, "choose": choose, "judge": judge}
    for setting, choose, judge in [
        (0.1, 0.40, 0.46),
        (0.1, 0.98, 0.44),
        (0.2, 0.80, 0.75),
        (0.2, 0.84, 0.79),
        (0.3, 0.70, 0.90),
        (0.3, 0.72, 0.88),
        (0.3, 0.74, 0.92),
    ]
]


def _check_choose_setting(fn):
    before = [dict(row) for row in RUNS]
    result = fn(RUNS)
    if before != RUNS:
        raise Mistake("The rows were changed. Work on copies.")
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two values: the setting, and the score to report.")
    setting, score = result
    if setting == 0.3 and close(torch.tensor(float(score)), 0.72):
        raise Mistake("The setting has the largest sum over its runs, because it has three. Take means.")
    if setting == 0.3:
        raise Mistake(
            "The setting was chosen by the judging questions. Then the score that it gets on them "
            "is too good: they have been used up. Choose by `choose`."
        )
    if setting == 0.1:
        raise Mistake(
            "This is the setting of the best single run. One lucky seed decides then; compare "
            "means "
            "over the seeds."
        )
    if setting != 0.2:
        raise Mistake(f"The setting should be 0.2, whose mean of `choose` is highest; yours is {setting!r}.")
    score = torch.tensor(float(score))
    if close(score, 0.82):
        raise Mistake(
            "The score is that of the choosing questions, of which this setting is the best of "
            "several. Report what it gets on the judging ones."
        )
    if close(score, 0.79):
        raise Mistake("The score is that of the setting's best run. Report the mean over its seeds.")
    if not close(score, 0.77):
        raise Mistake(
            f"The score should be the mean of `judge` over the setting's runs, 0.77; it is {score:g}."
        )


def _by_judge(rows):
    return choose_setting([{**row, "choose": row["judge"]} for row in rows])


def _best_run(rows):
    best = max(rows, key=lambda row: row["choose"])
    return best["setting"], best["judge"]


def _reports_choose(rows):
    setting, _ = choose_setting(rows)
    runs = [row["choose"] for row in rows if row["setting"] == setting]
    return setting, sum(runs) / len(runs)


def paired_interval(ours, theirs, draws=2000, seed=0):
    """(difference of means, low, high): a 95% bootstrap interval. ours, theirs: scores by question, [n]."""
    difference = ours - theirs  # (n,), question by question
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(difference), (draws, len(difference)), generator=generator)
    means = difference[picks].mean(1)  # (draws,)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype))
    return difference.mean().item(), low.item(), high.item()


def _check_paired_interval(fn):
    generator = torch.Generator().manual_seed(7)
    theirs = 0.6 + 0.25 * torch.randn(300, generator=generator)
    ours = theirs + 0.05 + 0.06 * torch.randn(300, generator=generator)
    before = ours.clone()
    result = fn(ours, theirs, draws=4000, seed=1)
    if not isinstance(result, tuple | list) or len(result) != 3 or any(value is None for value in result):
        raise Mistake("Return three numbers: the difference of the means, and the interval's two ends.")
    if not torch.equal(ours, before):
        raise Mistake("The scores were changed in place.")
    mean, low, high = (float(value) for value in result)
    difference = ours - theirs
    right, error = difference.mean().item(), difference.std().item() / math.sqrt(300)
    if abs(mean + right) < 1e-5:
        raise Mistake("The sign is the other way round: ours less theirs, so that above 0 ours is better.")
    if abs(mean - right) > 1e-5:
        raise Mistake(
            "The first value should be the difference of the means as measured, not of one draw or "
            f"of all draws: {right:.5f}, and it is {mean:.5f}."
        )
    if low > high:
        raise Mistake("The interval's ends are the wrong way round: low first.")
    if high - low < 0.1 * error:
        raise Mistake(
            "Every draw is the same. Draw with replacement: some questions twice, some not at all; "
            "in a mere reordering the mean stays."
        )
    if high - low > 3 * difference.std():
        raise Mistake(
            "This is the spread of single questions. The interval is that of the mean over n of them."
        )
    apart = math.sqrt((ours.var() + theirs.var()).item() / 300)
    if high - low > 2 * apart:
        raise Mistake(
            "The two are resampled each on its own. Then an easy draw for the one meets a hard "
            "one for "
            "the other. Draw questions, and take both scores of each."
        )
    if abs((low + high) / 2) < error:
        raise Mistake(
            "The interval is around 0, that of a difference that has been taken off. It belongs "
            "around "
            "the measured difference."
        )
    width = (high - low) / error
    if abs(width - 2 * 1.645) < 0.2:
        raise Mistake("This holds 90% of the draws: 5% are cut off at each end. For 95% cut off 2.5%.")
    if abs(width - 2) < 0.2:
        raise Mistake("This is one standard error to each side, which holds two thirds of the draws.")
    if abs(low - (right - 1.96 * error)) > 0.2 * error or abs(high - (right + 1.96 * error)) > 0.2 * error:
        ends = f"{right - 1.96 * error:.4f} to {right + 1.96 * error:.4f}"
        raise Mistake(f"The interval should be near {ends} and is {low:.4f} to {high:.4f}.")


def _apart(ours, theirs, draws=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n = len(ours)
    means = [scores[torch.randint(n, (draws, n), generator=generator)].mean(1) for scores in (ours, theirs)]
    low, high = (means[0] - means[1]).quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _no_replacement(ours, theirs, draws=2000, seed=0):
    difference = ours - theirs
    means = torch.stack([difference[torch.randperm(len(difference))].mean() for _ in range(50)])
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return difference.mean().item(), low.item(), high.item()


def _nine_tenths(ours, theirs, draws=2000, seed=0):
    difference = ours - theirs
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(difference), (draws, len(difference)), generator=generator)
    low, high = difference[picks].mean(1).quantile(torch.tensor([0.05, 0.95]))
    return difference.mean().item(), low.item(), high.item()


def _of_questions(ours, theirs, draws=2000, seed=0):
    difference = ours - theirs
    low, high = difference.quantile(torch.tensor([0.025, 0.975]))
    return difference.mean().item(), low.item(), high.item()


def not_beaten(methods):
    """Names that no other is as good as on both and better on one. methods: {name: (quality, cost)}."""

    def beaten(name):
        quality, cost = methods[name]
        return any(
            other_quality >= quality and other_cost <= cost and (other_quality, other_cost) != (quality, cost)
            for other_quality, other_cost in methods.values()
        )

    return [name for name in methods if not beaten(name)]


FRONT = {"a": (0.5, 1.0), "b": (0.9, 8.0), "c": (0.9, 9.0), "d": (0.7, 3.0), "e": (0.6, 4.0), "f": (0.7, 3.0)}


def _check_not_beaten(fn):
    result = fn(dict(FRONT))
    if result is None or isinstance(result, str):
        raise Mistake("Return a list of names.")
    found = list(result)
    if not set(found) <= set(FRONT):
        raise Mistake(f"Names only, please; there is {found[0]!r} among them.")
    if not found:
        raise Mistake("Nothing is left: each method was compared with itself, too, and equals itself.")
    if set(found) == {"c", "e"}:
        raise Mistake("These are the beaten ones. Return the others.")
    if "c" in found:
        raise Mistake(
            "`c` is as good as `b` and costs more, so it is beaten. It takes better on one and no "
            "worse "
            "on the other, not better on both."
        )
    if set(found) == {"b"}:
        raise Mistake("Only the best quality is left. `a` is worse and cheaper: nothing beats it on both.")
    if set(found) == {"a"}:
        raise Mistake("Only the cheapest is left: `cost` counts as if quality did not.")
    if "e" in found:
        raise Mistake("`e` is worse than `d` and costs more.")
    if ("d" in found) != ("f" in found) or "d" not in found:
        raise Mistake("`d` and `f` are equal in both. Neither is better than the other, so both stay.")
    if found != ["a", "b", "d", "f"]:
        raise Mistake(f"a, b, d and f should be left, in the order given; yours are {', '.join(found)}.")


def _strict_in_both(methods):
    return [
        name
        for name, (quality, cost) in methods.items()
        if not any(q > quality and c < cost for q, c in methods.values())
    ]


def _with_itself(methods):
    return [
        name
        for name, (quality, cost) in methods.items()
        if not any(q >= quality and c <= cost for q, c in methods.values())
    ]


def _best_only(methods):
    most = max(methods.values(), key=lambda pair: (pair[0], -pair[1]))
    return [name for name, pair in methods.items() if pair == most]


def _no_twins(methods):
    kept = not_beaten(methods)
    first = {methods[name]: name for name in reversed(kept)}
    return [name for name in kept if first[methods[name]] == name]


def break_even_answers(tokens_trained, tokens_in_front, frozen):
    """Answers after which training has cost no more than a prompt of so many tokens before each."""
    backward = 2 if frozen else 4
    training = (2 + backward) * tokens_trained
    return math.ceil(training / (2 * tokens_in_front))


def _check_break_even(fn):
    full, adapter = fn(1000, 50, False), fn(1000, 50, True)
    if full is None or adapter is None:
        raise Mistake("It should return a number of answers, and returned None.")
    if (full, adapter) == (20, 20):
        raise Mistake(
            "A token that is trained on counts as much here as one that is read. The backward pass "
            "costs twice the forward pass (as much as it, where the weights are frozen)."
        )
    if (full, adapter) == (40, 20):
        raise Mistake("Only the backward pass is counted. Training has a forward pass, too.")
    if full == adapter:
        raise Mistake(
            "With frozen weights the backward pass costs half: there are no gradients of weights "
            "to "
            "compute, only those of activations."
        )
    if (full, adapter) == (40, 60):
        raise Mistake("The two are the wrong way round: frozen weights make the backward pass cheaper.")
    if (full, adapter) == (120, 80):
        raise Mistake("Reading a token takes 2 FLOP a parameter, too: divide by 2 * tokens_in_front.")
    if (full, adapter) != (60, 40):
        raise Mistake(
            f"1000 tokens trained and 50 in front make 60 answers, or 40 with frozen weights; "
            f"yours are "
            f"{full} and {adapter}."
        )
    rounded = fn(1001, 50, False)
    if rounded == 60:
        raise Mistake("After 60 answers the prompt has still cost a little less. Round up.")
    if rounded != 61 or not isinstance(rounded, int):
        raise Mistake(
            f"A whole number of answers, please: 61 for 1001 tokens and 50 in front, not {rounded!r}."
        )


def bytes_by_rule(parameters, adapter, method):
    """Bytes of weights, gradients and moments. method: full, lora or qlora; adapter: its values."""
    if method == "full":
        return 16 * parameters
    base = {"lora": 2, "qlora": 4.127 / 8}[method]
    return base * parameters + 16 * adapter


def _check_bytes_by_rule(fn):
    million = 1_000_000
    values = {method: fn(1000 * million, million, method) for method in ("full", "lora", "qlora")}
    if any(value is None for value in values.values()):
        raise Mistake("It should return a number of bytes for each method, and returned None.")
    full, lora, qlora = (float(value) / million for value in values.values())
    if close(torch.tensor(full), 12_000):
        raise Mistake(
            "Full: 12 bytes a parameter. Either one of Adam's two moments is missing, or the gradient."
        )
    if close(torch.tensor(full), 8000) or close(torch.tensor(full), 4000):
        raise Mistake("Full: weights alone, or weights and gradients. Adam keeps two moments for each value.")
    if close(torch.tensor(full), 16_016):
        raise Mistake("Full fine-tuning has no adapter.")
    if not close(torch.tensor(full), 16_000):
        raise Mistake(
            f"Full: 4 bytes each for weight, gradient and two moments make 16 a parameter, not "
            f"{full / 1000:g}."
        )
    if close(torch.tensor(lora), 4016):
        raise Mistake("LoRA: its base is held in 16 bits here, 2 bytes a parameter.")
    if close(torch.tensor(lora), 16_016) or close(torch.tensor(lora), 14_016):
        raise Mistake("LoRA: frozen weights have no gradient and no moments. Only the adapter has.")
    if close(torch.tensor(lora), 2000) or close(torch.tensor(lora), 2002) or close(torch.tensor(lora), 2004):
        raise Mistake(
            "LoRA: the adapter's values are trained, so each takes a weight, a gradient and two moments."
        )
    if not close(torch.tensor(lora), 2016):
        raise Mistake(
            f"LoRA: 2 bytes a parameter and 16 a value of the adapter make 2,016 million bytes "
            f"here, not "
            f"{lora:,.1f}."
        )
    if close(torch.tensor(qlora), 516):
        raise Mistake(
            "QLoRA: each block of 64 has a scale, 0.127 bit a weight when it is quantised, too. (4.127 bits.)"
        )
    if close(torch.tensor(qlora), 4143):
        raise Mistake("QLoRA: 4.127 are bits. Eight of them make a byte.")
    if not close(torch.tensor(qlora), 531.875):
        raise Mistake(
            f"QLoRA: 4.127 bits a parameter and 16 bytes a value of the adapter make 531.9 "
            f"million bytes "
            f"here, not {qlora:,.1f}."
        )


EXERCISES = [
    Exercise(
        name="choose_setting",
        lesson="14",
        minutes=8,
        difficulty=1,
        reference=choose_setting,
        check=_check_choose_setting,
        wrong=[
            (_by_judge, "chosen by the judging"),
            (_best_run, "best single run"),
            (_reports_choose, "that of the choosing"),
            (lambda rows: (0.2, 0.79), "best run. Report the mean"),
            (lambda rows: choose_setting(rows)[0], "two values"),
        ],
        hints=(
            "Questions that picked the winner flatter it. So pick by one set, over all seeds, and report "
            "the other.",
            "Group the rows by setting; means of `choose` and `judge` in each group; the setting with the "
            "highest "
            "mean of `choose`, and its mean of `judge`.",
        ),
    ),
    Exercise(
        name="paired_interval",
        lesson="14",
        minutes=12,
        difficulty=2,
        reference=paired_interval,
        check=_check_paired_interval,
        wrong=[
            (_apart, "each on its own"),
            (_no_replacement, "with replacement"),
            (_nine_tenths, "90% of the draws"),
            (_of_questions, "spread of single questions"),
            (lambda a, b, draws, seed: paired_interval(b, a, draws, seed), "other way round"),
        ],
        hints=(
            "Both methods answered the same questions, so look at the differences question by question. "
            "Pretend to "
            "repeat the experiment: draw n of the n differences with replacement, and take their mean; many "
            "times.",
            "difference = ours - theirs [n]; indices [draws, n] from torch.randint with a generator of that "
            "seed; "
            "means [draws]; their quantiles at 0.025 and 0.975. First value: the mean of difference itself.",
        ),
    ),
    Exercise(
        name="not_beaten",
        lesson="14",
        minutes=8,
        difficulty=2,
        reference=not_beaten,
        check=_check_not_beaten,
        wrong=[
            (_strict_in_both, "not better on both"),
            (_with_itself, "compared with itself"),
            (_best_only, "Only the best quality"),
            (_no_twins, "so both stay"),
            (lambda methods: ["c", "e"], "beaten ones"),
        ],
        hints=(
            "A method can be struck off if another is at least as good and at most as dear, and is not the "
            "same in both.",
            "For each name look at all (quality, cost) pairs: beaten where quality is >= and cost is <= and "
            "the pairs "
            "differ. Keep the names that are not beaten.",
        ),
    ),
    Exercise(
        name="break_even_answers",
        lesson="14",
        minutes=8,
        difficulty=2,
        reference=break_even_answers,
        check=_check_break_even,
        wrong=[
            (lambda trained, front, frozen: math.ceil(trained / front), "as much here as one that is read"),
            (lambda trained, front, frozen: math.ceil(3 * trained / front), "costs half"),
            (
                lambda trained, front, frozen: math.ceil((2 if frozen else 4) * trained / (2 * front)),
                "Only the backward",
            ),
            (lambda trained, front, frozen: int((4 if frozen else 6) * trained / (2 * front)), "Round up"),
            (lambda trained, front, frozen: 2 * break_even_answers(trained, front, frozen), "takes 2 FLOP"),
        ],
        hints=(
            "Count in FLOP a parameter: reading a token takes 2. Training reads it and then goes back.",
            "training = (2 + 4) * tokens_trained, or (2 + 2) where frozen; each answer pays 2 * "
            "tokens_in_front for "
            "the prompt; the quotient, rounded up.",
        ),
    ),
    Exercise(
        name="bytes_by_rule",
        lesson="14",
        minutes=8,
        difficulty=1,
        reference=bytes_by_rule,
        check=_check_bytes_by_rule,
        wrong=[
            (
                lambda n, a, method: 12 * n if method == "full" else bytes_by_rule(n, a, method),
                "two moments is missing",
            ),
            (
                lambda n, a, method: 4 * n + 16 * a if method == "lora" else bytes_by_rule(n, a, method),
                "16 bits",
            ),
            (
                lambda n, a, method: 16 * n + 16 * a if method == "lora" else bytes_by_rule(n, a, method),
                "frozen weights have no gradient",
            ),
            (
                lambda n, a, method: 2 * n + 2 * a if method == "lora" else bytes_by_rule(n, a, method),
                "values are trained",
            ),
            (
                lambda n, a, method: 0.5 * n + 16 * a if method == "qlora" else bytes_by_rule(n, a, method),
                "has a scale",
            ),
        ],
        hints=(
            "What is trained takes a weight, a gradient and two moments, 4 bytes each. What is frozen takes "
            "its "
            "weight, in as few bits as it is held in.",
            "full: 16 * parameters. lora: 2 * parameters + 16 * adapter. qlora: 4.127 / 8 * parameters + 16 "
            "* adapter.",
        ),
    ),
]
