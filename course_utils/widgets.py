"""Thin controls over plain functions. A saved notebook keeps their first text and picture, no state."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"


def control(function: Callable[..., None], **values: Any) -> None:
    """Controls for the function's arguments, and below them what it prints and draws.

    A value is (low, high) or (low, high, step) for a slider, a sequence of strings or a dict for a choice, a
    string for a text field, a bool for a box, or an ipywidget. Sliders and choices start at the argument's
    default. Without a kernel a reader sees the text and the picture of the starting values.
    """
    import inspect

    import ipywidgets
    from IPython.display import publish_display_data

    parameters = inspect.signature(function).parameters
    controls = {name: _control(name, value, parameters[name].default) for name, value in values.items()}
    output = ipywidgets.Output()

    def show(*_: Any) -> None:
        output.outputs = _outputs_of(function, {name: widget.value for name, widget in controls.items()})

    for widget in controls.values():
        widget.observe(show, names="value")
    show()
    box = ipywidgets.VBox([*controls.values(), output])
    publish_display_data({**_static(output.outputs), WIDGET: box._repr_mimebundle_()[WIDGET]})


def _control(name: str, value: Any, default: Any) -> Any:
    import inspect

    import ipywidgets

    if isinstance(value, ipywidgets.Widget):
        return value
    start = {} if default is inspect.Parameter.empty else {"value": default}
    common = {"description": name.replace("_", " "), "style": {"description_width": "120px"}}
    if isinstance(value, bool):
        return ipywidgets.Checkbox(value=value, **common)
    if isinstance(value, str):
        return ipywidgets.Text(value=value, continuous_update=False, layout={"width": "600px"}, **common)
    numbers = isinstance(value, tuple) and all(isinstance(number, int | float) for number in value)
    if numbers and len(value) in (2, 3):
        whole = all(isinstance(number, int) for number in value)
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        low, high, step = (*value, 1 if whole else (value[1] - value[0]) / 20)[:3]
        common |= {"continuous_update": False, "layout": {"width": "420px"}}
        return kind(min=low, max=high, step=step, **start, **common)
    options = value if isinstance(value, Mapping) else list(value)
    return ipywidgets.Dropdown(options=options, **start, **common)


def _outputs_of(function: Callable[..., None], arguments: dict[str, Any]) -> tuple[dict, ...]:
    """What the call prints, displays and draws, as notebook outputs. An exception becomes a line of text."""
    import matplotlib.pyplot as plt
    from IPython.utils.capture import capture_output

    before = plt.get_fignums()
    with capture_output() as captured:
        try:
            function(**arguments)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    pictures = [{"image/png": _png(number)} for number in plt.get_fignums() if number not in before]
    outputs = [
        {"output_type": "display_data", "data": data, "metadata": {}}
        for data in [*(_encoded(output.data) for output in captured.outputs), *pictures]
    ]
    if captured.stdout:
        outputs.insert(0, {"output_type": "stream", "name": "stdout", "text": captured.stdout})
    return tuple(outputs)


def _png(number: int) -> str:
    """An open figure as base64; it is closed."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    plt.figure(number).savefig(buffer, format="png", bbox_inches="tight")
    plt.close(number)
    return base64.b64encode(buffer.getvalue()).decode()


def _encoded(data: dict[str, Any]) -> dict[str, Any]:
    return {
        mime: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for mime, value in data.items()
    }


def _static(outputs: Sequence[dict]) -> dict[str, Any]:
    """One display for a reader without a kernel: the text, and the first picture."""
    text = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    bundle = {"text/plain": text.strip() or "(a picture)"}
    return {**bundle, "image/png": pictures[0]} if pictures else bundle


