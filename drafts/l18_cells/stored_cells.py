md(r'''
## Five seeds

One run on few questions is an anecdote. The same training from five starts is stored with the course (`make sweeps`): 40
short and 16 long held-out lists, 128 answers to each. Budgets were fixed beforehand, and no run is left out.
''')
code('''
stored = experiments.runs_by_point("verifiable_rewards")
models = {"start": stored["start"], "GRPO": stored["grpo"]}
figures.curve_bands({"short lists": models, "long lists": models}, "pass@k", after_guess.title)
plots.caption(
    "pass@k on held-out lists before and after GRPO: means over five seeds; the bands reach from the lowest to the "
    "highest.",
)
''')
code('''
def gains(key):
    """After minus before for each seed."""
    return [new[key] - old[key] for old, new in zip(stored["start"], stored["grpo"], strict=True)]


def spread(values):
    """(mean, lowest, highest)."""
    return sum(values) / len(values), min(values), max(values)


middle, low, high = spread(gains("short_64"))
half = spread([(run["short_64_high"] - run["short_64_low"]) / 2 for run in stored["start"]])[0]
after_guess.reveal(
    "it rises" if middle > half else "it falls" if middle < -half else "it stays within its interval",
    because={
        "it falls": "It would fall if training made the policy sure of wrong answers, so that a right one is never drawn.",
        "it stays within its interval": "Then what 64 answers can reach is reached before and after; the right ones are more frequent.",
        "it rises": "Then lists that were never named in 64 answers are named now: what is learnt on some lists carries over.",
    },
)
''',folded=True)
md(r'''
#PASSTEXT#

## Could it be had for less?

A curve that rises is no argument for GRPO yet. pass@1 of a *sampled* answer also rises if the policy merely becomes
sure of itself, and that can be had without any training. So the start is asked in three other ways: for its greedy answer,
at its best temperature (chosen on the validation split), and for the commonest of 16 answers. Two more controls are
trained from the same start: on its own **right samples** (as many were drawn as GRPO draws; the verifier picks), and on the
**true answers** to the tuning lists, for about the same seconds.
''')
code('''
def values(method, key):
    return [run[key] for run in stored[method]]


table = {
    "start, one sample": values("start", "short_1"),
    "start, greedy": values("start", "greedy"),
    "start, best temperature": values("start", "cooled"),
    "start, majority of 16": values("start", "majority"),
    "tuned on its right samples": values("right samples", "short_1"),
    "tuned on its right samples, greedy": values("right samples", "greedy"),
    "GRPO, one sample": values("grpo", "short_1"),
    "GRPO, greedy": values("grpo", "greedy"),
    "tuned on true answers, one sample": values("true answers", "short_1"),
    "tuned on true answers, greedy": values("true answers", "greedy"),
}
show_table(
    [{"what": name, "right": spread(found)} for name, found in table.items()],
    "Short held-out lists, five seeds: mean (lowest to highest)",
    units={"right": "%"},
)
''')
md(r'''
#CONTROLTEXT#
''')
code('''
#CLAIMS#
''')
md(r'''
## Switches

GRPO has many relatives. Each row changes one thing and keeps the samples: 64 answers an iteration, 20 iterations.
''')
code('''
switched = experiments.runs_by_point("grpo_switches")
names = {
    "centred": "no division by the deviation",
    "mixed": "a mistake: groups that mix prompts",
    "4": "groups of 4",
    "16": "groups of 16",
    "updates": "four updates a batch",
    "higher": "four updates, clip higher (0.5)",
}
rows = {"GRPO as above": stored["grpo"], **{names.get(key, key): runs for key, runs in switched.items()}}
show_table(
    [
        {
            "training": name,
            "right": spread([run.get("pass_1", run.get("short_1")) for run in runs]),
            "silent groups at the end": spread([run["silent_last"] for run in runs]),
            "entropy at the end": spread([run["entropy_last"] for run in runs]),
            "clipped": spread([run["clipped_last"] for run in runs]),
        }
        for name, runs in rows.items()
    ],
    "One sample on short held-out lists, five seeds: mean (lowest to highest)",
    units={"right": "%", "silent groups at the end": "%", "entropy at the end": "nats a token", "clipped": "%"},
)
''')
