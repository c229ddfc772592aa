md(r'''
# 18 Verifiable rewards and GRPO

Lesson 12 learnt from a reward model, and gamed it. Some tasks need no reward model. A program can say whether a sum is
right, whether a test passes, whether a list names what was asked for. Here the reward is such a program, and the
training is GRPO, which needs no value head and no second model. After this lesson you can
- estimate pass@k from many samples, with an interval over questions,
- write GRPO on one page: advantages within a group, three normalisers, a clip with two limits,
- see from the scores alone which groups teach nothing,
- test what a training has changed by controls that cost less than the training,
- find the hole in a verifier by reading what it pays for.

**Time:** about 90 minutes with the exercises, 60 without the parts marked optional (an estimate). The machine needs
about a minute and a half at quick scale (pocket model, two cores), seconds at smoke scale, and some minutes at full
scale (an estimate).

**Builds on** lesson 12 (rollouts, the clipped loss, the answers to one prompt as a baseline for each other), lesson 11
(three estimators of the KL) and lesson 09 (instruction tuning).
''')
code('''
import os

MODEL = os.environ.get("COURSE_MODEL", "auto")
SCALE = os.environ.get("COURSE_SCALE", "auto")
SEED = os.environ.get("COURSE_SEED", "0")
''',"parameters")
code('''
from course_utils.session import start

session = start(MODEL, SCALE, SEED)
SEED = session.seed
''',IGN)
code('''
# What this lesson uses of PyTorch and of the course
import copy
import math

import torch

from course_utils import plots, widgets
from course_utils.checks import (
    assert_same,
    claim,
    folded_until_tried,
    predict,
    runs_on,
    show_table,
    show_texts,
)
from course_utils.data import Example, collate
from course_utils.lessons.lesson_18 import check, experiments, figures, passing, task
from course_utils.log_probs import token_log_probs
from course_utils.methods import grpo
from course_utils.methods.kl import k1, k2, k3
from course_utils.methods.ppo import leave_one_out_advantages
from course_utils.methods.rollouts import answer_mask, encode_prompts, sampling_of
from course_utils.models import save_model
from course_utils.world.lists import verify
''',folded=True)
md(r'''
## A model that is sometimes right

The task is a list: name three things, in the order asked. The model below is the assistant of
lesson 09, tuned for some seconds on other lists. It knows what an answer looks like. Eight samples for one request:
''')
code('''
model, tokenizer = task.start_model(session)
held_out = task.short_lists("held_out")[: session.steps(quick=24, full=100, smoke=2)]
SAMPLES = session.steps(quick=64, full=128, smoke=64)
answers = task.answers_to(model, tokenizer, held_out, SAMPLES, seed=SEED)
right = task.count_right(answers, held_out)  # (questions,)
''',IGN)
code('''
shares = (right / SAMPLES - 0.3).abs()
row, texts = held_out[shares.argmin()], answers[shares.argmin()]
print(task.request_of(row))
for text in texts[:8]:
    print("   right  " if verify(text, row["answers"]) else "   wrong  ", text)
''',IGN)
md(r'''
Some samples are right, and a program can say which. `verify` asks for the three names, in order, and nothing else.
There is no half right: most wrong answers above have one or two of the names.
''')
code('''
show_table(
    [
        {"answer": text, "verify": verify(text, ["Lima", "Oslo", "Paris"])}
        for text in ("Lima, Oslo, Paris.", "Lima, Paris, Oslo.", "Lima, Oslo.", "Lima, Oslo, Paris, Rome.")
    ],
    "Asked for the capitals of Peru, Norway and France",
)
''')
md(r'''
The question of this lesson: what can a model learn from the words "right" and "wrong" alone, when all that is judged
are its own samples? Two things are possible. It may learn to do what it could not do. Or it may do more often what it
could do now and then.

## pass@k

To tell the two apart, ask for more than one answer. **pass@k** is the chance that at least one of $k$ samples is
right. pass@1 is what a user sees. pass@64 says what the model can do at all, when somebody picks the right answer out
of 64. If training only makes right answers more frequent, pass@1 rises and pass@64 stays.

To estimate pass@k, one could draw $k$ answers and look. One run of that is 0 or 1, so it is very noisy. Draw more answers,
$n$, of which $c$ are right, and take the mean over *all* choices of $k$ among them: choices without a right one there
are $\binom{n-c}{k}$, choices in all $\binom nk$.
''')
md('''
### Exercise 1 of 4: pass@k, 10 min, difficulty 2 of 3

One chance for each question, given how many of its `total` answers were right. Every curve below is made with it.
''')
code('''
def pass_at_k(right, total, k):
    """Chance that at least one of k answers is right, [questions]; right [questions] of total were."""
    ...


pass_at_k = check.pass_at_k(pass_at_k)
''',"exercise")
code('''
KS = passing.KS
some = torch.tensor([0, 1, 8, SAMPLES])
assert_same(pass_at_k(some, SAMPLES, 1), some / SAMPLES, "pass@1 is the share of right answers")
assert_same(pass_at_k(some, SAMPLES, SAMPLES), (some > 0).float(), "pass@total asks whether any was right")
''')
md(r'''
Two strata of held-out questions. The **short** lists ask for three facts of one kind, like those in the tuning. The
**long** lists ask for six facts of six kinds, and nobody ever tuned on one. A third line is chance: the same answers, each judged against the *next* question's
names. A task for pass@k needs such a line. With five possible answers, a guess has pass@16 of .97.
''')
code('''
long = task.long_lists("held_out", session.steps(quick=8, full=40, smoke=2))
long_answers = task.answers_to(model, tokenizer, long, SAMPLES, seed=SEED, new_tokens=task.LONG_TOKENS)
''',IGN)
code('''
def curve(right):
    """Mean pass@k over the questions for each k."""
    return [pass_at_k(right, SAMPLES, k).mean().item() for k in KS]


before = {
    "short lists": curve(right),
    "long lists": curve(task.count_right(long_answers, long)),
    "chance": curve(task.count_right(answers, passing.shifted(held_out))),
}
figures.curves(
    {name: {"": values} for name, values in before.items()},
    "With more samples more short lists are right; long lists stay out of reach",
)
plots.caption(
    "pass@k of the start on held-out lists, this run.",
    seen="short lists rise from about a third to most, long lists and chance lie at the bottom",
)
''',IGN)
code('''
after_guess = predict(
    "Training on right and wrong short lists will raise pass@1. What becomes of pass@64 on short lists?",
    ["it falls", "it stays within its interval", "it rises"],
)
''')
md(r'''
## GRPO on one page

**Group-relative policy optimisation** (Shao et al. 2024) is lesson 12's PPO without a value head. Sample a *group* of
$G$ answers to one prompt. The others in the group say what is to be expected of this prompt:

$$A_i = \frac{r_i - \operatorname{mean}(r_1, \dots, r_G)}{\operatorname{std}(r_1, \dots, r_G) + 10^{-4}} .$$

All tokens of an answer share its advantage.
''')
md('''
### Exercise 2 of 4: advantages within a group, 5 min, difficulty 1 of 3

The answers to one prompt stand together.
''')
code('''
def group_advantages(scores, group):
    """Score minus its group's mean, over its group's standard deviation + 1e-4, [rows]."""
    ...


group_advantages = check.group_advantages(group_advantages)
''',"exercise")
code('''
scores = torch.tensor([1.0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
show_table(
    [
        {
            "scores of a group": str(part.int().tolist()),
            "largest advantage": a.max().item(),
            "smallest advantage": a.min().item(),
        }
        for part, a in zip(scores.split(4), group_advantages(scores, 4).split(4), strict=True)
    ]
)
centred = grpo.centred_advantages(scores, 4)
left_out = leave_one_out_advantages(scores, 4)
assert_same(left_out, 4 / 3 * centred, "RLOO's advantage is G / (G - 1) times score minus mean")
''')
md(r'''
Read the last two rows. **A group in which all are wrong has no advantage and no gradient. Neither has one in which all
are right.** Only questions that the model sometimes gets right teach it anything. The division by the deviation makes a rare
success loud: one right answer among four counts more than two among four. Dr. GRPO leaves the division out;
that is RLOO's advantage but for the constant $G/(G-1)$, which Adam does not notice.

If a question is answered right with probability $p$, a group is silent with probability $p^G + (1-p)^G$.
''')
code('''
widgets.control(figures.silent_share, group=(2, 32))
''',"widget",IGN)
code('''
def scores_of(answers, rows):
    """1 or 0 for every answer, those to one question together."""
    pairs = zip(answers, rows, strict=True)
    return torch.tensor([verify(text, row["answers"]) for texts, row in pairs for text in texts])


groups = {"short lists": (answers, held_out), "long lists": (long_answers, long)}
silent = {}
for name, (found, rows) in groups.items():
    silent[name] = grpo.silent_groups(scores_of(found, rows), 8).float().mean().item()
show_table(
    [{"questions": name, "silent groups of 8": share} for name, share in silent.items()],
    units={"silent groups of 8": "%"},
)
claim(
    "At least 95% of the groups are silent where pass@64 is near 0",
    silent["long lists"],
    at_least=0.95,
    unit="%",
    headline=True,
    excludes={"short lists": silent["short lists"]},
)
''',IGN)
md(r'''
Long lists are silent throughout. Training on them would multiply by zero. So the prompts below are short lists, from
the tuning split.

### Exercise 3 of 4: three normalisers, 10 min, difficulty 2 of 3

The loss of a batch is a weighted sum over its tokens. The weights are where three well-known methods differ:
- `grpo`: the mean of each answer, then over answers. A token of a long answer counts less.
- `dapo`: the mean over all tokens of the batch. A long answer counts more, by its length.
- `dr_grpo`: the sum over all tokens, divided by a constant: rows times `limit`, the most tokens an answer may have.
''')
code('''
def token_weights(mask, loss_type="grpo", limit=None):
    """What each token counts in the mean over a batch, [rows, tokens]; 0 off the mask."""
    ...


token_weights = check.token_weights(token_weights)
''',"exercise")
code('''
lengths = torch.tensor([2, 8])
mask = (torch.arange(8) < lengths[:, None]).float()  # (2 answers, 8 tokens)
show_table(
    [
        {
            "loss_type": name,
            "a token of the answer of 2": weights[0, 0].item(),
            "a token of the answer of 8": weights[1, 0].item(),
            "all weights": weights.sum().item(),
        }
        for name in grpo.LOSS_TYPES
        for weights in [token_weights(mask, name, limit=10)]
    ],
    "Weights in a batch of two answers, of 2 and of 8 tokens",
)
''')
md(r'''
Where all answers are about as long, as here, the three differ by a constant at most. Where lengths differ, `grpo` has
a bias: in a long *wrong* answer each token is pushed down less, so wrong answers may grow. We come back to that.

### Exercise 4 of 4: the loss, 15 min, difficulty 3 of 3

PPO's clipped loss with one advantage an answer, a weight a token, and **two** limits. The upper one stops good tokens,
the lower one bad tokens. DAPO raises the upper one, so that rare good tokens have more room ("clip higher").
''')
code('''
def grpo_loss(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    """Clipped loss, summed with the weights; advantages [rows], the rest [rows, tokens]."""
    ...


grpo_loss = check.grpo_loss(grpo_loss)
''',"exercise")
md(r'''
With one update a batch the policy that is trained is the one that sampled. Every ratio is 1, and neither limit does
anything. The clip matters from the second update on.

## Training

Rewards: 1 for right, 0 for wrong. Groups of 8, 64 answers an iteration, one update. No reference, no KL penalty: TRL's
default is the same. The prompts are lists of facts from the tuning split that the start was *not* tuned on. Had it been,
it would be right about them already, and would have learnt them by heart rather than by reading.
''')
code('''
train_rows = task.tune_lists("practice", experiments.PRACTICE)
settings = grpo.GRPOSettings(
    iterations=session.steps(quick=20, full=60),
    lr=experiments.GRPO_RATE,
    batch_size=session.steps(quick=64, full=64, smoke=16),
    seed=SEED,
)
policy = copy.deepcopy(model).requires_grad_(True)
runs_on(group_advantages, grpo_loss)
history = grpo.train_grpo(
    policy,
    task.verifier(tokenizer, train_rows),
    encode_prompts(tokenizer, [row["prompt"] for row in train_rows]),
    sampling_of(tokenizer, task.LIST_TOKENS),
    settings,
    advantages=group_advantages,
    policy_loss=grpo_loss,
)
''',IGN)
code('''
figures.training(history, "Training by iteration")
plots.caption(
    "This run by iteration, pale, and smoothed. Every iteration asks other questions.",
    seen="three zigzag lines; of right answers the smoothed one ends higher than in its first iterations",
)
''',IGN)
code('''
first, last = (sum(row["score"] for row in rows) / len(rows) for rows in (history[:4], history[-4:]))
print(f"right answers in training: {first:.0%} in the first four iterations, {last:.0%} in the last four")
''',IGN)
code('''
new_answers = task.answers_to(policy, tokenizer, held_out, SAMPLES, seed=SEED)
new_right = task.count_right(new_answers, held_out)
new_long = task.answers_to(policy, tokenizer, long, SAMPLES, seed=SEED, new_tokens=task.LONG_TOKENS)
after = {"short lists": curve(new_right), "long lists": curve(task.count_right(new_long, long))}
figures.curves(
    {name: {"before": before[name], "after": after[name]} for name in after},
    after_guess.title,
)
plots.caption(
    "pass@k before and after GRPO on held-out lists, this run.",
    seen="the lines of short lists before and after rise with k; those of long lists lie at the bottom",
)
''',IGN)
code('''
show_table(
    [
        {"short lists": name}
        | {f"pass@{k}": passing.bootstrap_interval(pass_at_k(each, SAMPLES, k)) for k in (1, 16, 64)}
        for name, each in {"before": right, "after": new_right}.items()
    ],
    "Mean (95% interval over questions), this run",
)
change = pass_at_k(new_right, SAMPLES, 64) - pass_at_k(right, SAMPLES, 64)  # of each question
_, low, high = passing.bootstrap_interval(change)
''',IGN)
code('''
stays = "it stays within its interval"
after_guess.reveal(
    "it rises" if low > 0 else "it falls" if high < 0 else stays,
    because={
        "it falls": "It would fall if the policy became sure of wrong answers and drew no right ones.",
        stays: "Then 64 answers reach about as many lists before as after, whatever becomes of pass@1.",
        "it rises": "Then lists are reached that 64 answers did not reach before: what is learnt on "
        "some lists carries over to others.",
    },
)
''',IGN,folded=True)
md(r'''
The interval is over the questions of one run, and wide. Every difference in it is of the same questions, before and
after.
''')
exec(open("/root/l18_cells/stored_cells.py").read()) if STORED else None
exec(open("/root/l18_cells/bug_cells.py").read())
exec(open("/root/l18_cells/hole_cells.py").read()) if STORED else None
exec(open("/root/l18_cells/kl_cells.py").read())
exec(open("/root/l18_cells/lib_cells.py").read())
md(r'''
## What to remember

- A verifier is a program that says right or wrong. It gives no gradient; the samples do.
- pass@1 is what a user sees, pass@k what the model can reach at all. Estimate both from many samples.
- A group in which all answers are alike teaches nothing. Choose questions that are sometimes answered.
- Compare with the greedy answer, a lower temperature, a vote, and tuning on right samples before you praise GRPO.
- What a verifier pays for, a policy will do. Read the texts.

**To read.** Z. Shao et al., *DeepSeekMath*, arXiv 2402.03300. DeepSeek-AI, *DeepSeek-R1*, arXiv 2501.12948. Z. Liu et al.,
*Understanding R1-Zero-like training* (Dr. GRPO), arXiv 2503.20783. Q. Yu et al., *DAPO*, arXiv 2503.14476. Y. Yue et
al., *Does reinforcement learning really incentivize reasoning capacity in LLMs beyond the base model?*, arXiv
2504.13837. M. Chen et al., *Evaluating large language models trained on code* (pass@k), arXiv 2107.03374.
''')