def sampling(
    model: Any,
    tokenizer: Any,
    prompt: str = "The capital of France is",
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> None:
    """Print a sampled continuation, and draw the ten most probable next tokens under the sampling rules."""
    import torch

    from course_utils import plots
    from course_utils.generation import filter_logits, generate

    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    text = generate(model, tokenizer, [prompt], max_new_tokens=max_new_tokens, seed=seed, **settings)[0]
    print(f"{prompt}[{text}]")
    ids = torch.tensor([tokenizer(prompt)["input_ids"]], device=model.device)
    with torch.no_grad():
        logits = model(ids).logits[:, -1].float()
    if temperature == 0:
        probabilities = torch.nn.functional.one_hot(logits[0].argmax(), logits.shape[-1]).float()
    else:
        probabilities = filter_logits(logits, temperature, top_k, top_p)[0].softmax(-1)
    best = probabilities.topk(10)
    left = int((probabilities > 0).sum())
    tokens = [tokenizer.decode([token]) for token in best.indices.tolist()]
    plots.bars(
        dict(zip(tokens, best.values.tolist(), strict=True)),
        f"{left:,} token{'s' if left > 1 else ''} can come next; the ten most probable",
        "probability",
    )


def sampling_playground(model: Any, tokenizer: Any, prompt: str = "The capital of France is") -> None:
    """Controls for `sampling`: prompt, temperature, top-k, top-p, seed."""

    def show(
        prompt: str, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0
    ) -> None:
        sampling(model, tokenizer, prompt, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)

    control(
        show, prompt=prompt, temperature=(0.0, 2.0, 0.1), top_k=(0, 50), top_p=(0.05, 1.0, 0.05), seed=(0, 20)
    )


def learning_rates(rows: Sequence[Mapping[str, float]], lr: float) -> None:
    """Draw target loss and forgetting over the learning rate, mark one rate and print its values.

    rows: {"lr", "target_loss", "forgetting"} each, in nats a token; the mean is taken over rows of one lr.
    """
    from course_utils import plots

    rates = sorted({row["lr"] for row in rows})
    means = {
        name: [
            sum(values) / len(values)
            for rate in rates
            if (values := [row[name] for row in rows if row["lr"] == rate])
        ]
        for name in ("target_loss", "forgetting")
    }
    best = rates[means["target_loss"].index(min(means["target_loss"]))]
    _, axes = plots.figure("Too low learns little; too high forgets", "learning rate", "", columns=2)
    for ax, (name, values), label in zip(
        axes, means.items(), ("loss on the task", "forgetting"), strict=True
    ):
        plots.lines({name: (rates, values)}, "", "", "", logx=True, ax=ax)
        ax.set_ylabel(f"{label} (nats a token)")
        ax.axvline(lr, color=plots.COLOURS[1], linestyle="--")
        ax.plot([lr], [values[rates.index(lr)]], "o", color=plots.COLOURS[1])
    index = rates.index(lr)
    print(
        f"learning rate {lr:g}: loss on the task {means['target_loss'][index]:.3f}, forgetting "
        f"{means['forgetting'][index]:+.3f}; lowest loss on the task at {best:g}"
    )


def learning_rate_picker(rows: Sequence[Mapping[str, float]], lr: float) -> None:
    """A choice of the learning rates in `rows`, starting at lr, over `learning_rates`."""
    rates = sorted({row["lr"] for row in rows})

    def show(learning_rate: float = lr) -> None:
        learning_rates(rows, learning_rate)

    control(show, learning_rate={f"{rate:g}": rate for rate in rates})


def loss_of_text(models: Mapping[str, Any], tokenizer: Any, text: str, model: str) -> None:
    """Print a text's loss and perplexity under one of the models; draw it by loss, and what may follow.

    Raises ValueError where the text has no next token to predict, or more tokens than the model reads.
    """
    import torch

    from course_utils import plots
    from course_utils.data import check_length, encode
    from course_utils.training import token_losses

    ids = encode(tokenizer, text)
    if len(ids) < 2:
        raise ValueError("a loss needs two tokens or more: the first one is predicted by none")
    check_length(ids, tokenizer, text)
    batch = torch.tensor([ids], device=models[model].device)  # (1, tokens)
    with torch.no_grad():
        logits = models[model](batch).logits  # (1, tokens, vocabulary)
    losses = token_losses(logits, batch)[0].tolist()
    mean = sum(losses) / len(losses)
    tokens = [_text_of(tokenizer, token) for token in ids]
    worst = max(range(len(losses)), key=losses.__getitem__)
    expected = _text_of(tokenizer, int(logits[0, worst].argmax()))
    print(
        f"{len(ids)} tokens, {len(losses)} predicted: mean loss {mean:.2f} nats, perplexity "
        f"{math.exp(mean):.1f}. Least expected: {tokens[worst + 1]!r}, where {expected!r} was likeliest."
    )
    probabilities = logits[0, -1].float().softmax(-1)
    best = probabilities.topk(6)
    fig, (above, below) = plots.plt.subplots(2, 1, figsize=(6.4, 4.2), height_ratios=[1.2, 1])
    fig.suptitle(
        "Loss of every token in nats, and what the model expects next", x=0.01, ha="left", fontsize=11
    )
    plots.coloured_text(tokens, [None, *losses], "", ax=above, width=60)
    following = [_text_of(tokenizer, token) for token in best.indices.tolist()]
    plots.bars(dict(zip(following, best.values.tolist(), strict=True)), "", "", ax=below)
    below.set(xlabel="probability of the next token", xlim=(0, 1.1))


def _text_of(tokenizer: Any, token: int) -> str:
    """The token's text, or its number where it is a part of a character only."""
    text = tokenizer.decode([token])
    return f"<{token}>" if "\ufffd" in text else text


def loss_explorer(models: Mapping[str, Any], tokenizer: Any, text: str) -> None:
    """A text field and a choice of the models over `loss_of_text`."""

    def show(text: str, model: str = next(iter(models))) -> None:
        loss_of_text(models, tokenizer, text, model)

    control(show, text=text, model=list(models))


def gaussian_policies(distance: float = 1.0, width: float = 1.0, samples: int = 100, seed: int = 0) -> None:
    """A policy N(distance, width) and its reference N(0, 1): the KL in closed form, and estimates of it.

    Draws both densities with the policy's samples, and the estimates with two standard errors.
    """
    import torch

    from course_utils import kl, plots

    exact, reverse = _gaussian_kl(distance, width)
    policy, reference = torch.distributions.Normal(distance, width), torch.distributions.Normal(0.0, 1.0)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    drawn = distance + width * noise  # (samples,)
    log_probs = policy.log_prob(drawn), reference.log_prob(drawn)
    values = {name: estimator(*log_probs) for name, estimator in kl.ESTIMATORS.items()}
    negative = int((values["k1"] < 0).sum())
    print(f"KL(policy || reference) {exact:.3f} nats, KL(reference || policy) {reverse:.3f}")
    print(
        f"{negative} of {samples} samples have a negative k1; the mean of k3 is "
        f"{values['k3'].mean():.3f}, its standard deviation on paper {_std_of_k3(distance, width):.3g}"
    )
    _, (left, right) = plots.figure(
        "Two policies, and what samples of the one say of their distance", "", "", columns=2
    )
    x = torch.linspace(min(-3.5, distance - 3.5 * width), max(3.5, distance + 3.5 * width), 400)
    for name, density, colour in (("policy", policy, 0), ("reference", reference, 6)):
        left.plot(x, density.log_prob(x).exp(), color=plots.COLOURS[colour], label=name)
    for name, chosen, colour in (("k1 > 0", values["k1"] >= 0, 0), ("k1 < 0", values["k1"] < 0, 1)):
        points = drawn[chosen]
        left.plot(points, torch.full_like(points, -0.02), "|", color=plots.COLOURS[colour], label=name)
    left.set(xlabel="x", ylabel="density")
    left.legend()
    for row, sample in enumerate(values.values()):
        right.errorbar(
            [sample.mean()],
            [row],
            xerr=[2 * sample.std() / samples**0.5],
            fmt="o",
            capsize=3,
            color=plots.COLOURS[0],
        )
    right.axvline(exact, color="black", linestyle="--", linewidth=1)
    right.set_yticks(range(len(values)), list(values))
    right.invert_yaxis()
    right.set(xlabel="estimate (nats), two standard errors; dashed: exact")


def _std_of_k3(distance: float, width: float) -> float:
    """Standard deviation of k3 over samples of N(distance, width), N(0, 1) being the reference."""
    if 2 * width**2 <= 1:
        return math.inf  # so is the mean square of the ratio: the policy's tails are too thin
    exact, reverse = _gaussian_kl(distance, width)
    ratio = width**2 / math.sqrt(2 * width**2 - 1) * math.exp(distance**2 / (2 * width**2 - 1)) - 1
    log_ratio = (distance * width) ** 2 + (1 - width**2) ** 2 / 2
    return math.sqrt(max(0.0, ratio + log_ratio - 2 * (exact + reverse)))


def _gaussian_kl(distance: float, width: float) -> tuple[float, float]:
    """KL of N(distance, width) from N(0, 1), and the other way round, in nats."""
    return (
        math.log(1 / width) + (width**2 + distance**2 - 1) / 2,
        math.log(width) + ((1 + distance**2) / width**2 - 1) / 2,
    )


def kl_explorer() -> None:
    """Sliders over `gaussian_policies`: the policy's distance and width, the number of samples, the seed."""

    def show(distance: float = 1.0, width: float = 1.0, samples: int = 100, seed: int = 0) -> None:
        gaussian_policies(distance, width, samples, seed)

    control(
        show, distance=(0.0, 4.0, 0.1), width=(0.3, 2.0, 0.1), samples=[10, 100, 1000, 10_000], seed=(0, 20)
    )


def chat_box(model: Any, tokenizer: Any, questions: Sequence[str] = (), system: str | None = None) -> None:
    """A chat: answers appear as they are made, and the model reads the conversation so far.

    The questions are asked at once; their answers are what a reader without a kernel sees. A new system line
    starts a new conversation.
    """
    import ipywidgets
    from IPython.display import publish_display_data

    from course_utils.chat import chat
    from course_utils.chatml import SYSTEM

    messages: list[dict] = []
    turns = ipywidgets.HTML()
    wide = {"description_width": "90px"}
    line = ipywidgets.Text(
        system or SYSTEM, description="system", continuous_update=False, style=wide, layout={"width": "640px"}
    )
    field = ipywidgets.Text(
        description="you",
        placeholder="a question, then Enter",
        continuous_update=False,
        style=wide,
        layout={"width": "640px"},
    )
    heat = ipywidgets.FloatSlider(0.0, min=0.0, max=1.5, step=0.1, description="temperature", style=wide)
    send, new = (ipywidgets.Button(description=name) for name in ("Send", "New conversation"))

    def restart(*_: Any) -> None:
        messages[:] = [{"role": "system", "content": line.value.strip() or SYSTEM}]
        turns.value = ""

    def ask(*_: Any) -> None:
        text, field.value = field.value.strip(), ""
        if not text:
            return
        answer = ""
        turns.value = _chat_html([*messages, {"role": "user", "content": text}])
        try:
            for piece in chat(model, tokenizer, messages, text, temperature=heat.value, seed=len(messages)):
                answer += piece
                turns.value = _chat_html(
                    [*messages, {"role": "user", "content": text}, {"role": "assistant", "content": answer}]
                )
            turns.value = _chat_html(messages)
        except ValueError as error:
            turns.value = _chat_html([*messages, {"role": "error", "content": str(error)}])

    line.observe(restart, names="value")
    field.observe(ask, names="value")
    send.on_click(ask)
    new.on_click(restart)
    restart()
    for question in questions:
        field.value = question
    box = ipywidgets.VBox([line, turns, field, ipywidgets.HBox([heat, send, new])])
    said = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
    publish_display_data({"text/plain": said, WIDGET: box._repr_mimebundle_()[WIDGET]})


def _chat_html(messages: Sequence[Mapping[str, str]]) -> str:
    """The turns after the system line, one block each; contents are text, not markup."""
    from html import escape

    blocks = [
        f'<div class="course-{message["role"]}" style="margin: 4px 0; white-space: pre-wrap; '
        f'max-width: 720px"><b>{message["role"]}</b> {escape(message["content"])}</div>'
        for message in messages
        if message["role"] != "system"
    ]
    return f'<div class="course-chat" style="line-height: 1.4">{"".join(blocks)}</div>'


def conversation_loss(model: Any, tokenizer: Any, conversation: str) -> None:
    """Print how many tokens of a typed conversation carry loss, and draw all, coloured by the model's loss.

    Each turn begins with "system:", "user:" or "assistant:" at the start of a line. ValueError otherwise.
    """
    import torch

    from course_utils import plots
    from course_utils.chatml import encode_conversation
    from course_utils.data import IGNORE
    from course_utils.training import token_losses

    example = encode_conversation(tokenizer, typed_messages(conversation))
    ids, labels = torch.tensor([example.input_ids]), torch.tensor([example.labels])  # (1, tokens)
    with torch.no_grad():
        logits = model(ids.to(model.device)).logits
    losses = [0.0, *token_losses(logits, labels.to(model.device))[0].tolist()]
    shown = [loss if label != IGNORE else None for loss, label in zip(losses, example.labels, strict=True)]
    scored = [loss for loss in shown if loss is not None]
    print(f"{len(shown)} tokens, {len(scored)} carry loss: mean {sum(scored) / len(scored):.2f} nats")
    plots.coloured_text(
        [_text_of(tokenizer, token) for token in example.input_ids],
        shown,
        "Only the assistant's words and their end marker carry loss (nats)",
    )


def typed_messages(conversation: str) -> list[dict[str, str]]:
    """Messages of text in which each turn begins with a role and a colon at the start of a line."""
    messages: list[dict[str, str]] = []
    for line in conversation.strip().splitlines():
        role, colon, rest = line.partition(":")
        if colon and role.strip().lower() in ("system", "user", "assistant"):
            messages.append({"role": role.strip().lower(), "content": rest.strip()})
        elif messages:
            messages[-1]["content"] += f"\n{line}"
        else:
            raise ValueError('begin every turn with "system:", "user:" or "assistant:"')
    return messages


def conversation_painter(model: Any, tokenizer: Any, conversation: str) -> None:
    """A text area over `conversation_loss`."""
    import ipywidgets

    def show(conversation: str) -> None:
        conversation_loss(model, tokenizer, conversation)

    layout = {"width": "640px", "height": "110px"}
    area = ipywidgets.Textarea(value=conversation, continuous_update=False, layout=layout)
    control(show, conversation=area)


def memory_plan(
    model: str = "Llama-3.1-8B",
    method: str = "qlora",
    batch_size: int = 4,
    tokens: int = 1024,
    card: str = "RTX 4090",
    price: float = 1.0,
    checkpointing: bool = True,
) -> None:
    """Print whether training fits a card, the largest batch that does, and time and cost; draw the parts.

    price is that of an hour of the card; time and cost are for three epochs of 10,000 examples.
    """
    from course_utils import plots
    from course_utils.calculator import plan
    from course_utils.memory import GIB

    found = plan(model, method, batch_size, tokens, card, price, checkpointing=checkpointing)
    need = found.need
    verdict = "fits" if found.fits else "does not fit"
    print(
        f"{model}, {need.parameters:,} parameters, {need.trainable:,} trained: {verdict}. "
        f"{found.used_bytes / GIB:.1f} of {found.card_bytes / GIB:.0f} GiB; largest batch "
        f"{found.largest_batch or 'none'}"
    )
    print(f"3 epochs of 10,000 examples: about {found.hours:.1f} hours, cost {found.cost:,.2f}")
    fig, ax = plots.figure(f"{model} with {method}: {verdict} on {card}", "memory (GiB)", "")
    fig.set_figheight(2.4)
    parts = {
        "weights": need.weights,
        "gradients": need.gradients,
        "moments": need.moments,
        "activations and working space": need.step,
    }
    parts["driver and fragments (assumed)"] = found.used_bytes - need.total
    left = 0.0
    for (name, size), colour in zip(parts.items(), plots.COLOURS, strict=False):
        ax.barh([0], [size / GIB], left=left, color=colour, label=name, height=0.5)
        left += size / GIB
    ax.axvline(found.card_bytes / GIB, color="black", linestyle="--", label=card)
    ax.set(yticks=[], ylim=(-0.5, 1.6), xlim=(0, 1.08 * max(left, found.card_bytes / GIB)))
    ax.legend(ncols=2, loc="upper left", fontsize=8)


def memory_calculator() -> None:
    """Controls for `memory_plan`: model, method, batch, length, card or machine, price and checkpointing."""
    from course_utils.calculator import cards_here
    from course_utils.memory import KNOWN_MODELS, METHODS

    control(
        memory_plan,
        model=list(KNOWN_MODELS),
        method=list(METHODS),
        batch_size=[1, 2, 4, 8, 16, 32],
        tokens=[256, 512, 1024],
        card=cards_here(),
        price=(0.0, 10.0, 0.25),
        checkpointing=True,
    )
