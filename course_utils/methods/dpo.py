"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): no reward model, no sampling.

A pair is two Examples, (chosen, rejected), of one prompt, with labels on the answers: what
preferences.encode_pairs makes. A batch of B pairs has 2 B rows, the chosen answers and then the rejected
ones in the same order; one forward pass scores both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import IGNORE, Batch, Example, Pairs, chunks_by_length, collate_pairs, shuffled_batches
from course_utils.log_probs import fast_sequence_log_probs
from course_utils.training import History, train

Losses = tuple[Tensor, Tensor, Tensor]
Loss = Callable[..., Losses]  # with the arguments of dpo_loss, or of ipo_loss
LogProbs = Callable[[nn.Module, Batch], Tensor]


@torch.no_grad()
def reference_log_probs(reference: nn.Module, pairs: Pairs, pad_id: int, batch_size: int = 16) -> Tensor:
    """The reference's log-probabilities of each pair's answers, (chosen, rejected) [pairs, 2]."""
    device = next(reference.parameters()).device
    result = torch.empty(len(pairs), 2)
    for chunk in chunks_by_length(pairs, batch_size, _length):
        batch = collate_pairs([pairs[index] for index in chunk], pad_id)
        batch = {name: value.to(device) for name, value in batch.items()}
        result[chunk] = fast_sequence_log_probs(reference, batch).view(2, -1).T.cpu()
    return result


def dpo_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Losses:
    """Loss of each pair, -log sigmoid of the margin, and the two implicit rewards; all [pairs].

    The arguments are log-probabilities of whole answers, summed over their tokens. The implicit reward of an
    answer is beta * log(policy / reference); the margin is the chosen one's reward minus the rejected one's.
    """
    chosen_reward = beta * (chosen - reference_chosen)
    rejected_reward = beta * (rejected - reference_rejected)
    return -F.logsigmoid(chosen_reward - rejected_reward), chosen_reward, rejected_reward


def ipo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    lengths: Tensor,
) -> Losses:
    """IPO's squared loss of each pair (Azar et al. 2023, arXiv 2310.12036), and beta times its log-ratios.

    lengths: tokens of the chosen and of the rejected answers, [2, pairs]. The log-ratios are divided by them,
    as in TRL, whose source says that the paper's results were made so; its formula does not divide.
    """
    chosen_ratio = (chosen - reference_chosen) / lengths[0]
    rejected_ratio = (rejected - reference_rejected) / lengths[1]
    loss = (chosen_ratio - rejected_ratio - 1 / (2 * beta)).square()
    return loss, beta * chosen_ratio, beta * rejected_ratio


def mean_dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    lengths: Tensor,
) -> Losses:
    """dpo_loss on means over the answers' tokens instead of sums: beta is larger by the typical length.

    lengths as in ipo_loss.
    """
    logs = (chosen, rejected, reference_chosen, reference_rejected)
    return dpo_loss(*(log / length for log, length in zip(logs, (*lengths, *lengths), strict=True)), beta)  # type: ignore[call-arg]


SIMPO_GAP = 0.3  # in units of beta: target margin of the chosen over the rejected answer, nats per token


def simpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    lengths: Tensor,
    gap: float = SIMPO_GAP,
) -> Losses:
    """SimPO's loss of each pair (Meng et al. 2024, arXiv 2405.14734), and beta times its means over tokens.

    It needs no reference: those two arguments only keep the signature uniform. lengths as in ipo_loss.
    """
    chosen_reward, rejected_reward = beta * chosen / lengths[0], beta * rejected / lengths[1]
    return -F.logsigmoid(chosen_reward - rejected_reward - gap * beta), chosen_reward, rejected_reward


def orpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    lengths: Tensor,
) -> Losses:
    """ORPO's loss of each pair (Hong et al. 2024, arXiv 2403.07691), and beta times its means over tokens.

    The loss of the chosen answer in nats per token, plus beta times -log sigmoid of the difference of the two
    log odds, log(p / (1 - p)), where log p is an answer's mean over its tokens. No reference, as in SimPO.
    """
    means = chosen / lengths[0], rejected / lengths[1]
    chosen_odds, rejected_odds = (mean - torch.log(-torch.expm1(mean)) for mean in means)
    loss = -means[0] - beta * F.logsigmoid(chosen_odds - rejected_odds)
    return loss, beta * means[0], beta * means[1]


def kto_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Losses:
    """KTO's loss (Ethayarajh et al. 2024, arXiv 2402.01306) of pairs, and their implicit rewards.

    Each answer has a loss of its own: 1 - sigmoid(reward - point) of a chosen one, 1 - sigmoid(point -
    reward) of a rejected one; a pair has their mean. The point is a constant: the mean reward of the
    batch's other side, at least 0, as in the loss "kto_pair" that TRL once had.
    """
    _, chosen_reward, rejected_reward = dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)
    of_chosen, of_rejected = (
        rewards.detach().mean().clamp(min=0) for rewards in (chosen_reward, rejected_reward)
    )
    wanted, unwanted = chosen_reward - of_rejected, of_chosen - rejected_reward
    loss = 1 - (torch.sigmoid(wanted) + torch.sigmoid(unwanted)) / 2
    return loss, chosen_reward, rejected_reward


def tuned_dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    lengths: Tensor,
) -> Losses:
    """dpo_loss plus the loss of the chosen answers in nats per token, as in instruction tuning.

    Llama 3 (arXiv 2407.21783) added it with a weight of .2. lengths as in ipo_loss.
    """
    losses, *rewards = dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)
    return losses - chosen / lengths[0], *rewards  # type: ignore[return-value]


def with_reference(batch: Batch, log_probs: Tensor) -> Batch:
    """A batch of pairs with "reference" [2 B], row by row; log_probs [B, 2]: chosen, rejected."""
    return batch | {"reference": torch.cat([log_probs[:, 0], log_probs[:, 1]])}


def pair_values(
    model: nn.Module,
    batch: Batch,
    beta: float,
    loss: Loss = dpo_loss,
    log_probs: LogProbs = fast_sequence_log_probs,
) -> dict[str, Tensor]:
    """Per-pair values of a batch of pairs with "reference" [2 B], by name, [B] each.

    loss: dpo_loss or a function with its arguments and results; if it has an argument `lengths`, it gets the
    numbers of tokens of the chosen and of the rejected answers, [2, B]. log_probs(model, batch): of each
    row's answer, [2 B].

    Names: loss, margin, accuracy (1 if the margin is above 0), chosen_reward, rejected_reward,
    chosen_log_prob and rejected_log_prob.
    """
    chosen, rejected = log_probs(model, batch).chunk(2)
    logs = (chosen, rejected, *batch["reference"].chunk(2))
    lengths = {"lengths": (batch["labels"] != IGNORE).sum(1).view(2, -1)}
    taken = lengths if "lengths" in inspect.signature(loss).parameters else {}
    losses, chosen_reward, rejected_reward = loss(*logs, beta, **taken)
    margin = chosen_reward - rejected_reward
    return {
        "loss": losses,
        "margin": margin,
        "accuracy": (margin > 0).float(),
        "chosen_reward": chosen_reward,
        "rejected_reward": rejected_reward,
        "chosen_log_prob": chosen,
        "rejected_log_prob": rejected,
    }


def batch_loss(
    model: nn.Module,
    batch: Batch,
    beta: float,
    loss: Loss = dpo_loss,
    log_probs: LogProbs = fast_sequence_log_probs,
) -> tuple[Tensor, dict[str, float]]:
    """(losses [pairs], means of pair_values as numbers) of a batch of pairs."""
    values = pair_values(model, batch, beta, loss, log_probs)
    return values["loss"], {name: value.detach().mean().item() for name, value in values.items()}


