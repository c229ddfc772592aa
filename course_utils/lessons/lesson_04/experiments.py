"""Stored experiments with LoRA: rank, place and rate; rank cuts of a full change; random subspaces."""

from course_utils.lessons.lesson_03.experiments import FULL_RATE, question_examples
from course_utils.stored_runs import CHOICE, few, sweep

PLACE_RATES = (3e-3, 5e-3, 1e-2, 2e-2, 3e-2)  # for each place on invented facts


def _points(*groups):
    """Points for all ranks and rates of each group (task, place, rslora, ranks, rates)."""
    return [
        {"task": task, "place": place, "rslora": rslora, "rank": rank, "lr": lr}
        for task, place, rslora, ranks, rates in groups
        for rank in ranks
        for lr in rates
    ]


@sweep(
    "rank_rates",
    points=_points(
        ("questions", "full", False, (None,), (1e-4, 2e-4, 5e-4)),
        ("questions", "c_attn", False, (1, 4, 8, 64), (1e-3, 3e-3, 1e-2, 3e-2)),
        ("questions", "c_attn", True, (8, 64), (3e-4, 1e-3, 3e-3, 1e-2)),
        ("questions", "all", False, (1, 8), (1e-3, 3e-3, 1e-2, 3e-2)),
        ("invented", "full", False, (None,), (2e-4, 5e-4, 1e-3)),
        ("invented", "c_attn", False, (4,), PLACE_RATES),
        ("invented", "c_fc", False, (3,), PLACE_RATES),
        ("invented", "all", False, (1,), PLACE_RATES),
    ),
    seeds=CHOICE,
    tolerance=0.3,  # at the highest rates training breaks, and another processor's rounding shows
)
def rank_rates(point: dict, seed: int) -> dict:
    """Used to choose rates, at a separate seed. validation: loss on validation questions after 30 steps, or
    on the invented facts themselves after 300, in nats per token.
    """
    from course_utils.evaluation import mean_loss

    model, tune = tuned_at_rank(point, seed)
    scored = question_examples("validation", sample=150) if point["task"] == "questions" else tune
    return {"validation": mean_loss(model, scored)}


@sweep(
    "lora_rank",
    points=[
        {"task": task, "lr": lr, "rslora": rslora, "rank": rank}
        for task, lr, rslora, ranks in (
            ("questions", 3e-3, False, (1, 4, 8, 64)),
            ("questions", 1e-3, True, (8, 64)),
            ("invented", 1e-2, False, (1, 8, 64)),
        )
        for rank in ranks
    ],
)
def lora_rank(point: dict, seed: int) -> dict:
    """LoRA on c_attn with alpha 16, batches of 16. loss: nats per token.

    questions: 30 steps, loss on held-out questions. invented: 300 steps on the 84 short questions about
    invented facts, loss on the same questions.
    """
    return {"loss": reported_loss(point, seed)}


@sweep(
    "lora_place",
    points=_points(
        ("invented", "all", False, (1,), (5e-3,)),
        ("invented", "c_attn", False, (4,), (1e-2,)),
        ("invented", "c_fc", False, (3,), (1e-2,)),
        ("questions", "all", False, (1, 8), (3e-3,)),
    ),
)
def lora_place(point: dict, seed: int) -> dict:
    """LoRA in several places, tuned and measured as in lora_rank."""
    return {"loss": reported_loss(point, seed)}


def _with_settings(place, rank, alpha, steps, lr):
    """A point on invented facts that has an alpha and a number of steps of its own."""
    kind = {"task": "invented", "place": place, "rslora": False, "rank": rank}
    return kind | {"alpha": alpha, "steps": steps, "lr": lr}


@sweep("rank_64", points=[_with_settings("c_attn", 64, 128.0, 300, 3e-3)], seeds=range(3), tolerance=0.15)
def rank_64(point: dict, seed: int) -> dict:
    """Rank 64 on c_attn with a larger alpha, measured as in lora_rank."""
    return {"loss": reported_loss(point, seed)}


@sweep("rank_longer", points=[_with_settings("c_attn", 4, 16.0, 900, 5e-3)], seeds=(0,))
def rank_longer(point: dict, seed: int) -> dict:
    """The place that is behind, in three times as many steps, measured as in lora_place."""
    return {"loss": reported_loss(point, seed)}


@sweep(
    "rank_4_alpha",
    points=[_with_settings("c_attn", 4, 64.0, 300, lr) for lr in (2.5e-3, 5e-3, 1e-2)],
    seeds=(0,),
)
def rank_4_alpha(point: dict, seed: int) -> dict:
    """The place that is behind, with the factor alpha / r of rank 1 everywhere, at three rates."""
    return {"loss": reported_loss(point, seed)}


def reported_loss(point: dict, seed: int) -> float:
    from course_utils.evaluation import mean_loss

    model, tune = tuned_at_rank(point, seed)
    scored = question_examples("held_out", sample=100) if point["task"] == "questions" else tune
    return mean_loss(model, scored)


