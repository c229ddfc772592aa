"""Exercises of lesson 14: choosing a setting, a paired interval, the front, break-even, bytes by rule."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import torch

from course_utils.checks.compare import Mistake, compare, unchanged
from course_utils.checks.exercises import Exercise


def choose_setting(rows):
    """(setting, score to report) of runs {"setting", "choose", "judge"}, several seeds a setting."""
    means = {}
    for setting in {row["setting"] for row in rows}:
        runs = [row for row in rows if row["setting"] == setting]
        means[setting] = [sum(run[name] for run in runs) / len(runs) for name in ("choose", "judge")]
    best = max(means, key=lambda setting: means[setting][0])
    return best, means[best][1]


SCORES = [  # {setting: (choose, judge) of its runs}: shares, and scores below 0
    {
        0.1: [(0.40, 0.46), (0.98, 0.44)],
        0.2: [(0.80, 0.75), (0.84, 0.79)],
        0.3: [(0.70, 0.90), (0.72, 0.88), (0.74, 0.92)],
        0.4: [(0.50, 0.61), (0.53, 0.58)],
    },
    {
        4: [(-1.0, -0.6), (-0.9, -0.5), (-0.2, -0.1)],
        8: [(-0.85, -0.3), (-0.8, -0.4), (-0.75, -0.2)],
        16: [(-0.84, -0.7), (-0.84, -0.8)],
        32: [(-1.1, -0.9), (-1.2, -0.7)],
        64: [(-1.3, -1.25)],
    },
]


def _runs():
    """Both tables as rows in random order, all scores moved up by less than .1."""
    up = 0.1 * random.random()
    for table in SCORES:
        rows = [
            {"setting": setting, "choose": choose + up, "judge": judge + up}
            for setting, runs in table.items()
            for choose, judge in runs
        ]
        random.shuffle(rows)
        yield (rows,)


def _chosen_runs(rows, score):
    """The setting whose runs have the highest score(values of choose), and these runs."""
    settings = {row["setting"]: [run for run in rows if run["setting"] == row["setting"]] for row in rows}
    best = max(settings, key=lambda setting: score([run["choose"] for run in settings[setting]]))
    return best, settings[best]


def _setting_by(score):
    """A wrong choose_setting: the setting by score(values of choose), reported by its mean of judge."""

    def wrong(rows):
        best, runs = _chosen_runs(rows, score)
        return best, statistics.mean(run["judge"] for run in runs)

    return wrong


def _report_by(report):
    """A wrong choose_setting: the right setting, and report(its runs)."""

    def wrong(rows):
        best, runs = _chosen_runs(rows, statistics.mean)
        return best, report(runs)

    return wrong


def _by_judge(rows):
    return choose_setting([{**row, "choose": row["judge"]} for row in rows])


def _best_run(rows):
    best = max(rows, key=lambda row: row["choose"])
    return best["setting"], best["judge"]


def _sorted_in_place(rows):
    rows.sort(key=lambda row: row["choose"])
    rows.pop(0)
    return choose_setting(rows)


def _lowest(rows):
    return choose_setting([{**row, "choose": -row["choose"]} for row in rows])


def _setting_with_numpy(rows):
    settings = np.array([row["setting"] for row in rows])
    choose, judge = (np.array([row[name] for row in rows]) for name in ("choose", "judge"))
    names = np.unique(settings)
    best = names[np.argmax([choose[settings == name].mean() for name in names])]
    return [best, judge[settings == best].mean()]


def _setting_by_running_means(rows):
    best, most, score = None, -math.inf, None
    for setting in sorted(row["setting"] for row in rows):
        runs = [row for row in rows if row["setting"] == setting]
        mean = torch.tensor([run["choose"] for run in runs]).mean()
        if mean > most:
            best, most, score = setting, mean, torch.tensor([run["judge"] for run in runs]).mean()
    return best, score


ONE_RUN = (
    "This is the setting of the best single run. One lucky seed decides then; compare means over the seeds."
)
SETTING_MISTAKES = [
    (
        "The setting has the largest sum over its runs, because it has more of them. Take means.",
        _setting_by(sum),
    ),
    (
        "The setting was chosen by the judging questions. Then the score that it gets on them "
        "is too good: they have been used up. Choose by `choose`.",
        _by_judge,
    ),
    (ONE_RUN, _best_run),
    (ONE_RUN, _setting_by(max)),
    (
        "This is the setting with the best median of `choose`. Compare means: a median of few seeds "
        "leaves out what the others did.",
        _setting_by(statistics.median),
    ),
    ("This is the setting of the best worst run. Compare means over the seeds.", _setting_by(min)),
    ("The setting has the lowest mean. Higher is better.", _lowest),
    (
        "The score is that of the choosing questions, of which this setting is the best of "
        "several. Report what it gets on the judging ones.",
        _report_by(lambda runs: statistics.mean(run["choose"] for run in runs)),
    ),
    (
        "The score is that of the setting's best run. Report the mean over its seeds.",
        _report_by(lambda runs: max(run["judge"] for run in runs)),
    ),
    (
        "The score is that of the setting's best run. Report the mean over its seeds.",
        _report_by(lambda runs: max(runs, key=lambda run: run["choose"])["judge"]),
    ),
    (
        "The score is a sum over the setting's runs. Report the mean.",
        _report_by(lambda runs: sum(run["judge"] for run in runs)),
    ),
]


def paired_interval(ours, theirs, draws=2000, seed=0):
    """(difference of means, low, high): a 95% bootstrap interval. ours, theirs: scores by question, [n]."""
    difference = ours - theirs  # (n,), question by question
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(difference), (draws, len(difference)), generator=generator)
    means = difference[picks].mean(1)  # (draws,)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype))
    return difference.mean().item(), low.item(), high.item()


def _scores(count, gap, spread):
    """Scores of two methods on `count` questions: most of their spread is common to both."""
    theirs = 0.6 + 4 * spread * torch.randn(count)
    return theirs + gap + spread * torch.randn(count), theirs


def _check_paired_interval(fn):
    for count, gap, spread in [(300, 0.05, 0.06), (120, -0.4, 0.5)]:
        ours, theirs = _scores(count, gap, spread)
        with unchanged(ours=ours, theirs=theirs):
            result, again = (fn(ours, theirs, draws=4000, seed=1) for _ in range(2))
        mean, low, high = _three_numbers(result)
        _expect_mean(mean, (ours - theirs).mean().item())
        _expect_interval(low, high, ours, theirs)
        if _three_numbers(again) != (mean, low, high):
            raise Mistake(
                "Two calls with one seed give two intervals. Draw with a generator that is made of the seed."
            )
        _, low, high = _three_numbers(fn(ours, theirs, draws=1, seed=1))
        if high - low > 1e-6:
            raise Mistake("With draws=1 there is one mean, and both ends are it. Use the argument `draws`.")


def _three_numbers(result):
    if not isinstance(result, (tuple, list)) or len(result) != 3 or any(value is None for value in result):
        raise Mistake("Return three numbers: the difference of the means, and the interval's two ends.")
    numbers = tuple(float(value) for value in result)
    if not all(map(math.isfinite, numbers)):
        raise Mistake(f"All three should be finite numbers, and they are {numbers}.")
    return numbers


def _expect_mean(mean, right):
    if abs(mean + right) < 1e-5:
        raise Mistake("The sign is the other way round: ours less theirs, so that above 0 ours is better.")
    if abs(mean - right) > 1e-5:
        raise Mistake(
            "The first value should be the difference of the means as measured, not of one draw or "
            f"of all draws: {right:.5f}, and it is {mean:.5f}."
        )


def _expect_interval(low, high, ours, theirs):
    difference, count = ours - theirs, len(ours)
    right, error = difference.mean().item(), difference.std().item() / count**0.5
    apart = ((ours.var() + theirs.var()).item() / count) ** 0.5
    if low > high:
        raise Mistake("The interval's ends are the wrong way round: low first.")
    width = (high - low) / error  # 2 * 1.96 is right
    if width < 0.1:
        raise Mistake(
            "Every draw is the same. Draw with replacement: some questions twice, some not at all; "
            "in a mere reordering the mean stays."
        )
    if high - low > 3 * difference.std():
        raise Mistake(
            "This is the spread of single questions. The interval is that of the mean over n of them."
        )
    if abs((high - low) / (2 * 1.96 * apart) - 1) < 0.15:
        raise Mistake(
            "The two are resampled each on its own. Then an easy draw for the one meets a hard one for "
            "the other. Draw questions, and take both scores of each."
        )
    if abs((low + high) / 2) < error:
        raise Mistake(
            "The interval is around 0, that of a difference that has been taken off. It belongs around "
            "the measured difference."
        )
    _expect_width(width)
    ends = right - 1.96 * error, right + 1.96 * error
    if abs(low - ends[0]) > 0.25 * error or abs(high - ends[1]) > 0.25 * error:
        raise Mistake(
            f"The interval should be near {ends[0]:.4f} to {ends[1]:.4f} and is {low:.4f} to {high:.4f}."
        )


def _expect_width(width):
    """width: of the interval, in standard errors."""
    if abs(width - 2 * 1.645) < 0.3:
        raise Mistake("This holds 90% of the draws: 5% are cut off at each end. For 95% cut off 2.5%.")
    if abs(width - 2) < 0.3:
        raise Mistake("This is one standard error to each side, which holds two thirds of the draws.")
    if 4.8 < width < 5.9:  # 5.2 at 99%, 5.5 with half of the questions
        raise Mistake(
            "The interval is too wide. Either it holds 99% of the draws, 0.5% cut off at each end: for 95% "
            "cut off 2.5%. Or each draw has half of the questions: draw as many as there are."
        )


def _interval(cut=0.025, size=lambda n: n, around=0.0):
    """A wrong paired_interval: the share that is cut off, the size of a draw, or where it lies."""

    def wrong(ours, theirs, draws=2000, seed=0):
        difference = ours - theirs
        generator = torch.Generator().manual_seed(seed)
        picks = torch.randint(len(difference), (draws, size(len(difference))), generator=generator)
        means = difference[picks].mean(1) - around * difference.mean()
        low, high = means.quantile(torch.tensor([cut, 1 - cut]))
        return difference.mean().item(), low.item(), high.item()

    return wrong


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


def _of_questions(ours, theirs, draws=2000, seed=0):
    difference = ours - theirs
    low, high = difference.quantile(torch.tensor([0.025, 0.975]))
    return difference.mean().item(), low.item(), high.item()


def _of_draws(ours, theirs, draws=2000, seed=0):
    _, low, high = paired_interval(ours, theirs, draws, seed)
    return (low + high) / 2 + 0.01 * (high - low), low, high


def _unseeded(ours, theirs, draws=2000, seed=0):
    return paired_interval(ours, theirs, draws, torch.seed() % 2**32)


def _fixed_draws(ours, theirs, draws=2000, seed=0):
    return paired_interval(ours, theirs, 4000, seed)


def _in_place(ours, theirs, draws=2000, seed=0):
    ours -= theirs
    return paired_interval(ours, torch.zeros_like(theirs), draws, seed)


def _absolute(ours, theirs, draws=2000, seed=0):
    mean, low, high = paired_interval(ours, theirs, draws, seed)
    return abs(mean), min(abs(low), abs(high)), max(abs(low), abs(high))


def _turned_ends(ours, theirs, draws=2000, seed=0):
    mean, low, high = paired_interval(ours, theirs, draws, seed)
    return mean, high, low


def _interval_with_numpy(ours, theirs, draws=2000, seed=0):
    ours, theirs, rng = ours.numpy(), theirs.numpy(), np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        picks = rng.integers(len(ours), size=len(ours))
        means.append(ours[picks].mean() - theirs[picks].mean())
    return [ours.mean() - theirs.mean(), *np.percentile(means, [2.5, 97.5])]


def _interval_by_sorting(ours, theirs, draws=2000, seed=0):
    rng, difference = random.Random(seed), (ours - theirs).tolist()
    means = sorted(sum(rng.choices(difference, k=len(difference))) / len(difference) for _ in range(draws))
    return sum(difference) / len(difference), means[int(0.025 * draws)], means[int(0.975 * draws)]


def not_beaten(methods):
    """Names that no other is as good as on both and better on one. methods: {name: (quality, cost)}."""

    def beaten(name):
        quality, cost = methods[name]
        return any(
            other_quality >= quality and other_cost <= cost and (other_quality, other_cost) != (quality, cost)
            for other_quality, other_cost in methods.values()
        )

    return [name for name in methods if not beaten(name)]


def _fronts():
    """Methods in random order; in both sets two are equal, and some are beaten on one value alone."""
    first = {"a": (0.5, 1), "b": (0.9, 8), "c": (0.9, 9), "d": (0.7, 3), "e": (0.6, 4), "f": (0.7, 3)}
    second = {
        "LoRA": (-0.2, 60.5),
        "QLoRA": (-0.25, 60.5),
        "full": (-0.1, 240.0),
        "prompting": (-1.5, 0.0),
        "DPO": (-0.1, 300.0),
        "twin": (-0.1, 240.0),
        "tiny": (-1.4, 2.5),
        "slow": (-1.4, 2.6),
        "none": (-1.6, 0.5),
    }
    for methods in (first, second):
        names = random.sample(list(methods), len(methods))
        yield ({name: methods[name] for name in names},)


def _names(found):
    if found is None or isinstance(found, str):
        raise Mistake("Return a list of names.")
    found = list(found)
    wrong = next((name for name in found if not isinstance(name, str)), None)
    if wrong is not None:
        raise Mistake(f"Names only, please; there is {wrong!r} among them.")
    if len(set(found)) < len(found):
        raise Mistake("A name is in your list twice.")
    return ", ".join(sorted(found))


def _keep(beaten):
    """A wrong not_beaten: names of which beaten(quality, cost, other's quality, other's cost) never holds."""
    return lambda methods: [
        name for name, pair in methods.items() if not any(beaten(*pair, *other) for other in methods.values())
    ]


def _best_only(methods):
    most = max(methods.values(), key=lambda pair: (pair[0], -pair[1]))
    return [name for name, pair in methods.items() if pair == most]


def _cheapest_only(methods):
    least = min(cost for _, cost in methods.values())
    return [name for name, (_, cost) in methods.items() if cost == least]


def _no_twins(methods):
    first = {methods[name]: name for name in reversed(not_beaten(methods))}
    return list(first.values())


def _neither_twin(methods):
    pairs = list(methods.values())
    return [name for name in not_beaten(methods) if pairs.count(methods[name]) == 1]


def _the_beaten(methods):
    return [name for name in methods if name not in not_beaten(methods)]


def _front_as_set(methods):
    kept = set(methods)
    for name, (quality, cost) in methods.items():
        for other, (other_quality, other_cost) in methods.items():
            if (other_quality > quality and other_cost <= cost) or (
                other_quality >= quality and other_cost < cost
            ):
                kept -= {name}
                assert other != name
    return kept


def _front_by_sorting(methods):
    kept = []
    for name in sorted(methods, key=lambda name: (methods[name][1], -methods[name][0])):
        if not kept or methods[name][0] > methods[kept[-1]][0] or methods[name] == methods[kept[-1]]:
            kept.append(name)
    return tuple(kept)


ONE_IS_ENOUGH = (
    "A method that is as good as another and costs more is beaten, and so is one that costs as much and is "
    "worse. It takes better on one and no worse on the other, not better on both."
)
NOTHING = (
    "Nothing is left. Was each method compared with itself, too? It equals itself. Or is one better value "
    "enough to strike a method off? The other must be no worse."
)
TWINS = "Two methods are equal in both. Neither is better than the other, so both stay."
FRONT_MISTAKES = [
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q > q and other_c < c)),
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q > q and other_c <= c)),
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q >= q and other_c < c)),
    (NOTHING, _keep(lambda q, c, other_q, other_c: other_q >= q and other_c <= c)),
    (NOTHING, _keep(lambda q, c, other_q, other_c: other_q > q or other_c < c)),
    ("These are the beaten ones. Return the others.", _the_beaten),
    (
        "Only the best quality is left. One that is worse and cheaper stays: nothing beats it on both.",
        _best_only,
    ),
    ("Only the cheapest is left: the cost counts as if quality did not.", _cheapest_only),
    (
        "Less cost is better, and here more of it is: turn that comparison round.",
        _keep(lambda q, c, o, d: o >= q and d >= c and (o, d) != (q, c)),
    ),
    (
        "More quality is better, and here less of it is: turn that comparison round.",
        _keep(lambda q, c, o, d: o <= q and d <= c and (o, d) != (q, c)),
    ),
    (TWINS, _no_twins),
    (TWINS, _neither_twin),
]
_compare_fronts = compare(
    lambda methods: _names(not_beaten(methods)),
    _fronts,
    [(message, lambda methods, wrong=wrong: _names(wrong(methods))) for message, wrong in FRONT_MISTAKES],
    else_="A name stays where no other method is at least as good, at most as dear and not the same in both.",
)


def _check_not_beaten(fn):
    """Any order, and any collection of names."""
    _compare_fronts(lambda methods: _names(fn(methods)))


def break_even_answers(tokens_trained, tokens_in_front, frozen):
    """Answers after which training has cost no more than a prompt of so many tokens before each."""
    backward = 2 if frozen else 4
    training = (2 + backward) * tokens_trained
    return math.ceil(training / (2 * tokens_in_front))


BREAK_EVEN_INPUTS = [
    (trained, front, frozen)
    for trained, front in [(1000, 50), (1001, 50), (1017, 50), (7, 400), (123_457, 91)]
    for frozen in (False, True)
]


def _break_even(full, frozen_cost, whole=math.ceil):
    """A wrong break_even_answers: FLOP of a trained token over those of one in front, and the rounding."""
    return lambda trained, front, frozen: whole((frozen_cost if frozen else full) * trained / front)


NO_DIFFERENCE = (
    "With frozen weights the backward pass costs half: there are no gradients of weights to compute, "
    "only those of activations."
)
BREAK_EVEN_MISTAKES = [
    (
        "A token that is trained on counts as much here as one that is read. The backward pass "
        "costs twice the forward pass (as much as it, where the weights are frozen).",
        _break_even(1, 1),
    ),
    ("Only the backward pass is counted. Training has a forward pass, too.", _break_even(2, 1)),
    ("The two are the wrong way round: frozen weights make the backward pass cheaper.", _break_even(2, 3)),
    (NO_DIFFERENCE, _break_even(3, 3)),
    (NO_DIFFERENCE, _break_even(2, 2)),
    ("Reading a token takes 2 FLOP a parameter, too: divide by 2 * tokens_in_front.", _break_even(6, 4)),
    (
        "This is one answer before training has paid off: there the prompt has still cost a little less. "
        "Round up.",
        _break_even(3, 2, math.floor),
    ),
    (
        "Rounded to the nearest number. Before a whole one the prompt has cost less: round up.",
        _break_even(3, 2, round),
    ),
    (
        "Where it comes out even, that number is reached already: one more is too many. math.ceil rounds "
        "up only where there is something to round.",
        _break_even(3, 2, lambda answers: math.floor(answers) + 1),
    ),
    ("This is not a whole number of answers. Round up.", _break_even(3, 2, float)),
    (
        "The quotient is upside down: the FLOP of training over those of one answer's prompt.",
        lambda trained, front, frozen: math.ceil(front / ((2 if frozen else 3) * trained)),
    ),
]


def _with_whole_numbers(tokens_trained, tokens_in_front, frozen):
    return -(-(2 if frozen else 3) * tokens_trained // tokens_in_front)


def _with_numpy_ceil(tokens_trained, tokens_in_front, frozen):
    return np.ceil((4 if frozen else 6) * tokens_trained / (2 * tokens_in_front))


def bytes_by_rule(parameters, adapter, method):
    """Bytes of weights, gradients and moments. method: full, lora or qlora; adapter: its values."""
    if method == "full":
        return 16 * parameters
    base = {"lora": 2, "qlora": 4.127 / 8}[method]
    return base * parameters + 16 * adapter


BYTES_INPUTS = [
    (parameters, adapter, method)
    for parameters, adapter in [(1_000_000_000, 1_000_000), (7_615_616_512, 40_370_176), (3_000_000, 32_768)]
    for method in ("full", "lora", "qlora")
]


def _bytes(method, fault):
    """A wrong bytes_by_rule: fault(parameters, adapter) for one method."""
    return lambda parameters, adapter, name: (
        fault(parameters, adapter) if name == method else bytes_by_rule(parameters, adapter, name)
    )


def _all_bytes(full, lora, qlora, adapter_cost):
    """A wrong bytes_by_rule: bytes a parameter under each method, and bytes a value of the adapter."""
    costs = {"full": full, "lora": lora, "qlora": qlora}
    return lambda parameters, adapter, method: (
        costs[method] * parameters + (adapter_cost * adapter if method != "full" else 0)
    )


MOMENT = "Full: 12 bytes a parameter. Either one of Adam's two moments is missing, or the gradient."
NO_MOMENTS = "Full: weights alone, or weights and gradients. Adam keeps two moments for each value."
FROZEN = "LoRA: frozen weights have no gradient and no moments. Only the adapter has."
ADAPTER = "LoRA: the adapter's values are trained, so each takes a weight, a gradient and two moments."
EACH_ADAPTER = "The adapter's values are trained, so each takes a weight, a gradient and two moments."
BYTES_MISTAKES = [
    (MOMENT, _bytes("full", lambda n, a: 12 * n)),
    (MOMENT, _all_bytes(12, 2, 4.127 / 8, 12)),
    (NO_MOMENTS, _bytes("full", lambda n, a: 8 * n)),
    (NO_MOMENTS, _bytes("full", lambda n, a: 4 * n)),
    (NO_MOMENTS, _all_bytes(4, 2, 4.127 / 8, 4)),
    (NO_MOMENTS, _all_bytes(8, 2, 4.127 / 8, 8)),
    ("Full fine-tuning has no adapter.", _bytes("full", lambda n, a: 16 * (n + a))),
    (
        "LoRA: its base is held in 16 bits here, 2 bytes a parameter.",
        _bytes("lora", lambda n, a: 4 * n + 16 * a),
    ),
    (FROZEN, _bytes("lora", lambda n, a: 16 * n + 16 * a)),
    (FROZEN, _bytes("lora", lambda n, a: 14 * n + 16 * a)),
    (EACH_ADAPTER, _all_bytes(16, 2, 4.127 / 8, 4)),
    (EACH_ADAPTER, _all_bytes(16, 2, 4.127 / 8, 0)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n + 2 * a)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n + 4 * a)),
    (
        "QLoRA: each block of 64 has a scale, 0.127 bit a weight when it is quantised, too. (4.127 bits.)",
        _bytes("qlora", lambda n, a: 0.5 * n + 16 * a),
    ),
    ("QLoRA: 4.127 are bits. Eight of them make a byte.", _bytes("qlora", lambda n, a: 4.127 * n + 16 * a)),
    (
        "QLoRA: its adapter is trained as LoRA's is, 16 bytes a value.",
        _bytes("qlora", lambda n, a: 4.127 / 8 * (n + a)),
    ),
    (
        "These are bits, or 8 bits were taken for something else: everything is 8 times too large.",
        lambda n, a, method: 8 * bytes_by_rule(n, a, method),
    ),
]


def _bytes_in_cases(parameters, adapter, method):
    trained = parameters if method == "full" else adapter
    frozen_bits = {"full": 0, "lora": 16, "qlora": 4.127}[method]
    return torch.tensor(trained * 4 * 4 + frozen_bits * parameters / 8)


def _bytes_with_numpy(parameters, adapter, method):
    if method == "full":
        return np.float64(parameters) * np.dtype("float32").itemsize * 4
    return (2.0 if method == "lora" else 0.515875) * np.float64(parameters) + 16 * adapter


EXERCISES = [
    Exercise(
        name="choose_setting",
        lesson="14",
        minutes=8,
        difficulty=1,
        reference=choose_setting,
        check=compare(
            choose_setting,
            lambda: list(_runs()),
            SETTING_MISTAKES,
            else_="The setting has the highest mean of `choose`, the score is its mean of `judge`.",
        ),
        wrong=[
            (_sorted_in_place, "changes its argument rows in place"),
            (lambda rows: choose_setting(rows)[0], "should be a tuple of 2"),
            (lambda rows: None, "Is there a return"),
            (lambda rows: (0.2, 0.77), "the highest mean of `choose`"),
            (lambda rows: (choose_setting(rows)[0], 0.0), "its mean of `judge`"),
        ],
        right=[_setting_with_numpy, _setting_by_running_means],
        hints=(
            "Questions that picked the winner flatter it. So pick by one set, over all seeds, and report "
            "the other.",
            "Group the rows by setting; means of `choose` and `judge` in each group; the setting with the "
            "highest mean of `choose`, and its mean of `judge`.",
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
            (_interval(cut=0.05), "90% of the draws"),
            (_interval(cut=0.005), "99% of the draws"),
            (_interval(cut=0.1587), "one standard error to each side"),
            (_interval(size=lambda n: n // 2), "half of the questions"),
            (_interval(size=lambda n: n // 10), "The interval should be near"),
            (_interval(around=1.0), "around 0"),
            (_of_questions, "spread of single questions"),
            (lambda a, b, draws, seed: paired_interval(b, a, draws, seed), "other way round"),
            (_absolute, "other way round"),
            (_turned_ends, "low first"),
            (_of_draws, "not of one draw"),
            (_unseeded, "Two calls with one seed"),
            (_fixed_draws, "Use the argument `draws`"),
            (_in_place, "ours was changed"),
            (lambda a, b, draws, seed: paired_interval(a, b, draws, seed)[1:], "Return three numbers"),
            (lambda a, b, draws, seed: (0.05, 0.04, 0.06), "as measured"),
        ],
        right=[_interval_with_numpy, _interval_by_sorting],
        hints=(
            "Both methods answered the same questions, so look at the differences question by question. "
            "Pretend to repeat the experiment: draw n of the n differences with replacement, and take "
            "their mean; many times.",
            "difference = ours - theirs [n]; indices [draws, n] from torch.randint with a generator of that "
            "seed; means [draws]; their quantiles at 0.025 and 0.975. First value: the mean of difference "
            "itself.",
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
            *((wrong, message) for message, wrong in FRONT_MISTAKES),
            (lambda methods: None, "Return a list of names"),
            (lambda methods: [methods[name] for name in not_beaten(methods)], "Names only"),
            (lambda methods: not_beaten(methods) * 2, "twice"),
            (lambda methods: ["a", "b", "d", "f"], "A name stays where"),
            (list, "A name stays where"),
        ],
        right=[_front_as_set, _front_by_sorting],
        hints=(
            "A method can be struck off if another is at least as good and at most as dear, and is not the "
            "same in both.",
            "For each name look at all (quality, cost) pairs: beaten where quality is >= and cost is <= and "
            "the pairs differ. Keep the names that are not beaten.",
        ),
    ),
    Exercise(
        name="break_even_answers",
        lesson="14",
        minutes=8,
        difficulty=2,
        reference=break_even_answers,
        check=compare(
            break_even_answers,
            BREAK_EVEN_INPUTS,
            BREAK_EVEN_MISTAKES,
            else_="A trained token costs 6 FLOP a parameter, or 4 with frozen weights; one in front costs 2.",
        ),
        wrong=[
            (lambda trained, front, frozen: None, "Is there a return"),
            (_break_even(5, 7), "A trained token costs"),
            (lambda trained, front, frozen: 40 if frozen else 60, "A trained token costs"),
        ],
        right=[_with_whole_numbers, _with_numpy_ceil],
        hints=(
            "Count in FLOP a parameter: reading a token takes 2. Training reads it and then goes back.",
            "training = (2 + 4) * tokens_trained, or (2 + 2) where frozen; each answer pays 2 * "
            "tokens_in_front for the prompt; the quotient, rounded up.",
        ),
    ),
    Exercise(
        name="bytes_by_rule",
        lesson="14",
        minutes=8,
        difficulty=1,
        reference=bytes_by_rule,
        check=compare(
            bytes_by_rule,
            BYTES_INPUTS,
            BYTES_MISTAKES,
            else_="What is trained takes 16 bytes a value, what is frozen 2 (LoRA) or 4.127 / 8 (QLoRA).",
        ),
        wrong=[
            (lambda n, a, method: None, "Is there a return"),
            (_bytes("lora", lambda n, a: None), "Is there a return"),
            (_bytes("full", lambda n, a: 18 * n), "takes 16 bytes a value"),
            (_bytes("qlora", lambda n, a: n + 16 * a), "takes 16 bytes a value"),
        ],
        right=[_bytes_in_cases, _bytes_with_numpy],
        hints=(
            "What is trained takes a weight, a gradient and two moments, 4 bytes each. What is frozen takes "
            "its weight, in as few bits as it is held in.",
            "full: 16 * parameters. lora: 2 * parameters + 16 * adapter. qlora: 4.127 / 8 * parameters + 16 "
            "* adapter.",
        ),
    ),
]