def pair_batches(pairs: Pairs, reference: Tensor, batch_size: int, seed: int, pad_id: int) -> Iterator[Batch]:
    """Endless shuffled batches of pairs of similar length, with their "reference" [2 B]."""
    if len(pairs) < batch_size:
        raise ValueError(f"{len(pairs)} pairs are too few for a batch of {batch_size}")

    def collated(chunk: Sequence[tuple]) -> Batch:
        part, log_probs = zip(*chunk, strict=True)
        return with_reference(collate_pairs(part, pad_id), torch.stack(log_probs))

    entries = list(zip(pairs, reference, strict=True))
    return shuffled_batches(entries, batch_size, seed, collated, lambda entry: _length(entry[0]))


def _length(pair: tuple[Example, Example]) -> int:
    return max(len(answer.input_ids) for answer in pair)


@torch.no_grad()
def values_of_pairs(
    model: nn.Module,
    pairs: Pairs,
    reference: Tensor,
    beta: float,
    pad_id: int,
    batch_size: int = 16,
    loss: Loss = dpo_loss,
    log_probs: LogProbs = fast_sequence_log_probs,
) -> dict[str, Tensor]:
    """pair_values of all pairs, in order, [pairs] each, in eval mode; reference [pairs, 2]."""
    device = next(model.parameters()).device
    training = model.training
    found: dict[str, Tensor] = {}
    model.eval()
    for chunk in chunks_by_length(pairs, batch_size, _length):
        batch = with_reference(collate_pairs([pairs[index] for index in chunk], pad_id), reference[chunk])
        batch = {name: value.to(device) for name, value in batch.items()}
        for name, values in pair_values(model, batch, beta, loss, log_probs).items():
            found.setdefault(name, torch.empty(len(pairs)))[chunk] = values.float().cpu()
    model.train(training)
    return found


def pair_metrics(
    model: nn.Module, pairs: Pairs, reference: Tensor, beta: float, pad_id: int, **options: Any
) -> dict[str, float]:
    """Means of values_of_pairs, as numbers; options: batch_size, loss, log_probs."""
    values = values_of_pairs(model, pairs, reference, beta, pad_id, **options)
    return {name: value.mean().item() for name, value in values.items()}


def train_dpo(
    model: nn.Module,
    pairs: Pairs,
    reference: Tensor,
    *,
    beta: float,
    steps: int,
    lr: float,
    pad_id: int,
    batch_size: int = 8,
    seed: int = 0,
    loss: Loss = dpo_loss,
    log_probs: LogProbs = fast_sequence_log_probs,
    held_out: tuple[Pairs, Tensor] | None = None,
    look: Callable[[], object] | None = None,
    **options: Any,
) -> History:
    """Train the trainable parameters on the pairs; returns the history, with the metrics of every batch.

    reference, and held_out as (pairs, reference): log-probabilities from reference_log_probs. Metrics of
    held-out pairs are recorded as "held_out_...". look(): called at each of their measurements: before the
    first step, every eval_every steps and at the end. loss, log_probs: see pair_values. options: of
    training.train (eval_every, checkpoint, autocast, ...); steps before a checkpoint have no batch metrics.
    Dropout stays off: with it, the policy would differ from the reference before the first step.
    """
    metrics = {}  # by step

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        model.eval()
        losses, metrics[int(batch["step"])] = batch_loss(model, batch, beta, loss, log_probs)
        return losses.sum(), len(losses)

    def evaluate(model: nn.Module) -> dict[str, float]:
        if look:
            look()
        if held_out is None:
            return {}
        found = pair_metrics(model, *held_out, beta, pad_id, loss=loss, log_probs=log_probs)
        return {f"held_out_{name}": value for name, value in found.items()}

    batches = enumerate(pair_batches(pairs, reference, batch_size, seed, pad_id), 1)
    history = train(
        model,
        (batch | {"step": torch.tensor(step)} for step, batch in batches),
        steps=steps,
        lr=lr,
        loss_fn=loss_fn,
        weight_decay=0.0,
        evaluate=evaluate if held_out or look else None,
        seed=seed,
        **{"label": "DPO"} | options,
    )
    for row in history.rows:
        row.update(metrics.get(row["step"], {}))
    return history
