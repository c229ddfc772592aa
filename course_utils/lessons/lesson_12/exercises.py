"""Exercises of lesson 12: RLHF with PPO."""

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


def token_rewards(scores, log_probs, reference_log_probs, mask, beta):
    """Reward of every token, [rows, T]; scores [rows], the rest [rows, T]."""
    rewards = -beta * (log_probs - reference_log_probs) * mask
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * positions).argmax(1)  # (rows,)
    rewards[torch.arange(len(scores), device=mask.device), last] += scores
    return rewards


MASK = torch.tensor([[0.0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])


def _check_token_rewards(fn):
    scores = torch.tensor([2.0, -1.0, 0.5])
    log_probs, reference = -torch.rand(3, 6) * 3, -torch.rand(3, 6) * 3
    beta = 0.3
    given = [scores, log_probs, reference, MASK.clone()]
    before = [value.clone() for value in given]
    result = expect_tensor(fn(*given, beta), (3, 6))
    if not all(torch.equal(a, b) for a, b in zip(given, before, strict=True)):
        raise Mistake("One of the arguments was changed in place.")
    right = token_rewards(scores, log_probs, reference, MASK, beta)
    kl = beta * (log_probs - reference)
    at_end = token_rewards(scores, log_probs, log_probs, MASK, 0.0)  # the scores alone
    for wrong, message in (
        (right + 2 * kl * MASK, "The sign of the KL is turned: this rewards moving away from the reference."),
        (right - kl * (1 - MASK), "Prompt or padding is penalised too: multiply the penalty by the mask."),
        (-kl * MASK + scores[:, None] * MASK, "The score stands at every token. It belongs to the last one."),
        (
            -kl * MASK + torch.nn.functional.pad(scores[:, None], (5, 0)),
            "The score stands in the last column. That is padding where the answer is shorter: look for the "
            "last token of each row's mask.",
        ),
        (at_end, "The KL penalty is missing."),
        (-kl * MASK, "The score is missing."),
        (
            right - (kl * MASK).sum(1, keepdim=True) * (at_end != 0),
            "The KL is counted twice: at every token, and as a sum at the last one.",
        ),
        (
            at_end - (kl * MASK).sum(1, keepdim=True) * (at_end != 0),
            "The whole KL stands at the last token. Its sum is right; but give every token its own part, so "
            "that it is known which one moved.",
        ),
        (at_end - kl * MASK / MASK.sum(1, keepdim=True), "The KL is divided by the answer's length."),
        (at_end - kl / beta * MASK, "beta has no effect."),
    ):
        if close(result, wrong):
            raise Mistake(message)
    if not close(result, right):
        raise Mistake(
            "Every token of the answer has -beta * (log_probs - reference_log_probs), its last one the score "
            "besides, and everything else 0."
        )


def advantages_and_returns(rewards, values, mask, gamma, lam):
    """Generalised advantage estimates and returns, [rows, T] each."""
    values = values * mask
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros(len(rewards), device=rewards.device)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = (delta + gamma * lam * next_advantage) * mask[:, t]
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    return advantages, advantages + values


def _check_advantages(fn):
    mask = torch.tensor([[1.0, 1, 1, 0], [0, 1, 1, 1]])
    rewards = torch.tensor([[0.1, -0.2, 1.0, 0.0], [0.0, 0.3, -0.1, 2.0]])
    values = torch.tensor([[0.5, 0.4, 0.8, 9.0], [7.0, 0.2, 0.6, 1.0]])  # what stands off the answer is noise
    gamma, lam = 0.9, 0.5
    result = fn(rewards.clone(), values.clone(), mask.clone(), gamma, lam)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: the advantages and the returns.")
    advantages, returns = result
    expect_tensor(advantages, (2, 4), "the advantages")
    expect_tensor(returns, (2, 4), "the returns")
    right, right_returns = advantages_and_returns(rewards, values, mask, gamma, lam)
    for wrong, message in (
        (
            _bootstrapped(rewards, values, mask, gamma, lam),
            "The value of the position after the answer is used. The answer has ended there: what follows "
            "is worth 0. Multiply the values by the mask first.",
        ),
        (
            advantages_and_returns(rewards, values, mask, gamma, 0.0)[0],
            "lam has no effect: these are the one-step errors.",
        ),
        (
            advantages_and_returns(rewards, values, mask, gamma, 1.0)[0],
            "lam has no effect: this is its value at lam = 1.",
        ),
        (advantages_and_returns(rewards, values, mask, 1.0, lam)[0], "gamma has no effect."),
        (advantages_and_returns(rewards, 0 * values, mask, gamma, lam)[0], "The values are not subtracted."),
        (
            advantages_and_returns(rewards.flip(1), values.flip(1), mask.flip(1), gamma, lam)[0].flip(1),
            "The recursion runs forward: a token would be credited with what came before it. Start at the "
            "end.",
        ),
    ):
        if close(advantages, wrong):
            raise Mistake(message)
    if not close(advantages * mask, right * mask):
        raise Mistake(
            f"The last token of row 1 should have 1.0 - 0.8 = 0.2 and the one before it {right[0, 1]:.3f}; "
            f"you have {advantages[0, 2]:.3f} and {advantages[0, 1]:.3f}."
        )
    if not close(advantages, right):
        raise Mistake("Prompt and padding have advantages too: multiply by the mask.")
    if close(returns, right + rewards * mask):
        raise Mistake("The returns are advantage plus value, not plus reward.")
    if not close(returns * mask, right_returns * mask):
        raise Mistake("The returns are the advantages plus the values: what the values should have been.")


def _bootstrapped(rewards, values, mask, gamma, lam):
    """Advantages with the values off the answer left in."""
    following = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    delta = rewards + gamma * following - values
    advantages, carried = torch.zeros_like(rewards), torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        carried = (delta[:, t] + gamma * lam * carried) * mask[:, t]
        advantages[:, t] = carried
    return advantages


def clipped_loss(log_probs, old_log_probs, advantages, mask, clip):
    """PPO's policy loss, the mean over the tokens of the mask; all [rows, T]."""
    ratio = torch.exp(log_probs - old_log_probs)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = torch.maximum(-advantages.detach() * ratio, -advantages.detach() * clipped)
    return (loss * mask).sum() / mask.sum()


def _check_clipped_loss(fn):
    clip, ones = 0.2, torch.ones(1, 1)

    def at(ratio, advantage):
        """(loss, its gradient with respect to the log-probability) of one token."""
        log_probs = torch.tensor([[ratio]]).log().requires_grad_()
        loss = expect_tensor(fn(log_probs, torch.zeros(1, 1), torch.tensor([[advantage]]), ones, clip), ())
        if not loss.requires_grad:
            raise Mistake("The loss has no gradient: is something detached that should not be?")
        return loss.item(), torch.autograd.grad(loss, log_probs)[0].item()

    value, slope = at(1.1, 2.0)
    if close(value, 2.2):
        raise Mistake(
            "The sign is turned: the optimiser goes down, so the loss is minus ratio times advantage."
        )
    if close(value, -2 / 1.1):
        raise Mistake("The ratio is inverted: it is new over old, exp(log_probs - old_log_probs).")
    if not close(value, -2.2):
        raise Mistake(f"For ratio 1.1, advantage 2 and clip 0.2 the loss should be -2.2, and is {value:.3f}.")
    if not close(slope, -2.2):
        raise Mistake(
            "The gradient through the ratio is wrong: old_log_probs and advantages are constants, log_probs "
            "is not."
        )
    value, slope = at(1.5, 2.0)
    if close(value, -3.0):
        raise Mistake(
            "Nothing is clipped: at ratio 1.5 and advantage 2 there is nothing more to gain beyond 1.2, so "
            "the loss stops at -2.4. If you take the smaller of the two losses, take the larger."
        )
    if not close(value, -2.4) or not close(slope, 0.0):
        raise Mistake(
            f"For ratio 1.5 and advantage 2 the loss should be -2.4 with gradient 0; it is {value:.3f} "
            f"with {slope:.3f}."
        )
    value, slope = at(0.5, 2.0)
    if close(value, -1.6):
        raise Mistake(
            "Clipped on the wrong side: at ratio 0.5 a good token has become less likely. That must be "
            "repaired, so the gradient stays. The clip only takes what would be gained: the larger of the "
            "two losses."
        )
    if not close(value, -1.0) or not close(slope, -1.0):
        raise Mistake(f"For ratio 0.5 and advantage 2 the loss should be -1.0, and is {value:.3f}.")
    if not close(at(0.5, -2.0)[0], 1.6) or not close(at(1.5, -2.0)[0], 3.0):
        raise Mistake(
            "For negative advantages the clip works the other way round: 1.6 at ratio 0.5 and 3.0 at ratio "
            "1.5 (advantage -2)."
        )
    log_probs, old = torch.randn(2, 4), torch.randn(2, 4)
    mask = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 1]])
    weights = torch.randn(2, 4, requires_grad=True)
    loss = fn(log_probs.requires_grad_(), old, weights, mask, clip)
    right = clipped_loss(log_probs, old, weights, mask, clip)
    if close(loss, right * mask.sum() / mask.numel()):
        raise Mistake("The mean counts padding: divide by the number of tokens of the mask.")
    if close(loss, right * mask.sum()):
        raise Mistake("This is the sum over the tokens. Take the mean over the mask.")
    if not close(loss, right):
        raise Mistake("Only tokens of the mask count: sum loss * mask, and divide by mask.sum().")
    if weights in _leaves(loss):
        raise Mistake(
            "The advantage is not detached: its gradient would reach the value head through the policy loss "
            "and teach it to flatter. It is a constant here: advantages.detach()."
        )


