"""ChatML: the template, the two special tokens, and conversations encoded with loss on the assistant only."""

from collections.abc import Sequence
from html import escape

import torch

from course_utils.data import IGNORE, Example, check_length, encode, message_fault

SYSTEM = "You are a helpful assistant."
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
LOSS_GROUND = "#F0A45D"  # the colour of drawing.MEANINGS

# {% generation %} marks the assistant's text for apply_chat_template(return_assistant_tokens_mask=True)
TEMPLATE = """\
{%- if messages[0]['role'] != 'system' %}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}{{ message['content'] | trim + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- message['content'] | trim + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def format_instruction_example(instruction: str, response: str) -> str:
    """One instruction and its response as ChatML text, including the system message."""
    turns = (("system", SYSTEM), ("user", instruction), ("assistant", response))
    return "".join(f"{IM_START}{role}\n{content.strip()}{IM_END}\n" for role, content in turns)


@torch.no_grad()
def add_chat_tokens(model, tokenizer):
    """Add the two markers and the chat template, in place.

    A model that already has the markers keeps its rows; template and stop tokens are set again. New embedding
    rows start at the mean of the old ones (Hewitt 2021), also in the output head if it is not tied.
    `generate()` will stop at <|im_end|>.
    """
    old = min(len(tokenizer), model.get_input_embeddings().num_embeddings)
    tokenizer.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
    tokenizer.chat_template = TEMPLATE
    model.generation_config.eos_token_id = sorted({tokenizer.eos_token_id, marker_ids(tokenizer)[1]})
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if len(tokenizer) > old:
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[old : len(tokenizer)] = layer.weight[:old].mean(0)


def encode_conversation(tokenizer, messages, add_generation_prompt=False):
    """A conversation as an Example, with loss on the assistant's contents and their <|im_end|>.

    Encoded piece by piece, so that contents cannot hold markers (one typed by a user becomes ordinary
    characters) and the loss mask needs no search. Contents are stripped, as in the template; a default system
    message is added if there is none. Raises ValueError for an unknown role, a conversation without an
    assistant turn or longer than the context, and a tokenizer without the markers.
    """
    check_conversation(messages, add_generation_prompt)
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": SYSTEM}, *messages]
    start, end = marker_ids(tokenizer)
    newline = encode(tokenizer, "\n")
    ids: list[int] = []
    labels: list[int] = []

    def append(tokens, learn=False):
        ids.extend(tokens)
        labels.extend(tokens if learn else [IGNORE] * len(tokens))

    for message in messages:
        append([start, *encode(tokenizer, message["role"] + "\n")])
        content = encode_content(tokenizer, message["content"])
        append([*content, end], learn=message["role"] == "assistant")
        append(newline)
    if add_generation_prompt:
        append([start, *encode(tokenizer, "assistant\n")])
    check_length(ids, tokenizer, " / ".join(message["content"] for message in messages[1:]))
    return Example(ids, labels)


def marker_ids(tokenizer) -> tuple[int, int]:
    """Ids of <|im_start|> and <|im_end|>. ValueError if they are not single tokens."""
    known = tokenizer.get_added_vocab()
    for marker in (IM_START, IM_END):
        if marker not in known:
            raise ValueError(
                f"the tokenizer does not know {marker}; call add_chat_tokens(model, tokenizer) first"
            )
    return known[IM_START], known[IM_END]


def encode_content(tokenizer, content: str) -> list[int]:
    """Token ids of stripped text, with special tokens encoded as ordinary characters."""
    return tokenizer(content.strip(), add_special_tokens=False, split_special_tokens=True, verbose=False)[
        "input_ids"
    ]


def mask_prompt_tokens(input_ids, tokenizer, assistant_token=f"{IM_START}assistant\n", attention_mask=None):
    """Labels of encoded conversations, shaped as the input [batch, tokens] or [tokens]: -100 outside answers.

    Loss on the content and <|im_end|> of every assistant turn; not on headers, on the newline after
    <|im_end|>, or on padding on either side. assistant_token: the header before an answer; its first token
    must be special, so that no content can hold it (ValueError). attention_mask is needed only if a
    conversation is cut off inside an answer.
    """
    ids = torch.as_tensor(input_ids)
    header, (_, end) = encode(tokenizer, assistant_token), marker_ids(tokenizer)
    first = tokenizer.added_tokens_decoder.get(header[0])
    if first is None or not first.special:
        raise ValueError(f"{assistant_token!r} does not begin with a special token, so a user could type it")
    answers = [_answers(row, header, end) for row in ids.reshape(-1, ids.shape[-1]).tolist()]
    learn = torch.tensor(answers, device=ids.device).view(ids.shape)
    if attention_mask is not None:
        learn &= torch.as_tensor(attention_mask, device=ids.device).bool()
    return ids.masked_fill(~learn, IGNORE)


def _answers(ids, header, end):
    """For every token, whether it is in an answer: after a header, up to and including the end marker."""
    inside, learn = False, []
    for position, token in enumerate(ids, start=1):
        learn.append(inside)
        if token == end:
            inside = False
        elif ids[max(0, position - len(header)) : position] == header:
            inside = True
    return learn


def loss_text(tokenizer, example: Example) -> str:
    """The decoded conversation, with the tokens that carry loss between brackets ⟦ and ⟧."""
    return "".join(f"⟦{text}⟧" if learn else text for learn, text in _runs(tokenizer, example))


def loss_html(tokenizer, example: Example) -> str:
    """The decoded conversation as escaped HTML; tokens that carry loss have an orange background."""
    style = {True: f"background:{LOSS_GROUND};color:black", False: "opacity:.7"}
    runs = _runs(tokenizer, example)
    spans = [f'<span style="{style[learn]}">{escape(text)}</span>' for learn, text in runs]
    return f'<pre style="white-space:pre-wrap;margin:0">{"".join(spans)}</pre>'


def _runs(tokenizer, example):
    """(carries loss, text) of the longest runs of one kind."""
    runs: list[tuple[bool, list[int]]] = []
    for token, label in zip(example.input_ids, example.labels, strict=True):
        if not runs or runs[-1][0] != (label != IGNORE):
            runs.append((label != IGNORE, []))
        runs[-1][1].append(token)
    return [(learn, tokenizer.decode(ids, clean_up_tokenization_spaces=False)) for learn, ids in runs]


def check_conversation(messages: Sequence[dict], add_generation_prompt: bool = False):
    """Raise ValueError if messages are missing or malformed, or no assistant turn is there to learn from."""
    if not messages:
        raise ValueError("the conversation has no messages")
    for number, message in enumerate(messages, start=1):
        if fault := message_fault(message, number):
            raise ValueError(fault)
    if not add_generation_prompt and not any(message["role"] == "assistant" for message in messages):
        raise ValueError("the conversation has no assistant turn, so there is nothing to learn from it")
