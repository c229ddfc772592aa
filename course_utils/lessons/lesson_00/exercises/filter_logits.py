"""Lesson 00, filter_logits: the rules of sampling."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise, Mistake
from course_utils.checks.operations import without_loops
from course_utils.generation import filter_logits
from course_utils.lessons.lesson_00.exercises.shared import STILL_DRAWN, ZERO_IS_A_LOGIT


def _spread_rows():
    """Unsorted rows of probabilities whose sums are far from the thresholds, with shifted logits."""
    few = torch.tensor([[0.5, 0.25, 0.15, 0.1], [0.9, 0.06, 0.03, 0.01]])
    more = torch.tensor(
        [[0.4, 0.3, 0.15, 0.1, 0.05], [0.25, 0.23, 0.2, 0.17, 0.15], [0.93, 0.04, 0.015, 0.01, 0.005]]
    )
    few, more = few[:, [2, 0, 3, 1]].log() + 2, more[:, [3, 1, 4, 0, 2]].log() - 7
    return [
        call(few, top_p=0.7),
        call(more, top_p=0.65),
        call(more, temperature=2.0, top_p=0.8),
        call(few, temperature=0.5),
        call(more, top_k=2),
        call(more, top_k=2, top_p=0.55),
        call(few, 0.5, 3, 0.97),
        call(more),
    ]


def _rules(top_p_rule, top_k_rule=None):
    """A wrong filter_logits: these rules after the temperature; top_k_rule None: the correct one."""

    def wrong(logits, temperature=1.0, top_k=0, top_p=1.0):
        logits = logits / temperature
        if top_k:
            logits = (top_k_rule or (lambda z, k: filter_logits(z, top_k=k)))(logits, top_k)
        return top_p_rule(logits, top_p) if top_p < 1 else logits

    return wrong


def _along(softmax=-1, add_up=-1, sort=-1):
    """A rule for top-p with one of its steps along the wrong dimension."""

    def rule(logits, top_p):
        ordered, order = logits.sort(sort, descending=True)
        probabilities = ordered.softmax(softmax)
        removed = probabilities.cumsum(add_up) - probabilities >= top_p
        return logits.masked_fill(removed.scatter(sort, order, removed), -torch.inf)

    return rule


def _gathered(logits, top_p):
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    removed = probabilities.cumsum(-1) - probabilities >= top_p
    return logits.masked_fill(removed.gather(-1, order), -torch.inf)


def _only_one(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(logits, temperature, top_k, 1.0 if top_k else top_p)


def _top_p_alone(logits, top_p):
    return filter_logits(logits, top_p=top_p)


def _nucleus(excluded, put_back=True, descending=True):
    """A rule for top-p: excluded(sorted probabilities, sums before each, top_p)."""

    def rule(logits, top_p):
        ordered, order = logits.sort(descending=descending)
        probabilities = ordered.softmax(-1)
        mask = excluded(probabilities, probabilities.cumsum(-1) - probabilities, top_p)
        return logits.masked_fill(mask.scatter(-1, order, mask) if put_back else mask, -torch.inf)

    return rule


def _reached(probabilities, before, top_p):
    return before >= top_p


def _sorted_result(logits, top_p):
    return _top_p_alone(logits, top_p).sort(descending=True).values


def _unsorted(logits, top_p):
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities.cumsum(-1) - probabilities >= top_p, -torch.inf)


def _sum_of_logits(logits, top_p):
    ordered, order = logits.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    return logits.masked_fill((before >= top_p).scatter(-1, order, before >= top_p), -torch.inf)


def _first_row_decides(logits, top_p):
    return logits.masked_fill(_top_p_alone(logits, top_p)[:1].isneginf(), -torch.inf)


def _turned_round(logits, top_p):
    return logits.masked_fill(_top_p_alone(logits, top_p).isfinite(), -torch.inf)


def _smaller_than(threshold):
    return lambda logits, top_p: logits.masked_fill(logits.softmax(-1) < threshold(top_p), -torch.inf)


def _kth(keep):
    """A wrong filter_logits: keep(logits, top_k) is the limit below which top-k removes."""
    return _rules(_top_p_alone, lambda logits, k: logits.masked_fill(logits < keep(logits, k), -torch.inf))


def _times_temperature(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(logits * temperature, 1.0, top_k, top_p)


def _temperature_last(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(logits, 1.0, top_k, top_p) / temperature


def _top_p_first(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(filter_logits(logits, temperature, 0, top_p), 1.0, top_k)


def _result(change):
    """A wrong filter_logits: change(right result, where it is -inf)."""

    def wrong(logits, temperature=1.0, top_k=0, top_p=1.0):
        right = filter_logits(logits, temperature, top_k, top_p)
        return change(right, right.isneginf())

    return wrong


def _divided_in_place(logits, temperature=1.0, top_k=0, top_p=1.0):
    logits /= temperature
    return filter_logits(logits, 1.0, top_k, top_p)


def _softmax_by_exp(logits, top_p):
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.exp() / ordered.exp().sum(-1, keepdim=True)
    removed = probabilities.cumsum(-1) - probabilities >= top_p
    return logits.masked_fill(removed.scatter(-1, order, removed), -torch.inf)


def _by_shifting(logits, temperature=1.0, top_k=0, top_p=1.0):
    logits = logits / temperature
    if top_k > 0:
        lowest = logits.sort(descending=True).values[:, top_k - 1 : top_k]
        logits = torch.where(logits >= lowest, logits, -torch.inf)
    if top_p < 1.0:
        probabilities, order = logits.softmax(-1).sort(descending=True)
        removed = probabilities.cumsum(-1) > top_p
        removed = torch.cat([torch.zeros_like(removed[:, :1]), removed[:, :-1]], -1)
        logits = logits.masked_fill(removed.gather(-1, order.argsort(-1)), -torch.inf)
    return logits


def _row_by_row_filter(logits, temperature=1.0, top_k=0, top_p=1.0):
    rows = []
    for row in logits / temperature:
        kept = row.argsort(descending=True)[: top_k or None]
        if top_p < 1:
            kept = kept[: int((row[kept].softmax(-1).cumsum(-1) < top_p).sum()) + 1]
        rows.append(torch.full_like(row, -torch.inf).index_copy(0, kept, row[kept]))
    return torch.stack(rows)


def _token_by_token(logits, top_p):
    kept = logits.clone()
    for row, probabilities in zip(kept, logits.softmax(-1), strict=True):
        before = 0.0
        for token in probabilities.argsort(descending=True).tolist():
            if before >= top_p:
                row[token] = -torch.inf
            before += probabilities[token].item()
    return kept


def _without_guard(logits, temperature=1.0, top_k=0, top_p=1.0):
    logits = logits / temperature
    kept = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
    return _top_p_alone(kept, top_p)


def _without_guard_or_top_p(logits, temperature=1.0, top_k=0, top_p=1.0):
    return _without_guard(logits, temperature, top_k)


def _one_at_least(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(logits, temperature, max(top_k, 1))


NO_TOP_P = "top_p has no effect."
ELIF = "When top_k is set, top_p has no effect. Apply both rules: two ifs, no elif."


def _sampling_check(comparison):
    """`comparison` after a call with top_k=0; if top_p never has an effect, no elif is blamed."""

    def check(fn):
        rows = _spread_rows()[0].arguments[0]
        try:
            fn(rows.clone())
        except Exception as error:
            fn(rows.clone(), top_k=2)  # an error here too has another cause
            what = (str(error).strip().splitlines() or [""])[0][:200]
            raise Mistake(
                f"With top_k=0 your code stopped with {type(error).__name__}: {what}\n"
                "0 switches top-k off: apply it only if top_k is larger than 0 (if top_k:)."
            ) from error
        try:
            comparison(fn)
        except Mistake as mistake:
            if ELIF in str(mistake) and torch.equal(fn(rows.clone()), fn(rows.clone(), top_p=0.7)):
                raise Mistake(str(mistake).replace(ELIF, NO_TOP_P)) from None
            raise

    check.mistakes = comparison.mistakes
    return check


SINGLE = (
    "You compare single probabilities with a number. top-p adds them up, the likeliest first, until the sum "
    "reaches p."
)
FILTER_MISTAKES = [
    (
        "You remove the token with which the sum reaches p. Keep it: remove a token only if the likelier "
        "ones alone reach p.",
        _rules(_nucleus(lambda probabilities, before, top_p: before + probabilities >= top_p)),
    ),
    (
        "You keep one token too many: the first after the sum has reached p.",
        _rules(
            _nucleus(lambda probabilities, before, top_p: (before >= top_p).roll(1, -1) & (before >= top_p))
        ),
    ),
    (
        "You found which positions of the sorted row to remove, and removed these positions of the unsorted "
        "row. Map the mask back to the original order: scatter, with the order that sort returned.",
        _rules(_nucleus(_reached, put_back=False)),
    ),
    (
        "You return the logits in descending order. Column i of the result must belong to token i.",
        _rules(_sorted_result),
    ),
    (
        "gather with the order of sort does not restore the original order: it reads from these positions. "
        "scatter writes to them: mask.scatter(-1, order, mask).",
        _rules(_gathered),
    ),
    (
        "Your softmax runs over the batch. It must run over the vocabulary, the last dimension.",
        _rules(_along(softmax=0)),
    ),
    (
        "You add up the probabilities over the batch. Add them up along the row: cumsum(-1).",
        _rules(_along(add_up=0)),
    ),
    ("You sort across the batch. Sort each row by itself: sort(-1).", _rules(_along(sort=0))),
    (
        "You add up the tokens in the order of the vocabulary. Sort them first, the likeliest first.",
        _rules(_unsorted),
    ),
    (
        "You keep the unlikely tokens: sort begins with the smallest value. With descending=True it begins "
        "with the largest.",
        _rules(_nucleus(_reached, descending=False)),
    ),
    (NO_TOP_P, _rules(lambda logits, top_p: logits)),
    (
        "The temperature is right. top_k and top_p have no effect yet.",
        lambda logits, temperature=1.0, top_k=0, top_p=1.0: logits / temperature,
    ),
    (ELIF, _only_one),
    ("These are sums of logits. top-p is about probabilities: softmax first.", _rules(_sum_of_logits)),
    ("The first row decides for all rows. Each row has its own likely tokens.", _rules(_first_row_decides)),
    ("The comparison is reversed: you removed the likely tokens.", _rules(_turned_round)),
    (SINGLE, _rules(_smaller_than(lambda top_p: 1 - top_p))),
    (SINGLE, _rules(_smaller_than(lambda top_p: top_p))),
    ("top_p is an argument: use it instead of 0.9.", _rules(lambda logits, top_p: _top_p_alone(logits, 0.9))),
    (
        "top-k has no effect. It keeps the top_k likeliest tokens; 0 keeps all.",
        _kth(lambda logits, top_k: -torch.inf),
    ),
    (
        "top-k keeps one token too few: the k-th likeliest stays (<, not <=).",
        _rules(
            _top_p_alone,
            lambda logits, k: logits.masked_fill(logits <= logits.topk(k).values[:, -1:], -torch.inf),
        ),
    ),
    ("top-k keeps one token too many.", _kth(lambda logits, k: logits.topk(k + 1).values[:, -1:])),
    (
        "You use one row's k-th value as another's limit. Take it row by row: values[:, -1:] is [B, 1].",
        _kth(lambda logits, k: logits.topk(k).values[:, -1].max()),
    ),
    ("You multiply by the temperature. It divides the logits.", _times_temperature),
    (
        "The temperature has no effect. It divides the logits, before the other rules.",
        lambda logits, temperature=1.0, top_k=0, top_p=1.0: filter_logits(logits, 1.0, top_k, top_p),
    ),
    (
        "You apply the temperature last. Apply it first: top-p adds up the probabilities after the "
        "temperature.",
        _temperature_last,
    ),
    (
        "You apply top-p before top-k. Apply top-k first: top-p adds up the probabilities of the tokens "
        "that it keeps.",
        _top_p_first,
    ),
    (
        "The remaining logits should only be divided by the temperature. Are these probabilities?",
        _result(lambda right, removed: right.softmax(-1)),
    ),
    (
        "The remaining logits should only be divided by the temperature. These are log-probabilities.",
        _result(lambda right, removed: right.log_softmax(-1)),
    ),
    (ZERO_IS_A_LOGIT, _result(lambda right, removed: right.masked_fill(removed, 0.0))),
    (STILL_DRAWN, _result(lambda right, removed: right.masked_fill(removed, -1e9))),
    (STILL_DRAWN, _result(lambda right, removed: right.masked_fill(removed, -1e4))),
]
NOTHING_LEFT = (
    "With a small top_p the likeliest token must stay, or nothing is left to sample: the sum before it is 0."
)
OVERFLOW = "exp overflows at large logits. softmax subtracts the largest logit first."

EXERCISE = Exercise(
    name="filter_logits",
    lesson="00",
    minutes=15,
    difficulty=2,
    reference=filter_logits,
    check=without_loops(
        _sampling_check(
            compare(
                filter_logits,
                _spread_rows,
                FILTER_MISTAKES,
                else_="The temperature divides; top-k keeps the k likeliest tokens; of these top-p keeps "
                "the likeliest, until their probabilities add up to p.",
                extremes=[
                    (NOTHING_LEFT, [call(torch.tensor([[0.5, 2.0, -1.0], [-3.0, -1.0, -2.0]]), top_p=1e-6)]),
                    (OVERFLOW, [call(torch.tensor([[800.0, 799.0, 700.0]]), top_p=0.9)]),
                ],
            )
        ),
        lambda: (torch.randn(2, 300), 1.0, 50, 0.9),
        400,
        "With a loop over the vocabulary, the stories below take minutes: sort and add up whole rows.",
    ),
    wrong=[
        (_without_guard, "With top_k=0 your code stopped with RuntimeError"),
        (_without_guard_or_top_p, "0 switches top-k off"),
        (_one_at_least, "top_p has no effect.\nGiven"),
        (_divided_in_place, "changes its argument logits in place"),
        (
            _rules(_nucleus(lambda p, before, top_p: (before >= top_p) | (before + p > 0.99))),
            "The temperature divides; top-k",
        ),
        (
            _rules(_nucleus(lambda p, before, top_p: (before >= top_p) | (p < 1e-5) | (top_p < 1e-3))),
            "must stay",
        ),
        (_rules(_softmax_by_exp), "exp overflows"),
        (_rules(_token_by_token), "operations of torch where a few would do"),
        (lambda logits, temperature=1.0, top_k=0, top_p=1.0: None, "Is there a return?"),
        (
            lambda logits, temperature=1.0, top_k=0, top_p=1.0: logits[:, :2] / temperature,
            "should have the shape [2, 4]",
        ),
    ],
    right=[_by_shifting, _row_by_row_filter],
    hints=(
        "top-p needs, for each token, the total probability of the likelier ones. Sort the row, the "
        "likeliest first, and add up: the sum before a token decides whether it is removed.",
        "ordered, order = logits.sort(descending=True) are [B, V] each; softmax of ordered, and its "
        "cumsum minus itself, is the sum before each token. This gives the mask in sorted order; "
        "mask.scatter(-1, order, mask) restores the original order.",
    ),
    then="It is used to sample the stories below, and in the playground.",
)