def tuned_at_rank(point: dict, seed: int):
    """(the pocket model tuned as the point says, its training examples)."""
    import torch

    from course_utils.data import batches
    from course_utils.methods.lora import apply_lora
    from course_utils.methods.lora_analysis import linear_layers, train_only
    from course_utils.methods.lora_fast import speed_up
    from course_utils.models import load_model
    from course_utils.training import scored_lm_loss, train

    model, tokenizer = load_model("pocket")
    known = point["task"] == "questions"
    tune = question_examples("tune") if known else question_examples("invented", kind="short")
    place = point.get("place", "c_attn")
    torch.manual_seed(seed)
    if place == "full":
        train_only(model, linear_layers(model))
    else:
        layers = None if place == "all" else [place]
        speed_up(apply_lora(model, point["rank"], point.get("alpha", 16.0), layers, rslora=point["rslora"]))
    stream = batches(tune, 16, seed, tokenizer.pad_token_id)
    steps = few(point.get("steps", 30 if known else 300))
    label = f"{point['task']}, {place}, rank {point['rank']}, seed {seed}"
    train(model, stream, steps=steps, lr=point["lr"], loss_fn=scored_lm_loss, seed=seed, label=label)
    return model, tune


CUTS = {"cut": (0, 1, 2, 4, 8, 16, 64), "rest": (1, 4, 8, 64), "random": (1, 8, 64), "strong": (1, 8, 64)}


@sweep("rank_cut", points=[{"task": "questions", "lr": FULL_RATE}])
def rank_cut(point: dict, seed: int) -> dict:
    """Tune all matrices on the questions (30 steps), then cut their change.

    loss: of the tuned model; cut_r: with the best r directions; rest_r: with all others; random_r: with r
    random input directions; strong_r: with r random directions as strong as the best r. rank_90: number of
    directions with 90% of the energy; top_1, top_8: share of the energy in the first; means over matrices.
    validation, if the point asks for it: the tuned model's loss on validation questions.
    """
    import torch

    from course_utils.evaluation import mean_loss
    from course_utils.methods.lora_analysis import energy_curve, linear_layers, rank_for_energy
    from course_utils.models import load_model

    model, tune = tuned_at_rank({**point, "place": "full", "rank": None}, seed)
    scored = question_examples("held_out", sample=100) if point["task"] == "questions" else tune
    names, base = linear_layers(model), load_model("pocket")[0]
    starts = {name: base.get_submodule(name).weight.detach() for name in names}
    changes = {name: model.get_submodule(name).weight.detach() - starts[name] for name in names}
    svds = {name: torch.linalg.svd(change, full_matrices=False) for name, change in changes.items()}
    generator = torch.Generator().manual_seed(seed)

    def loss_with(kept):
        with torch.no_grad():
            for name in names:
                model.get_submodule(name).weight.copy_(starts[name] + kept(name))
        return mean_loss(model, scored)

    def best(name, rank):
        U, S, Vh = svds[name]
        return U[:, :rank] * S[:rank] @ Vh[:rank]

    def random_part(name, rank):  # Conv1D: the rows of [in, out] are the inputs; of nn.Linear the outputs
        draw = torch.randn(len(changes[name]), rank, generator=generator)
        Q = torch.linalg.qr(draw).Q
        return Q @ (Q.T @ changes[name])

    def as_strong(name, rank):
        rows, columns = (
            torch.linalg.qr(torch.randn(size, rank, generator=generator)).Q for size in changes[name].shape
        )
        return rows * svds[name][1][:rank] @ columns.T

    parts = {"cut": best, "rest": lambda name, rank: changes[name] - best(name, rank)}
    parts |= {"random": random_part, "strong": as_strong}
    result = {"loss": mean_loss(model, scored)}
    if point.get("validation"):
        result["validation"] = mean_loss(model, question_examples("validation", sample=150))
    for key, ranks in CUTS.items():
        result |= {f"{key}_{r}": loss_with(lambda name, r=r, key=key: parts[key](name, r)) for r in ranks}
    spectra = [S for _, S, _ in svds.values()]
    result["rank_90"] = sum(rank_for_energy(S, 0.9) for S in spectra) / len(spectra)
    for count in (1, 8):
        result[f"top_{count}"] = sum(float(energy_curve(S)[count - 1]) for S in spectra) / len(spectra)
    return result


@sweep(
    "random_subspace",
    points=[
        {"start": start, "dimension": dimension, "lr": lr}
        for start, dimension, rates in (
            ("pre-trained", 10, (0.3, 1.0, 3.0, 10.0)),
            ("pre-trained", 100, (0.3, 1.0, 3.0)),
            ("pre-trained", 1000, (0.03, 0.1, 0.3, 1.0)),
            ("pre-trained", 10_000, (0.01, 0.03, 0.1)),
        )
        for lr in rates
    ],
)
def random_subspace(point: dict, seed: int) -> dict:
    """Tune all weights on questions in a random subspace, 50 steps of 16: loss on held-out questions."""
    from course_utils.data import batches
    from course_utils.evaluation import mean_loss
    from course_utils.methods.lora_analysis import RandomSubspace
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")
    space = RandomSubspace(model, point["dimension"], seed)
    stream = batches(question_examples("tune"), 16, seed, tokenizer.pad_token_id)
    label = f"{point['dimension']} dimensions, lr {point['lr']:g}, seed {seed}"
    train(space, stream, steps=few(50), lr=point["lr"], seed=seed, label=label)
    return {"loss": mean_loss(space.write_back(), question_examples("held_out", sample=100))}
