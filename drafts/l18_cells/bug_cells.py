md(r'''
## A bug to find, 10 min

A colleague wrote her own `group_advantages`. Her training runs without an error, and learns less. One thing looks odd. Here
are the scores of our samples, in groups of 8. For each group, ask whether its advantages are all 0.
''')
code('''
hers = experiments.mixed_advantages
scores = scores_of([texts[:8] for texts in answers], held_out)


def all_zero(function):
    """Share of the groups whose advantages are all 0."""
    return (function(scores, 8).view(-1, 8) == 0).all(1).float().mean().item()


show_table(
    [
        {"function": "ours", "all 0": all_zero(group_advantages)},
        {"function": "hers", "all 0": all_zero(hers)},
    ],
    f"Of {len(held_out)} groups of 8 samples: those whose advantages are all 0",
    units={"all 0": "%"},
)
''',IGN)
code('''
bug_guess = predict(
    "Where do her silent groups get advantages from?",
    ["rounding, divided by a tiny deviation", "scores that are not 0 or 1", "answers to other prompts"],
)
''')
md(r'''
Three suspects, and each predicts something else for scores made by hand. Rounding would show in a batch of equal scores.
Odd scores cannot come in where we make the scores ourselves. The third would show where two groups are silent, one all right and one all wrong.
''')
code('''
for by_hand in ([1.0, 1, 1, 1], [1.0, 1, 0, 0], [1.0, 0, 1, 0]):
    advantages = [round(value, 2) for value in hers(torch.tensor(by_hand), 2).tolist()]
    print(f"groups of 2, scores {by_hand}: her advantages are {advantages}")
''')
code('''
by_hand = torch.tensor([1.0, 1, 0, 0])
from_others = hers(by_hand, 2).abs().min() > 0
bug_guess.reveal(
    "answers to other prompts" if from_others else "rounding, divided by a tiny deviation",
    because={
        "rounding, divided by a tiny deviation": "Then equal scores throughout would get advantages as well.",
        "scores that are not 0 or 1": "Then scores of 0 and 1 made by hand would be treated as they should.",
        "answers to other prompts": "Two silent groups get advantages, and two groups with a signal get "
        "none: first answers are compared with first answers. Her view is (group, -1), and the answers to "
        "one prompt stand together.",
    },
)
assert_same(group_advantages(by_hand, 2), 0 * by_hand, "Our silent groups have no advantage", tolerance=0)
''',folded=True)
