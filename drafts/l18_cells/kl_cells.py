md(r'''
## Optional: the KL penalty, in the loss or in the reward

GRPO's paper keeps the policy near a reference by adding $\beta \cdot$ k3 of every token to the **loss**. Lesson 12's PPO took
$\beta \cdot$ k1 from the **reward**. Both estimate the same number (lesson 11). Do they have the same gradient? Two tokens
and a vocabulary of six make 36 sequences, so every mean is a sum, and nothing is sampled.
''')
code('''
V = 6


def both_tokens(table):
    """Log-probabilities of the two tokens of all sequences: logits [V + 1, V] -> [V * V, 2]."""
    log_probs = table.log_softmax(-1)  # row 0: the first token; row 1 + a: the second one after a
    return torch.stack([log_probs[0].repeat_interleave(V), log_probs[1:].flatten()], -1)


def gradient(objective, current, reference):
    """Gradient with respect to the policy's table, as one vector."""
    table = current.clone().requires_grad_()
    value = objective(both_tokens(table), both_tokens(reference))
    return torch.autograd.grad(value, table)[0].flatten()


def sampled(values, now):
    """Mean of the sequences' values, weighted as the policy samples them; samples carry no gradient."""
    return (now.sum(-1).exp().detach() * values).sum()


def exact(now, ref):
    """The KL of the sequences; here the weights do carry a gradient."""
    return (now.sum(-1).exp() * (now - ref).sum(-1)).sum()
''')
code('''
penalties = {
    "k1, in the loss": lambda now, ref: sampled(k1(now, ref).sum(-1), now),
    "k2, in the loss": lambda now, ref: sampled(k2(now, ref).sum(-1), now),
    "k3, in the loss": lambda now, ref: sampled(k3(now, ref).sum(-1), now),
    "k3 times the ratio, in the loss": lambda now, ref: sampled(
        ((now - now.detach()).exp() * k3(now, ref)).sum(-1), now
    ),
    "k2 of the sequence, in the loss": lambda now, ref: sampled(k2(now.sum(-1), ref.sum(-1)), now),
    "k1, in the reward": lambda now, ref: sampled(k1(now, ref).sum(-1).detach() * now.sum(-1), now),
}
''')
code('''
generator = torch.Generator().manual_seed(0)
current = torch.randn(V + 1, V, generator=generator, dtype=torch.double)
direction = torch.randn(V + 1, V, generator=generator, dtype=torch.double)
found = {}  # by how far the reference is: {penalty: gradient}
for distance in (0.3, 1.0, 2.0):
    reference = current + distance * direction
    found[distance] = {name: gradient(one, current, reference) for name, one in penalties.items()}
    found[distance]["KL"] = gradient(exact, current, reference)


def cosine(gradient, other):
    """Of two vectors; None where the first is 0."""
    return (gradient @ other / (gradient.norm() * other.norm())).item() if gradient.norm() > 1e-9 else None


show_table(
    [
        {"penalty": name}
        | {
            f"reference {distance} away": cosine(each[name], each["KL"])
            for distance, each in found.items()
        }
        for name in penalties
    ],
    "Cosine between the penalty's gradient and that of the KL of the sequences (none: no gradient)",
)
''')
code('''
far = found[2.0]
assert_same(far["k1, in the loss"], 0 * far["KL"], "k1 in the loss has no gradient on average", 1e-12)
assert_same(far["k1, in the reward"], far["KL"], "k1 in the reward has the gradient of the KL")
assert_same(far["k2 of the sequence, in the loss"], far["KL"], "So has k2 of the sequence, in the loss")
assert_same(
    far["k3 times the ratio, in the loss"],
    far["k2, in the loss"],
    "On average k3 times the ratio has the gradient of k2",
)
''')
md(r'''
k1 in the loss does nothing at all on average. Near the reference the other penalties agree. Far from it k3 of each
token points elsewhere, for two reasons. Its gradient for one token is that of the KL the other way round,
KL(reference || policy). And a token's own term does not know that the token leads to places where the two models
differ more. The second holds for every penalty by token in the loss. In the reward the penalty of later tokens is
credited to earlier ones, and nothing is lost.

TRL offers all of these: `RLOOTrainer` has k1 in the reward. `GRPOTrainer` has k3 in the loss, and by default multiplies it
by the ratio (`use_bias_correction_kl`), which gives the gradient of k2. With verifiable rewards many leave the penalty out.
''')
