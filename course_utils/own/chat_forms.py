"""Chats in the formats of services (developer, content parts, tool calls), as plain turns of text.

The chat format here has text and the roles system, user and assistant. What fits these is converted, with a
note; the rest is a fault. Tool calls are written as in Qwen's and Hermes' templates.
"""

import json

AS_ROLE = {"developer": "system", "tool": "user", "function": "user"}
USED = {"role", "content", "tool_calls", "function_call", "tool_call_id"}
DEVELOPER = "the role developer is read as system"
PARTS = "parts of a content are joined to one text"
CALLS = "tool calls and their results are written as text, <tool_call> and <tool_response>"
HALF = "half of a surrogate pair (such as \\ud83d alone), which is not a character"
NO_TOOLS = 'the field "tools" is left out: say in the system line which tools there are'


def plain_messages(messages: list) -> tuple[list[dict], list[str]]:
    """(messages of role and text, notes on conversions). ValueError with the message's number.

    Entries that are not messages are left as they are: data.conversation_fault reports them.
    """
    plain, notes, called, result_above = [], [], False, False
    for number, message in enumerate(messages, start=1):
        joins, result_above = result_above, False
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            plain.append(message)
            continue
        role, content = message["role"], message.get("content")
        of_tool = role in ("tool", "function")
        calls = _calls(message, number)
        if isinstance(content, list):
            content = _joined(content, number)
            notes.append(PARTS)
        if content is None and calls:
            content = ""
        if content is None and "content" not in message:
            raise ValueError(
                f'message {number} ({role}) has no "content"; its fields are {", ".join(map(repr, message))}'
            )
        if content is None:
            raise ValueError(
                f"message {number} ({role}) has no content (null); write its text or take it out"
            )
        if role == "developer":
            notes.append(DEVELOPER)
        if of_tool and not called:
            raise ValueError(f"message {number} is the result of a tool, and no call stands before it")
        if calls or of_tool:
            notes.append(CALLS)
        called = called or bool(calls)
        if calls and isinstance(content, str):
            content = "\n".join([*([content.strip()] if content.strip() else []), *calls])
        if of_tool and isinstance(content, str):
            content = f"<tool_response>\n{content.strip()}\n</tool_response>"
            result_above = True
            if joins:  # results of calls made together
                plain[-1]["content"] += f"\n{content}"
                continue
        unused = sorted(name for name, value in message.items() if name not in USED and value is not None)
        unused = [name for name in unused if name != "name" or not of_tool]
        if unused:
            notes.append(f"fields of a message are left out: {', '.join(unused)}")
        plain.append({"role": AS_ROLE.get(role, role), "content": content})
    return plain, list(dict.fromkeys(notes))


def _joined(parts, number):
    """The texts of a content's parts, joined by newlines."""
    texts = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "input_text", "output_text") or not isinstance(part.get("text"), str):
            raise ValueError(
                f"message {number} has a part of type {kind!r}; only parts of text can be trained on here"
            )
        texts.append(part["text"])
    return "\n".join(texts)


def _calls(message, number):
    """A message's tool calls as texts."""
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise ValueError(f'message {number}: "tool_calls" must be a list, got {str(calls)[:60]}')
    functions = [call.get("function") if isinstance(call, dict) else None for call in calls]
    functions += [message["function_call"]] if message.get("function_call") else []
    if functions and message["role"] != "assistant":
        raise ValueError(f"message {number} ({message['role']}) calls a tool; only the assistant can")
    return [_call(function, number) for function in functions]


def _call(function, number):
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError(f"message {number} has a tool call without a function's name")
    name, arguments = function["name"], function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            raise ValueError(f"message {number}: the arguments of the call of {name} are not JSON") from None
    if not is_text(arguments):
        raise ValueError(f"message {number}: the arguments of the call of {name} have {HALF}")
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"


def is_text(value) -> bool:
    """Whether all texts in a JSON value can be encoded as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