def _leaves(value):
    """Tensors that require gradients and take part in the value."""
    found, todo, seen = set(), [value.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        todo += [following for following, _ in node.next_functions]
    return found


def leave_one_out(scores, group):
    """Score less the mean of the other answers to the same prompt, [rows]."""
    grouped = scores.view(-1, group)  # (prompts, group)
    others = (grouped.sum(1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).flatten()


def _check_leave_one_out(fn):
    scores = torch.tensor([1.0, 2.0, 6.0, 0.0, 4.0, 5.0])
    result = expect_tensor(fn(scores, 3))
    if result.shape == (2, 3):
        raise Mistake("The shape is [prompts, group]. Flatten it: one advantage for each answer.")
    expect_tensor(result, (6,))
    grouped = scores.view(2, 3)
    for wrong, message in (
        (
            (grouped - grouped.mean(1, keepdim=True)).flatten(),
            "The baseline contains the answer itself: with a group of k the advantage comes out (k - 1) / k "
            "times too small. Leave it out.",
        ),
        (
            scores - (scores.sum() - scores) / 5,
            "The baseline runs over the whole batch. Only answers to the same prompt are comparable: "
            "view(-1, group).",
        ),
        (
            leave_one_out(scores.view(3, 2).T.flatten(), 3),
            "The rows are grouped wrongly: the answers to one prompt stand together.",
        ),
        (
            ((grouped.sum(1, keepdim=True) - grouped) / 2 - grouped).flatten(),
            "The sign is turned: a better answer than the others should have a positive advantage.",
        ),
        (
            (grouped - (grouped.sum(1, keepdim=True) - grouped) / 3).flatten(),
            "The other answers are group - 1, not group.",
        ),
        (
            ((grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)).flatten(),
            "This is GRPO's advantage, divided by the standard deviation. Here it is the plain difference.",
        ),
    ):
        if close(result, wrong):
            raise Mistake(message)
    if not close(result, leave_one_out(scores, 3)):
        raise Mistake("The first answer has 1 - (2 + 6) / 2 = -3.")


def _rewards(fault):
    """A wrong token_rewards: fault(kl penalty [rows, T], scores alone [rows, T], scores, mask)."""

    def wrong(scores, log_probs, reference_log_probs, mask, beta):
        alone = token_rewards(scores, log_probs, log_probs, mask, 0.0)
        return fault(beta * (log_probs - reference_log_probs), alone, scores, mask)

    return wrong


def _last_column(kl, alone, scores, mask):
    rewards = -kl * mask
    rewards[:, -1] += scores
    return rewards


def _overwriting(scores, log_probs, reference_log_probs, mask, beta):
    log_probs -= reference_log_probs
    return token_rewards(scores, log_probs, 0 * log_probs, mask, beta)


def _gae(fault):
    """A wrong advantages_and_returns: fault(rewards, values, mask, gamma, lam)."""
    return lambda rewards, values, mask, gamma, lam: fault(rewards, values, mask, gamma, lam)


def _with_values(advantages, values, mask):
    return advantages, (advantages + values) * mask


def _unmasked_advantages(rewards, values, mask, gamma, lam):
    advantages, returns = advantages_and_returns(rewards, values, mask, gamma, lam)
    return advantages + (1 - mask), returns


def _policy(fault):
    """A wrong clipped_loss: fault(ratio, clipped ratio, advantages) gives the loss of each token."""

    def wrong(log_probs, old_log_probs, advantages, mask, clip):
        ratio = torch.exp(log_probs - old_log_probs)
        loss = fault(ratio, ratio.clamp(1 - clip, 1 + clip), advantages.detach())
        return (loss * mask).sum() / mask.sum()

    return wrong


def _worse(ratio, clipped, advantages):
    return torch.maximum(-advantages * ratio, -advantages * clipped)


def _inverted(log_probs, old_log_probs, advantages, mask, clip):
    return clipped_loss(old_log_probs, log_probs, advantages, mask, clip)


def _not_detached(log_probs, old_log_probs, advantages, mask, clip):
    ratio = (log_probs - old_log_probs).exp()
    loss = _worse(ratio, ratio.clamp(1 - clip, 1 + clip), advantages)
    return (loss * mask).sum() / mask.sum()


def _over_padding(log_probs, old_log_probs, advantages, mask, clip):
    return clipped_loss(log_probs, old_log_probs, advantages, mask, clip) * mask.mean()


def _no_gradient(log_probs, old_log_probs, advantages, mask, clip):
    return clipped_loss(log_probs.detach(), old_log_probs, advantages, mask, clip)


EXERCISES = [
    Exercise(
        name="token_rewards",
        lesson="12",
        minutes=10,
        difficulty=2,
        reference=token_rewards,
        check=_check_token_rewards,
        wrong=[
            (_rewards(lambda kl, alone, scores, mask: alone + kl * mask), "sign of the KL"),
            (_rewards(lambda kl, alone, scores, mask: alone - kl), "penalised too"),
            (_rewards(lambda kl, alone, scores, mask: scores[:, None] * mask - kl * mask), "at every token"),
            (_rewards(_last_column), "last column"),
            (_rewards(lambda kl, alone, scores, mask: alone), "penalty is missing"),
            (_rewards(lambda kl, alone, scores, mask: -kl * mask), "score is missing"),
            (
                _rewards(
                    lambda kl, alone, scores, mask: (
                        alone - kl * mask - (kl * mask).sum(1, keepdim=True) * (alone != 0)
                    )
                ),
                "counted twice",
            ),
            (
                _rewards(
                    lambda kl, alone, scores, mask: alone - (kl * mask).sum(1, keepdim=True) * (alone != 0)
                ),
                "whole KL stands",
            ),
            (_overwriting, "changed in place"),
            (_rewards(lambda kl, alone, scores, mask: 2 * alone - kl * mask), "Every token of the answer"),
        ],
        hints=(
            "Two parts. The KL penalty is paid at every token of the answer, when it is chosen. The reward "
            "model has read the whole answer, so its score comes with the last token.",
            "-beta * (log_probs - reference_log_probs) * mask is [rows, T]. The last token of a row: the "
            "largest position where the mask is 1, (mask * torch.arange(T)).argmax(1). Add the score there.",
        ),
    ),
    Exercise(
        name="advantages_and_returns",
        lesson="12",
        minutes=15,
        difficulty=3,
        reference=advantages_and_returns,
        check=_check_advantages,
        wrong=[
            (
                _gae(lambda r, v, m, g, lam: _with_values(_bootstrapped(r, v, m, g, lam), v, m)),
                "has ended there",
            ),
            (_gae(lambda r, v, m, g, lam: advantages_and_returns(r, v, m, g, 0.0)), "one-step errors"),
            (_gae(lambda r, v, m, g, lam: advantages_and_returns(r, v, m, g, 1.0)), "at lam = 1"),
            (_gae(lambda r, v, m, g, lam: advantages_and_returns(r, v, m, 1.0, lam)), "gamma has no effect"),
            (_gae(lambda r, v, m, g, lam: advantages_and_returns(r, 0 * v, m, g, lam)), "not subtracted"),
            (
                _gae(
                    lambda r, v, m, g, lam: tuple(
                        x.flip(1) for x in advantages_and_returns(r.flip(1), v.flip(1), m.flip(1), g, lam)
                    )
                ),
                "runs forward",
            ),
            (
                _gae(lambda r, v, m, g, lam: (advantages_and_returns(r, v, m, g, lam)[0],) * 2),
                "plus the values",
            ),
            (_gae(lambda r, v, m, g, lam: advantages_and_returns(r, v, m, g, lam)[0]), "Return two tensors"),
            (_unmasked_advantages, "Prompt and padding have advantages"),
            (
                _gae(lambda r, v, m, g, lam: advantages_and_returns(2 * r, v, m, g, lam)),
                "last token of row 1",
            ),
        ],
        hints=(
            "How much better was a token than expected? Its own error is delta = reward + gamma * (value of "
            "the next position) - value. GAE adds the errors of the tokens after it, each weighted by gamma "
            "* lam once more.",
            "values = values * mask. From the last column to the first: delta [rows], A = (delta + gamma * "
            "lam * A of the next column) * mask[:, t]. Past the end, value and A are 0. Returns: A + values.",
        ),
    ),
    Exercise(
        name="clipped_loss",
        lesson="12",
        minutes=15,
        difficulty=3,
        reference=clipped_loss,
        check=_check_clipped_loss,
        wrong=[
            (_policy(lambda ratio, clipped, a: -_worse(ratio, clipped, a)), "sign is turned"),
            (_inverted, "ratio is inverted"),
            (_policy(lambda ratio, clipped, a: -a * ratio), "Nothing is clipped"),
            (_policy(lambda ratio, clipped, a: torch.minimum(-a * ratio, -a * clipped)), "take the larger"),
            (_policy(lambda ratio, clipped, a: -a * clipped), "wrong side"),
            (_not_detached, "not detached"),
            (_over_padding, "counts padding"),
            (_no_gradient, "has no gradient"),
            (_policy(lambda ratio, clipped, a: 2 * _worse(ratio, clipped, a)), "should be -2.2"),
        ],
        hints=(
            "The plain loss is -advantage * ratio, ratio = new probability over old. The clipped one uses a "
            "ratio that is kept within 1 - clip and 1 + clip. Of the two, always take the more pessimistic.",
            "ratio = exp(log_probs - old_log_probs), [rows, T]; clamp it; torch.maximum of the two losses; "
            "the mean over the mask. The advantages are constants: detach them.",
        ),
    ),
    Exercise(
        name="leave_one_out",
        lesson="12",
        minutes=10,
        difficulty=2,
        reference=leave_one_out,
        check=_check_leave_one_out,
        wrong=[
            (
                lambda s, group: (s.view(-1, group) - s.view(-1, group).mean(1, keepdim=True)).flatten(),
                "contains the answer itself",
            ),
            (lambda s, group: s - (s.sum() - s) / (len(s) - 1), "over the whole batch"),
            (lambda s, group: leave_one_out(s.view(group, -1).T.flatten(), group), "grouped wrongly"),
            (lambda s, group: -leave_one_out(s, group), "sign is turned"),
            (lambda s, group: leave_one_out(s, group).view(-1, group), "Flatten it"),
            (lambda s, group: leave_one_out(s, group) / 2, "The first answer has"),
        ],
        hints=(
            "What would the others have given? The mean of the other answers to the same prompt is a "
            "baseline that does not depend on this answer.",
            "scores.view(-1, group) is [prompts, group]. The sum of the others is the group's sum less the "
            "score; divide by group - 1, subtract from the score, flatten to [rows].",
        ),
    ),
]
