"""Stored experiments with reward models: number of pairs, label noise, bias towards longer answers."""

import copy
import functools

from course_utils.stored_runs import few, sweep


@functools.cache
def _states():
    """{token ids: output of the frozen blocks}, the same in all runs."""
    return {}


@sweep(
    "reward_pairs",
    points=[
        *({"pairs": count, "noise": 0.1, "longer": 0.75} for count in (50, 200, 800)),
        *({"pairs": 800, "noise": noise, "longer": 0.5} for noise in (0.0, 0.1, 0.4)),
        {"pairs": 2400, "noise": 0.1, "longer": 0.75},
    ],
    tolerance=0.12,  # shares of a few hundred pairs, after the training of two models
)
def reward_pairs(point: dict, seed: int) -> dict:
    """A reward model on the point's training pairs; in `longer` of them the longer answer is chosen.

    gold: accuracy on held-out pairs by the gold score; labels, ceiling: accuracy on labels with this noise,
    and the gold score's own; shortcut: share of pairs of equal gold score in which the longer answer scores
    higher.
    """
    import torch

    from course_utils import preferences
    from course_utils.artifacts import preference_pairs, sft_model
    from course_utils.methods import reward
    from course_utils.session import Session
    from course_utils.world import annotator

    session = Session("pocket", "quick", 0, torch.device("cpu"), torch.float32)
    language_model, tokenizer = sft_model(session)
    train, held_out, controlled = preference_pairs(session)
    pairs = annotator.with_longer_share(train, point["longer"], seed, few(point["pairs"], 40))
    if point["noise"] != annotator.NOISE:
        pairs = annotator.relabel(pairs, point["noise"], seed)
    better = annotator.relabel(few(held_out, 16), 0, seed=0)
    labelled = annotator.relabel(better, point["noise"], seed=1000 + seed)

    model = reward.from_language_model(language_model)

    def states(pairs):
        encoded = preferences.encode_pairs(tokenizer, pairs)
        return reward.prepare_pairs(model, encoded, tokenizer.pad_token_id, _states())

    stored = states(pairs)
    options = {"steps": few(reward.epoch_steps(len(stored))), "seed": seed, "label": f"{point}, seed {seed}"}
    reward.fit(model, stored, pad_id=tokenizer.pad_token_id, **options)

    def scored(pairs):
        return reward.pair_scores(model, states(pairs), tokenizer.pad_token_id)

    return {
        "gold": reward.accuracy(*scored(better)),
        "labels": reward.accuracy(*scored(labelled)),
        "ceiling": annotator.ceiling(better, point["noise"]),
        "shortcut": reward.accuracy(*scored(few(controlled, 16))),
    }


TEST_PAIRS = 1000  # as many as possible if the longer answer is chosen in a quarter of them


@sweep("reward_bias", points=[{"longer": share} for share in (0.25, 0.375, 0.5, 0.625, 0.75)], tolerance=0.12)
def reward_bias(point: dict, seed: int) -> dict:
    """A reward model on 1,000 pairs, in `longer` of which the longer answer is chosen, on several tests.

    gold, labels: accuracy on held-out pairs by the gold score, and by their labels. biased: by the labels of
    a subset in which the longer answer is chosen in three of four. longer_better, shorter_better: by the gold
    score, for pairs whose better answer is the longer or the shorter one. shortcut: share of pairs of equal
    gold score in which the longer answer scores higher.
    """
    from course_utils.methods import reward
    from course_utils.world import annotator

    model, states, (train, held_out, controlled) = _parts()
    model = copy.deepcopy(model)
    pairs = annotator.with_longer_share(train, point["longer"], seed, few(TEST_PAIRS, 40))
    pad_id = 0  # no effect: states are padded by their mask
    steps, label = few(reward.epoch_steps(len(pairs))), f"{point}, seed {seed}"
    reward.fit(model, states(pairs), pad_id=pad_id, steps=steps, seed=seed, label=label)
    held_out, controlled = few(held_out, 40), few(controlled, 16)
    better = annotator.relabel(held_out, 0, seed=0)
    tests = {
        "gold": better,
        "labels": held_out,
        "biased": annotator.with_longer_share(held_out, annotator.LONGER, seed),
        "longer_better": [pair for pair in better if annotator.longer_share([pair]) == 1],
        "shorter_better": [pair for pair in better if annotator.longer_share([pair]) == 0],
        "shortcut": controlled,
    }
    return {
        name: reward.accuracy(*reward.pair_scores(model, states(pairs), pad_id))
        for name, pairs in tests.items()
    }


@functools.cache
def _parts():
    """(untrained reward model, function from pairs to stored states, lesson 10's pairs), for all runs."""
    import torch

    from course_utils import preferences
    from course_utils.artifacts import preference_pairs, sft_model
    from course_utils.methods import reward
    from course_utils.session import Session

    session = Session("pocket", "quick", 0, torch.device("cpu"), torch.float32)
    language_model, tokenizer = sft_model(session)
    model = reward.from_language_model(language_model)

    def states(pairs):
        encoded = preferences.encode_pairs(tokenizer, pairs)
        return reward.prepare_pairs(model, encoded, tokenizer.pad_token_id, _states())

    return model, states, preference_pairs(session)


