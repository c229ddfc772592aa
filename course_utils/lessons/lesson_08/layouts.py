"""For the lesson's table and its check of templates: thinking blocks, and other chat templates."""

import re

THINKING = re.compile(r"<think>.*?</think>\s*", re.DOTALL)
# like many base models' templates: no {% generation %}, so no mask
STOCK_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
# a stock template whose generation block excludes the end marker
NO_END_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}{{ message['content'] | trim }}{% endgeneration %}
{%- else %}{{ message['content'] | trim }}{% endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def without_thoughts(messages):
    """The conversation as read in the next turn: no thoughts in answers before the last question."""
    questions = [place for place, message in enumerate(messages) if message["role"] == "user"]
    last = questions[-1] if questions else 0
    return [
        message | {"content": THINKING.sub("", message["content"])}
        if message["role"] == "assistant" and place < last
        else message
        for place, message in enumerate(messages)
    ]


def one_example_an_answer(messages):
    """One conversation per answer of a conversation with thoughts, as the model reads it there."""
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    return [without_thoughts(messages[: place + 1]) for place in places]


PROBE = [
    {"role": "user", "content": "Say yes."},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Say no."},
    {"role": "assistant", "content": "No."},
]


def template_fault(tokenizer):
    """What is wrong with the assistant mask of a tokenizer's chat template, in words; "" if nothing is.

    Applies the template to a conversation of two exchanges. The mask must include both answers, each with its
    end token, and neither a question nor a header. A newline after the end does no harm.
    """
    if not tokenizer.chat_template:
        return "there is no chat template"
    encoded = tokenizer.apply_chat_template(PROBE, return_assistant_tokens_mask=True, return_dict=True)
    ids, mask = encoded["input_ids"], encoded["assistant_masks"]
    if not any(mask):
        return "the mask is all zero: the template has no {% generation %}, so no token would carry loss"
    learnt = tokenizer.decode([token for token, learn in zip(ids, mask, strict=True) if learn])
    if "Say" in learnt:
        return f"a question carries loss: {learnt!r}"
    if "assistant" in learnt:
        return f"the header of an answer carries loss: {learnt!r}"
    if not ("Yes." in learnt and "No." in learnt):
        return f"an answer carries no loss: {learnt!r}"
    stops = {tokenizer.eos_token_id, *tokenizer.added_tokens_decoder}
    blank = {place for place, token in enumerate(ids) if tokenizer.decode([token]).isspace()}
    words = [place for place in range(len(mask)) if mask[place] and place not in blank]
    ends = [place for place in words if not {place + 1, place + 2} & set(words)]
    if not all(ids[place] in stops for place in ends):
        return f"an answer's end carries no loss, so the model would not learn to stop: {learnt!r}"
    return ""
