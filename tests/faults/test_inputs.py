"""Broken files of every kind, through every reader: each is rejected by name, or read as it was.

A trial is bad if the error is not of the kind that the reader promises or names no file, or if a damaged file
is read as something else.
"""

import bz2
import gzip
import json
import lzma
import os
import random
from pathlib import Path

import pytest
import torch
from faults.table import many
from helpers import CONTEXT, tiny_gpt2, tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file

from course_utils import data
from course_utils.chatml import add_chat_tokens
from course_utils.data import DATA, Example, batches
from course_utils.making.checksums import data_sums
from course_utils.methods import lora, lora_files, quantization, reward
from course_utils.model_files import ModelError, write_checksums
from course_utils.models import load_model, save_model
from course_utils.own.own_data import read_conversations, read_preferences, token_counts
from course_utils.own.own_run import files_of, read_files
from course_utils.own.remarks import remarks
from course_utils.preferences import load_preferences
from course_utils.training import train

pytestmark = pytest.mark.slow

ROW = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]}
PAIR = {"prompt": "Who?", "chosen": "Me.", "rejected": "I."}


# --------------------------------------------------------------------------- what is done to a file


def truncated(content, rng):
    return content[: rng.randrange(len(content))]


def flipped(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def zeros(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes(min(512, len(content) - place)) + content[place + 512 :]


def noise(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + rng.randbytes(64) + content[place + 64 :]


def doubled(content, rng):
    return content + content[rng.randrange(len(content)) :]


def empty(content, rng):
    return b""


def packed(content, rng):
    return gzip.compress(content, mtime=0)


DAMAGE = [truncated, flipped, zeros, noise, doubled, empty, packed]


def recoded(encoding):
    def change(content, rng):
        return content.decode().encode(encoding)

    return change


def line_of(text):
    """Insert a line among the others."""

    def change(content, rng):
        lines = content.split(b"\n")
        lines.insert(rng.randrange(2), text)
        return b"\n".join(lines)

    return change


TEXT_DAMAGE = [
    *DAMAGE,
    *map(recoded, ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")),
    *map(
        line_of,
        (
            b'{"messages": ' + b"9" * 5000 + b"}",
            b"[" * 200_000,
            b'{"a":' * 50_000,
            b"\xff\xfe\xfd",
            b'{"messages": "\\ud83d"}',
            b"null",
            b"[]",
            b"{}",
            b'{"messages": [{"role": "user", "content": "' + b"a " * 600_000 + b'"}]}',
            b'{"messages": {}, "prompt": [], "chosen": {}, "rejected": 3}',
        ),
    ),
]


def trials(kinds, count, seed):
    """(name, damage, its generator) in turn over the kinds."""
    for number in range(count):
        change = kinds[number % len(kinds)]
        yield f"{change.__name__} {number}", change, random.Random(1000 * seed + number)


def refused(read, path, error, same=None):
    """ "" if read() raises `error` naming the path, or returns the original by `same`."""
    try:
        value = read()
    except error as fault:
        return "" if str(path) in str(fault) else f"names no file: {str(fault)[:200]}"
    except Exception as fault:
        return f"{type(fault).__name__}: {str(fault)[:200]}"
    return "" if same is None or same(value) else "was read as something else"


# ------------------------------------------------------------------------------------------ readers


@pytest.mark.parametrize(
    "name, row, read", [("my.jsonl", ROW, read_conversations), ("pairs.jsonl", PAIR, read_preferences)]
)
def test_own_data(tmp_path, tabulate, name, row, read):
    whole = "".join(json.dumps(row) + "\n" for _ in range(20)).encode()
    path, faults = tmp_path / name, []
    for kind, change, rng in trials(TEXT_DAMAGE, many(46, 230), seed=1):
        path.write_bytes(change(whole, rng))
        fault = refused(lambda: read(path), path, ValueError)
        faults.append(fault and f"{kind}: {fault}")
    tabulate(f"own data, {read.__name__}", faults)


def test_own_tables(tmp_path, tabulate):
    whole = b"question,answer\n" + b'"Who, then?","Me, or ""I"""\n' * 20
    path, faults = tmp_path / "my.csv", []
    special = [
        b"question,answer\rWho?,Me.\rWhy?,So.",
        b"question,answer,answer\nWho?,Me.,I.",
        b"question,answer\nWho?," + b"a" * 140_000,
        b'question,answer\n"Who?,Me.',
        b"question\nWho?",
        b"q" * 200_000,
        b"\n\n",
        b"question,answer\nWho?\rWhen?,Me.",
        b'question,answer\n"a"b,c',
    ]
    for kind, change, rng in trials([*DAMAGE, *TEXT_DAMAGE[7:13]], many(26, 130), seed=2):
        path.write_bytes(change(whole, rng))
        fault = refused(lambda: read_conversations(path), path, ValueError)
        faults.append(fault and f"{kind}: {fault}")
    for content in special:
        path.write_bytes(content)
        fault = refused(lambda: read_conversations(path), path, ValueError)
        faults.append(fault and f"{content[:30]!r}: {fault}")
    tabulate("own data, tables", faults)


FORMATS = {  # of other programs: the first bytes, and the message's advice
    "parquet": (b"PAR1\x15\x04", "pandas.read_parquet"),
    "xlsx": (b"PK\x03\x04\x14\0\x06\0", "save the table as CSV"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save the table as CSV"),
    "pdf": (b"%PDF-1.7\n", "as a table, in CSV"),
    "gz": (gzip.compress(b"{}", mtime=0), "unpack it first"),
    "bz2": (bz2.compress(b"{}"), "unpack it first"),
    "xz": (lzma.compress(b"{}"), "unpack it first"),
    "zst": (b"\x28\xb5\x2f\xfd\x24\0", "unpack it first"),
}


@pytest.mark.night
def test_own_data_in_formats_of_others(tmp_path, tabulate):
    faults, rng = [], random.Random(8)
    for name, (head, advice) in FORMATS.items():
        for ending in (name, f"jsonl.{name}", "jsonl", "csv"):
            path = tmp_path / f"my.{ending}"
            for read in (read_conversations, read_preferences):
                path.write_bytes(head + rng.randbytes(rng.randrange(600)))
                fault = refused(lambda r=read, p=path: r(p), path, ValueError, lambda _: False)
                faults.append(fault or (advice not in told(read, path) and f"{path.name}: no advice"))
    tabulate("own data, formats of others", faults)


def told(read, path):
    try:
        read(path)
    except ValueError as fault:
        return str(fault)


def odd_value(rng, depth=0):
    """A JSON value that no chat has."""
    kind = rng.randrange(4 if depth < 3 else 2)
    if kind == 0:
        return rng.choice(["a", "", " ", "x\ud800", "<|im_end|>", "{", '{"x": "\\ud83d"}', "NaN"])
    if kind == 1:
        return rng.choice([0, 7, 1.5, None, True, 10**40])
    inside = [odd_value(rng, depth + 1) for _ in range(rng.randrange(3))]
    names = rng.sample(["role", "content", "type", "text", "function", "name", "arguments"], len(inside))
    return inside if kind == 2 else dict(zip(names, inside, strict=True))


def odd_message(rng):
    """A message, a tool call or its result, usually with something odd in it."""
    if rng.random() < 0.1:
        return odd_value(rng)
    message = {"role": rng.choice(["user", "assistant", "tool", "function", "developer", odd_value(rng)])}
    message["content"] = rng.choice(["Who?", None, [{"type": "text", "text": "a"}], odd_value(rng)])
    if rng.random() < 0.4:
        arguments = rng.choice(['{"x": 1}', '{"x": "\\ud83d"}', odd_value(rng)])
        function = {"name": rng.choice(["find", odd_value(rng)]), "arguments": arguments}
        message["tool_calls"] = rng.choice([[{"function": function}], odd_value(rng)])
    return message


@pytest.mark.night
def test_own_data_of_odd_chats(tmp_path, tabulate, tokenizer):
    """What is read can be counted, inspected and written as UTF-8; the rest is rejected."""
    add_chat_tokens(tiny_model(vocab_size=len(tokenizer)), tokenizer)
    path, faults, rng = tmp_path / "my.jsonl", [], random.Random(9)
    called = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}

    def use():
        for row in read_conversations(path):
            token_counts(tokenizer, row.messages)
            remarks([row])
            json.dumps(row.messages, ensure_ascii=False).encode()

    for _ in range(many(400, 8000)):
        begun = ROW["messages"][:1] + rng.choice([[called], [called, {"role": "tool", "content": "4"}], []])
        messages = begun + [odd_message(rng) for _ in range(rng.randrange(3))]
        path.write_text(json.dumps({"messages": messages + ROW["messages"][1:] * rng.randrange(2)}))
        faults.append(refused(use, path, ValueError))
    tabulate("own data, odd chats", faults)


ODD_NAMES = [
    5,
    True,
    1.5,
    ["a.jsonl"],
    "x" * 249 + ".jsonl",
    "é" * 200,
    "a/" * 3000 + "a.jsonl",
    "~no-such-user/a.jsonl",
]
ODD_NAMES += [
    "\0",
    " ",
    ".",
    "/",
    os.devnull,
    "NUL",
    "$(touch pwned)",
    "a\nb.jsonl",
    "-x.jsonl",
    "http://a.b/c.jsonl",
]


@pytest.mark.parametrize("name", ["DATA", "PAIRS", "METHOD", "OUT"])
def test_odd_values_of_a_runs_parameters(tmp_path, tabulate, monkeypatch, name):
    """Rejected before any data is read, by the parameter's name; valid names are accepted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW))
    faults = []
    for value in ODD_NAMES:
        named = {"DATA": "a.jsonl", "PAIRS": "", "METHOD": "lora", "OUT": "", name: value}

        def use(named=named):
            read_files(files_of(*named.values()))

        word = name if name in ("METHOD", "OUT") or not isinstance(value, str) else str(Path(value))
        fault = refused(use, word, (ValueError, FileNotFoundError), lambda _: name == "OUT")
        faults.append(fault and f"{str(value)[:40]!r}: {fault[:300]}")
        if list(tmp_path.iterdir()) != [tmp_path / "a.jsonl"]:
            faults[-1] = f"{value!r}: something was written"
    tabulate(f"own data, odd values of {name}", faults)


@pytest.mark.night
def test_own_data_that_is_no_file(tmp_path, tabulate):
    (tmp_path / "a.jsonl").mkdir()
    if os.name == "posix":
        os.mkfifo(tmp_path / "b.jsonl")
        (tmp_path / "c.jsonl").symlink_to(tmp_path / "nothing")
        (tmp_path / "d.jsonl").symlink_to("/dev/null")
    (tmp_path / "e.gz").write_bytes(gzip.compress(b"{}"))
    paths = [*tmp_path.iterdir(), tmp_path / "none.jsonl"]
    errors = (ValueError, FileNotFoundError)
    tabulate(
        "own data, no file",
        [
            refused(lambda r=r, p=p: r(p), p, errors)
            for p in paths
            for r in (read_conversations, read_preferences)
        ],
    )


SHIPPED = {
    "facts.jsonl": data.load_facts,
    "questions/tune.jsonl": lambda: data.load_questions("tune"),
    "conversations/train.jsonl": data.load_conversations,
    "conversations/story_prompts.jsonl": data.load_story_prompts,
    "source/held_out.jsonl": data.load_source_texts,
    "preferences/train.jsonl": None,
}


@pytest.mark.night
def test_shipped_data(tmp_path, tabulate, monkeypatch):
    """Every damage is rejected: to the first lines of each file, with their own checksums."""
    names, faults = list(SHIPPED), []
    kept = [DATA / "preferences" / f"{name}.jsonl" for name in ("held_out", "controlled")]
    for path in [*(DATA / name for name in names), *kept]:
        target = tmp_path / path.relative_to(DATA)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:40]))
    (tmp_path / "checksums.json").write_text(json.dumps(data_sums(tmp_path)))
    monkeypatch.setattr(data, "DATA", tmp_path)
    monkeypatch.setattr(data, "DATA_SUMS", tmp_path / "checksums.json")
    for number, (kind, change, rng) in enumerate(trials(TEXT_DAMAGE, many(48, 480), seed=3)):
        path = tmp_path / names[number % len(names)]
        read = SHIPPED[names[number % len(names)]] or (lambda: load_preferences(tmp_path / "preferences"))
        whole = path.read_bytes()
        read()
        path.write_bytes(change(whole, rng))
        fault = refused(read, path, ValueError, lambda _, path=path, whole=whole: path.read_bytes() == whole)
        faults.append(fault and f"{path}, {kind}: {fault}")
        path.write_bytes(whole)
    tabulate("shipped data", faults)


def example_batches():
    return batches([Example([1, 2, 3, 4], [-100, 2, 3, 4])] * 4, 2, 0, 0)


def same_weights(model, expected):
    return all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.night
def test_checkpoints(tmp_path, tabulate):
    path = tmp_path / "run.pt"
    model = tiny_gpt2()
    train(model, example_batches(), steps=2, lr=1e-2, checkpoint=path)
    whole, faults = path.read_bytes(), []
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    untrained = tiny_gpt2().state_dict()
    for kind, change, rng in trials(DAMAGE, many(60, 300), seed=4):
        path.write_bytes(change(whole, rng))
        fresh = tiny_gpt2()

        def resume(fresh=fresh):
            return train(fresh, example_batches(), steps=2, lr=1e-2, checkpoint=path)

        fault = refused(resume, path, ValueError, lambda _, fresh=fresh: same_weights(fresh, trained))
        if not fault and not (same_weights(fresh, trained) or same_weights(fresh, untrained)):
            fault = "the model was changed"
        faults.append(fault and f"{kind}: {fault}")
    tabulate("checkpoints", faults)


def adapter_folder(folder):
    model = lora.apply_lora(tiny_gpt2(), 4, 8.0, ["c_attn"])
    for layer in lora.lora_layers(model).values():
        torch.nn.init.normal_(layer.lora_B)
    return lora_files.save_adapter(model, folder)


def same_adapter(expected):
    def same(adapter):
        one, other = vars(adapter) | {"tensors": 0}, vars(expected) | {"tensors": 0}
        one["base"] = other["base"] = None  # a name only for messages
        pairs = zip(adapter.tensors.values(), expected.tensors.values(), strict=True)
        return (
            one == other
            and adapter.tensors.keys() == expected.tensors.keys()
            and all(torch.equal(x, y) for one, other in pairs for x, y in zip(one, other, strict=True))
        )

    return same


@pytest.mark.night
def test_adapters(tmp_path, tabulate):
    folder = adapter_folder(tmp_path)
    contents = {file.name: file.read_bytes() for file in folder.iterdir()}
    same, faults = same_adapter(lora_files.read_adapter(folder)), []
    for number, (kind, change, rng) in enumerate(trials(DAMAGE, many(60, 300), seed=5)):
        name = sorted(contents)[number // len(DAMAGE) % 2]
        for file, content in contents.items():
            (folder / file).write_bytes(change(content, rng) if file == name else content)
        fault = refused(
            lambda: lora_files.load_adapter(tiny_gpt2(), folder) and lora_files.read_adapter(folder),
            folder,
            ValueError,
            same,
        )
        faults.append(fault and f"{name}, {kind}: {fault}")
    tabulate("adapters, damaged", faults)


@pytest.mark.night
def test_settings_of_adapters(tmp_path, tabulate):
    folder = adapter_folder(tmp_path)
    file, config = folder / "adapter_config.json", json.loads((folder / "adapter_config.json").read_text())
    odd = [None, 0, -1, 3, 2.5, "x", True, [], {}, ["x"], {"x": 1}, 1e308, "pissa", [[0, 1]]]
    names = ["r", "lora_alpha", "use_rslora", "target_modules", "peft_type", "bias", "init_lora_weights"]
    names += [
        "layers_to_transform",
        "rank_pattern",
        "modules_to_save",
        "use_dora",
        "alora_invocation_tokens",
        "new",
    ]
    same, faults = same_adapter(lora_files.read_adapter(folder)), []
    for name in names:
        for value in odd:
            file.write_text(json.dumps(config | {name: value}))
            fault = refused(lambda: lora_files.read_adapter(folder), folder, ValueError, same)
            faults.append(fault and f"{name}={value!r}: {fault}")
    tabulate("adapters, odd settings", faults)


@pytest.mark.night
def test_models(tmp_path, tabulate, tokenizer):
    model = tiny_model(vocab_size=len(tokenizer))
    save_model(model, tokenizer, tmp_path)
    contents = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    faults = []
    kinds = [
        kind for kind in DAMAGE if kind is not flipped
    ]  # others' folders have no checksums to detect one bit
    for number, (kind, change, rng) in enumerate(trials(kinds, many(36, 180), seed=6)):
        name = names[number // len(kinds) % 3]
        for file, content in contents.items():
            (tmp_path / file).write_bytes(change(content, rng) if file == name else content)
        fault = refused(
            lambda: load_model(str(tmp_path)),
            tmp_path,
            ModelError,
            lambda loaded: loaded[0].config.n_layer == 2 and len(loaded[1]) == len(tokenizer),
        )
        faults.append(fault and f"{name}, {kind}: {fault}")
    tabulate("models, damaged", faults)


def same_state(loaded, expected):
    state = loaded.state_dict()
    return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)


def reward_folder(folder):
    save = reward.save_reward_model(reward.from_language_model(tiny_model()), tiny_tokenizer(), folder)
    return save, lambda: reward.load_reward_model(save)[0]


def quantized_folder(folder):
    save = quantization.save_quantized(quantization.quantize_model(tiny_gpt2()), folder)
    return save, lambda: quantization.load_quantized(save)


@pytest.mark.night
@pytest.mark.parametrize("kind, make", [("reward", reward_folder), ("quantised", quantized_folder)])
def test_reward_and_quantised_models(tmp_path, tabulate, kind, make):
    """Every damage, even a flipped bit, is rejected; a torn file even with its own checksum."""
    folder, load = make(tmp_path)
    contents = {file.name: file.read_bytes() for file in folder.iterdir()}
    names = [name for name in sorted(contents) if name != "tokenizer_config.json"]
    expected, faults = load().state_dict(), []
    for number, (damage, change, rng) in enumerate(trials(DAMAGE, many(70, 350), seed=7)):
        name = names[number // len(DAMAGE) % len(names)]
        signed = number % 2 == 1 and change in (truncated, doubled, empty, packed)
        for file, content in contents.items():
            (folder / file).write_bytes(change(content, rng) if file == name else content)
        if signed and name != "checksums.json":
            write_checksums(folder)
        fault = refused(load, folder, ModelError, lambda loaded: same_state(loaded, expected))
        faults.append(fault and f"{name}, {damage}, {'signed' if signed else 'not signed'}: {fault}")
    tabulate(f"{kind} models, damaged", faults)


@pytest.mark.night
@pytest.mark.parametrize("kind, make", [("reward", reward_folder), ("quantised", quantized_folder)])
def test_tensors_of_reward_and_quantised_models(tmp_path, tabulate, kind, make):
    """Whole files with other tensors: of other sizes or types, not finite, missing, one more."""
    folder, load = make(tmp_path)
    faults = []
    for file in sorted(folder.glob("*.safetensors")):
        whole = load_file(file)
        for number, (name, tensor) in enumerate(sorted(whole.items())[:: many(5, 1)]):
            spoilt = [
                {name: torch.zeros(tensor.numel() + 3, dtype=tensor.dtype)},
                {name: torch.empty(0, dtype=tensor.dtype)},
                {"new": torch.zeros(2)},
            ]
            if tensor.is_floating_point():
                values = tensor.clone()
                values.view(-1)[number % tensor.numel()] = (torch.nan, torch.inf)[number % 2]
                spoilt.append({name: values})
            for tensors in [*({**whole, **other} for other in spoilt), whole.keys() - {name}]:
                if isinstance(tensors, set):
                    tensors = {key: whole[key] for key in tensors}
                save_file(tensors, file, {"format": "pt"})
                write_checksums(folder)
                fault = refused(load, folder, ModelError, lambda _: False)
                faults.append(fault and f"{file.name}, {name}: {fault}")
        save_file(whole, file, {"format": "pt"})
    tabulate(f"{kind} models, other tensors", faults)


@pytest.mark.night
def test_configurations_of_models(tmp_path, tabulate, tokenizer):
    save_model(tiny_model(vocab_size=len(tokenizer)), tokenizer, tmp_path)
    file = tmp_path / "config.json"
    config, faults = json.loads(file.read_text()), []
    odd = [0, -1, "x", 1.5, None, [], {}, 3, True, 10**6, 10**12]
    kept = {"n_positions": CONTEXT, "n_head": 2, "n_layer": 2, "n_embd": 32, "vocab_size": len(tokenizer)}
    for name in [*kept, "layer_norm_epsilon", "activation_function", "model_type", "n_inner"]:
        for value in odd:
            file.write_text(json.dumps(config | {name: value}))
            fault = refused(
                lambda: load_model(str(tmp_path)),
                tmp_path,
                ModelError,
                lambda loaded: all(getattr(loaded[0].config, key) == size for key, size in kept.items()),
            )
            faults.append(fault and f"{name}={value!r}: {fault}")
    tabulate("models, odd configurations", faults)


@pytest.mark.night
def test_values_that_are_not_finite(tmp_path, tabulate, tokenizer):
    save_model(tiny_model(vocab_size=len(tokenizer)), tokenizer, tmp_path)
    file, faults = tmp_path / "model.safetensors", []
    whole = load_file(file)
    for number, name in enumerate(sorted(whole)):
        tensors = {key: value.clone() for key, value in whole.items()}
        tensors[name].view(-1)[number % tensors[name].numel()] = (torch.nan, torch.inf)[number % 2]
        save_file(tensors, file, {"format": "pt"})
        faults.append(refused(lambda: load_model(str(tmp_path)), tmp_path, ModelError, lambda _: False))
    tabulate("models, values that are not finite", faults)