@sweep(
    "reward_words",
    points=[{"pairs": count, "longer": 0.75} for count in (50, 200, 800, 2400)],
    tolerance=0.12,
)
def reward_words(point: dict, seed: int) -> dict:
    """A logistic regression on word counts, on the training pairs that reward_pairs draws for this point.

    gold, labels: accuracy on held-out pairs by the gold score and by their labels; loss: on the labels, in
    nats; shortcut: share of pairs of equal gold score in which the longer answer scores higher; penalty: the
    one that was best on a fifth of the training requests.
    """
    from course_utils.lessons.lesson_10.word_counts import best_penalty, fit_word_counts
    from course_utils.methods import reward
    from course_utils.world import annotator

    _, _, (train, held_out, controlled) = _parts()
    pairs = annotator.with_longer_share(train, point["longer"], seed, few(point["pairs"], 40))
    held_out, penalty = few(held_out, 40), best_penalty(pairs)
    model = fit_word_counts(pairs, penalty)
    tests = {
        "gold": annotator.relabel(held_out, 0, seed=0),
        "labels": held_out,
        "shortcut": few(controlled, 16),
    }
    accuracies = {name: reward.accuracy(*model.pair_scores(of)) for name, of in tests.items()}
    return accuracies | {
        "loss": reward.bradley_terry_loss(*model.pair_scores(held_out)).item(),
        "penalty": penalty,
    }


@sweep(
    "reward_bias_words",
    points=[{"longer": share, "words": words} for share in (0.75, 0.5) for words in ("counts", "shares")],
    tolerance=0.12,
)
def reward_bias_words(point: dict, seed: int) -> dict:
    """Weights of words on the pairs of reward_bias: of their counts, or shares, which have no length.

    Rule, written before the runs. A taste for longer stories is a taste for length only as far as it exceeds
    that of shares: the sentence falls if shares of biased pairs prefer the longer controlled story as often
    as the lowest reward model of biased pairs does. Each point has its own best penalty.

    gold, labels: accuracy on held-out pairs by the gold score and by their labels; shortcut: share of pairs
    of equal gold score in which the longer answer scores higher; penalty: as in reward_words.
    """
    from course_utils.lessons.lesson_10.word_counts import best_penalty, fit_word_counts
    from course_utils.methods import reward
    from course_utils.world import annotator

    _, _, (train, held_out, controlled) = _parts()
    pairs = annotator.with_longer_share(train, point["longer"], seed, few(TEST_PAIRS, 40))
    shares = point["words"] == "shares"
    penalty = best_penalty(pairs, shares=shares)
    model, held_out = fit_word_counts(pairs, penalty, shares), few(held_out, 40)
    tests = {
        "gold": annotator.relabel(held_out, 0, seed=0),
        "labels": held_out,
        "shortcut": few(controlled, 16),
    }
    accuracies = {name: reward.accuracy(*model.pair_scores(of)) for name, of in tests.items()}
    return accuracies | {"penalty": penalty}


APPENDED_PAIRS, GOOD, FIT = 1400, 40, 90  # pairs; stories; tokens of a story, so that two go into the model


@sweep("reward_appended", points=[{"longer": 0.75}, {"longer": 0.5}], tolerance=0.4)
def reward_appended(point: dict, seed: int) -> dict:
    """What a text behind a good held-out story does to its score, for reward models of equally many pairs.

    Rule, written before the runs. The score rises by length if, on biased pairs, a neutral story adds at
    least half of what the story again adds, a gloomy one raises most scores, and on balanced pairs the story
    again adds less than a quarter of it. It is repetition if another good story adds less than half of the
    story again; it is mood if a neutral story adds less than a quarter.

    change, share by what is appended: the mean change in standard deviations of this model's scores of
    held-out stories, and the share of stories whose score rises; shuffled: the same for the story's words in
    another order, nothing appended; labels, loss, gold: on held-out pairs. A point may set the rate, lr.
    """
    import statistics

    from course_utils.lessons.lesson_10 import appended
    from course_utils.lessons.lesson_10.tricks import words_shuffled
    from course_utils.methods import reward
    from course_utils.preferences import Pair, request
    from course_utils.world import annotator

    model, states, (train, held_out, _) = _parts()
    model = copy.deepcopy(model)
    pairs = annotator.with_longer_share(train, point["longer"], seed, few(APPENDED_PAIRS, 40))
    steps, label = few(reward.epoch_steps(len(pairs))), f"{point}, seed {seed}"
    lr = point.get("lr", reward.LEARNING_RATE)
    reward.fit(model, states(pairs), pad_id=0, steps=steps, seed=seed, label=label, lr=lr)
    asked = {request(pair.prompt): pair.prompt for pair in held_out}

    def score(keys):
        both = [Pair(asked[prompt], text, text) for prompt, text in keys]
        return reward.pair_scores(model, states(both), 0)[0].tolist()

    told = list(dict.fromkeys((request(p.prompt), text) for p in held_out for text in (p.chosen, p.rejected)))
    tokenizer = _tokenizer()
    short = [key for key in told if len(tokenizer(key[1])["input_ids"]) <= FIT]
    good = appended.good_stories(short, few(GOOD, 6))
    unit = statistics.stdev(score(few(told, 40)))
    found = appended.changes(score, good, appended.behind(good, short), unit)
    reordered = [(prompt, words_shuffled(prompt, text)) for prompt, text in good]
    pairs_of_scores = zip(score(reordered), score(good), strict=True)
    found["shuffled"] = [(after - before) / unit for after, before in pairs_of_scores]
    result = {}
    for name, values in found.items():
        result[f"{name}: change"], result[f"{name}: share"] = appended.mean_and_share(values)
    checked = few(held_out, 40)
    scored = reward.pair_scores(model, states(checked), 0)
    better = reward.pair_scores(model, states(annotator.relabel(checked, 0, seed=0)), 0)
    accuracies = {"labels": reward.accuracy(*scored), "gold": reward.accuracy(*better)}
    return result | accuracies | {"loss": reward.bradley_terry_loss(*scored).item()}


@functools.cache
def _tokenizer():
    import torch

    from course_utils.artifacts import sft_model
    from course_utils.session import Session

    return sft_model(Session("pocket", "quick", 0, torch.device("cpu"), torch.float32))[1]
