"""Export: a run of lesson 17 in the formats that servers take.

The merged model as safetensors and as GGUF and, for models with nn.Linear layers, an adapter of these only.
Each format is loaded again and must answer as the run's own model does; otherwise nothing is written.
"""

import copy
import importlib.util
import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout

from course_utils.chatml import IM_END, SYSTEM
from course_utils.home import naming
from course_utils.methods.lora import (
    apply_lora,
    base_fingerprint,
    get_adapter,
    is_conv1d,
    lora_layers,
    merge_lora,
    set_adapter,
    unwrap_lora,
)
from course_utils.methods.lora_files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    adapter_config,
    load_adapter,
    peft_tensors,
    write_adapter_files,
)
from course_utils.methods.quantization import dequantize_model, quantize_model
from course_utils.methods.sft import Reply, replies
from course_utils.methods.token_rows import load_chat_adapter, merge_token_rows
from course_utils.model_files import ModelError, quiet
from course_utils.models import load_model, resolve, save_model
from course_utils.own.gguf_files import gguf_fault, write_gguf
from course_utils.own.own_run import RUN_FILE, is_run, settings_of, weights_of
from course_utils.own.report import RESULTS_FILE, as_markdown
from course_utils.own.verdict import BETTER, with_caution
from course_utils.ownership import (
    OTHER_FOLDER,
    is_marked,
    lock_of,
    new_folder,
    own_folder,
    read_regular,
    real,
    standing,
    umask,
)
from course_utils.terminal import plain_line

QUESTIONS = (  # asked of every format
    [{"role": "user", "content": "What is the capital of Peru?"}],
    [{"role": "user", "content": "Tell me about a dog."}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}],
    [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And now?"},
    ],
)
ANSWER_TOKENS = 24  # maximum length of an answer
MERGED, GGUF, MODELFILE, ADAPTER, BASE = "merged", "model.gguf", "Modelfile", "adapter", "base"
OTHER_DISK = "Name a folder that can be written, on a disk with space, with --out."
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # allowed values of its --max-lora-rank


class ExportError(RuntimeError):
    """A format does not answer as the run's model does; nothing was written."""


def export_run(run, out=None, base=None, anyway: bool = False) -> Path:
    """Write all formats of a run into a new folder (RUN-export, or out), and return it.

    base: the place of the base model, if its name is not enough to find it. anyway: also if the verdict on
    the run is not "better". Raises ValueError, ModelError, OSError; in any case the folder is complete or
    missing.
    """
    run, out = _check_places(real(run), out)
    verdict, caution = _verdict_of(run)
    if verdict != BETTER and not anyway:
        raise ValueError(
            f"RUN: {plain_line(run.name)} is not shown to be better than no training ({RESULTS_FILE}: "
            f"{plain_line(verdict)}). Read its report.html; to serve it all the same, add --anyway."
        )
    _check_libraries()
    settings = settings_of(run)
    with quiet(), _at_work(out):
        model, tokenizer = _load_run(run, settings, base)
        expected = replies(model, tokenizer, QUESTIONS, max_new_tokens=ANSWER_TOKENS)
        with naming(out.parent, OTHER_DISK), new_folder(out, "export") as folder:
            served = _serving_tokenizer(tokenizer)
            rank = 0
            if layers := lora_layers(model):
                linear = not any(is_conv1d(layer.original) for layer in layers.values())
                rank = next(iter(layers.values())).rank if linear else 0
                _merge(model, served, folder if linear else None)
            fault = gguf_fault(model, served)
            save_model(model, served, folder / MERGED)
            if not fault:
                write_gguf(model, served, folder / GGUF, run.name)
                (folder / MODELFILE).write_text(_modelfile(), encoding="utf-8")
            kind, context = model.config.model_type, model.config.max_position_embeddings
            forms = [MERGED, *([ADAPTER] if rank else []), *([] if fault else [GGUF])]
            del model
            for form in forms:
                check_answers(form, expected, ask(*LOAD[form](folder)))
                print(f"{form}: loaded again, it answers as the run's model does")
            if fault:
                print(f"{GGUF} is left out: {fault}. Try convert_hf_to_gguf.py of llama.cpp on {MERGED}/.")
            card = export_card(run.name, settings, with_caution(verdict, caution), kind, context, rank, fault)
            (folder / "README.md").write_text(card, encoding="utf-8")
            for path in folder.rglob("*"):  # a server may run as another user
                path.chmod((0o777 if path.is_dir() else 0o666) & ~umask())
    return out


# ------------------------------------------------------------------------------------ before writing


def _check_places(run, out):
    """(run, out) as paths. ValueError if the run is not a result, or out exists."""
    if not is_run(settings_of(run)) or run.name.endswith(".part"):
        why = f"{RUN_FILE} is missing, or is not the lesson's" if run.is_dir() else "there is no such folder"
        if run.name.endswith(".part"):
            why = "it is an interrupted run; run the lesson again to resume it"
        raise ValueError(
            f"RUN: {plain_line(run)} holds no result of lesson 17 ({why}). Give the folder that the lesson "
            "names at its end."
        )
    out = real(out) if out else run.with_name(f"{run.name}-export")
    if standing(out):
        todo = "Delete it, or name" if is_marked(out, "export") else "Name"
        raise ValueError(f"OUT: {plain_line(out)} exists. {todo} a new folder with --out.")
    return run, own_folder(out, "export", OTHER_FOLDER)


def _verdict_of(run):
    """(word, caution) of the run's verdict; "no verdict" if there is none that can be read."""
    try:
        verdict = json.loads(read_regular(run / RESULTS_FILE))["verdict"]
        return str(verdict["word"])[:60], str(verdict.get("caution", ""))[:160]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "no verdict", ""


def _check_libraries():
    """ModelError if the packages that write and read GGUF are missing."""
    if missing := [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]:
        raise ModelError(
            f"Writing GGUF and reading it again needs {' and '.join(missing)}: pip install "
            f"{' '.join(missing)}, then run the same command again."
        )


@contextmanager
def _at_work(out: Path) -> Iterator[None]:
    """Hold the lock of `out`, and remove it afterwards. ValueError if another process has it."""
    lock = lock_of(out, OTHER_FOLDER)
    with naming(out.parent, OTHER_DISK):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not Path(lock.lock_file).exists():
                raise ValueError(f"OUT: nothing can be written beside {out}. {OTHER_FOLDER}") from None
            raise ValueError(f"OUT: another process writes {out}. {OTHER_FOLDER}") from None
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _load_run(run, settings, base):
    """The run's trained model and its tokenizer. ModelError if its base is not available."""
    needed = ["tokenizer.json", "tokenizer_config.json"]
    needed += [] if settings["method"] == "full" else [CONFIG_FILE, WEIGHTS_FILE]
    if missing := [name for name in needed if not (run / name).is_file()]:
        raise ModelError(
            f"{plain_line(run)} is incomplete: {missing[0]} is missing. Copy the run again, or repeat it."
        )
    if settings["method"] == "full":
        return load_model(str(run))
    model, _ = load_model(_find_base(settings, base))
    if settings["method"] == "qlora":
        apply_lora(model, rank=1)
        quantize_model(model)
    # 4-bit weights differ in their last digit between devices; the base's files were compared
    return model, load_chat_adapter(model, run, check_base=settings["method"] != "qlora")


def _find_base(settings, base):
    """The name with which load_model gets the run's base. ModelError unless it is there and the same."""
    name = str(base or settings["base"])
    if base and (found := standing(real(base))) not in ("", "a folder"):
        raise ValueError(f"--base {plain_line(base)} is {found}. Give the model's folder.")
    try:
        source = resolve(name)
    except ModelError as fault:
        raise ModelError(
            f"The run was trained on {settings['base']}. Say where that model lies: --base FOLDER. ({fault})"
        ) from fault
    if not base and not isinstance(source.place, Path):
        raise ModelError(
            f"The run was trained on {name}, which is not on disk. Say where it lies: --base FOLDER; "
            f"or fetch it from the hub: --base {shlex.quote(name)}."
        )
    known = isinstance(source.place, Path) and "/" not in settings["weights"]  # else only its name is known
    if known and weights_of(source) != settings["weights"]:
        raise ModelError(
            f"{name} is not the model that the run was trained on ({settings['base']}): its weights differ. "
            "Say where that one lies: --base FOLDER."
        )
    return name


# ------------------------------------------------------------------------------------------- formats


def _serving_tokenizer(tokenizer):
    """A copy whose end token is the end of a turn, with a plain jinja template."""
    served = copy.deepcopy(tokenizer)
    served.eos_token = IM_END
    # the tags around answers are transformers' own, for training
    served.chat_template = re.sub(r"\{%-? (end)?generation -?%\}", "", served.chat_template)
    return served


def _merge(model, tokenizer, folder):
    """Merge the adapter into the weights, in place; with a folder, first write base and adapter into it.

    A server takes adapters of linear layers only, so the markers' rows go into the base. 4-bit weights are
    unpacked, since the adapter was trained on their values.
    """
    adapter, config = get_adapter(model), adapter_config(model)
    quantized = not all(getattr(layer.original, "can_merge", True) for layer in lora_layers(model).values())
    if quantized:
        dequantize_model(model)
    merge_token_rows(unwrap_lora(model))
    if folder:
        save_model(model, tokenizer, folder / BASE)
        config |= {"base_model_name_or_path": None}  # the base beside it is not published
        fingerprint = base_fingerprint(model, adapter.tensors)
        write_adapter_files(folder / ADAPTER, config, peft_tensors(adapter.tensors), fingerprint)
    apply_lora(model, rank=1, target_modules=list(adapter.tensors))
    set_adapter(model, adapter)
    merge_lora(model)
    unwrap_lora(model)


def _modelfile():
    """The Modelfile for `ollama create`: the file and the chat format."""
    return (
        f"FROM ./{GGUF}\n"
        'TEMPLATE """{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n'
        '{{ end }}<|im_start|>assistant\n"""\n'
        f"SYSTEM {SYSTEM}\n"
        f"PARAMETER stop {IM_END}\n"
    )


# --------------------------------------------------------------------------------------- loading again


def ask(model, tokenizer) -> list[Reply]:
    """Greedy answers to QUESTIONS, by the tokenizer's template and transformers' own loop."""
    answers, stops = [], model.generation_config.eos_token_id
    for messages in QUESTIONS:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        said = model.generate(**prompt, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        new = said[0, prompt["input_ids"].shape[1] :].tolist()
        ended = new[-1] in stops
        text = tokenizer.decode(new[: len(new) - ended], clean_up_tokenization_spaces=False).strip()
        answers.append(Reply(text, new[-1] == tokenizer.eos_token_id))
    return answers


def check_answers(form: str, expected: list[Reply], found: list[Reply]) -> None:
    """Raise ExportError unless the answers are the same."""
    for messages, before, after in zip(QUESTIONS, expected, found, strict=True):
        if before != after:
            raise ExportError(
                f"{form} does not answer as the run's model does, so nothing was written. "
                f"{messages[-1]['content']!r}: {after.text!r} for {before.text!r} (ends: {after.ended} for "
                f"{before.ended}). Please report this with what `python -m course_utils doctor` prints."
            )


def _load_merged(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = folder / MERGED
    return AutoModelForCausalLM.from_pretrained(place).eval(), AutoTokenizer.from_pretrained(place)


def _load_adapter(folder):
    model, tokenizer = load_model(str(folder / BASE))
    return load_adapter(model, folder / ADAPTER), tokenizer


def _load_gguf(folder):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    config = AutoConfig.from_pretrained(folder, gguf_file=GGUF)
    if config.model_type == "gpt2":
        config.n_positions = config.n_ctx  # the name that transformers reads
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, config=config, dtype=torch.float32)
    # GGUF has a single end token
    model.generation_config = GenerationConfig.from_pretrained(folder / MERGED)
    return model.eval(), AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)


LOAD: dict[str, Callable] = {MERGED: _load_merged, ADAPTER: _load_adapter, GGUF: _load_gguf}


# ----------------------------------------------------------------------------------------------- card

EXPORT_CARD = """\
---
base_model: {base_as_json}
tags: [sft]
---
# {title}, to be served

The result of a run of lesson 17 of the course on fine-tuning ({method} on **{base}**) in the forms that
servers take. The verdict on it: **{verdict}**. Each form was loaded again and asked {questions} questions:
its greedy answers are those of the run's model.

| what | for whom | loaded again by |
|---|---|---|
{forms}

The chat format is ChatML, by the template in the tokenizer; a turn ends with `<|im_end|>`.

## vLLM

Not tried in vLLM. In this folder:

```
vllm serve merged --served-model-name {name} --max-model-len {context}
```

{adapter}Then, from another terminal:

```
curl http://localhost:8000/v1/chat/completions -H "Content-Type: application/json" \\
  -d '{{"model": "{name}", "temperature": 0, "messages": [{{"role": "user", "content": "Hello."}}]}}'
```

## Ollama

{ollama}{transformers}

## Mind

- All values have 32 bits here. A server that rounds them (`--dtype bfloat16`, `--quantize q8_0`) can answer
  differently: ask it what matters to you again.
- A server renders the conversation by the template and encodes the result. So a user who types `<|im_end|>`
  ends the turn there. Take the markers out of what users write, before the server.
- What the run measured, and what it did not, is in the card of the run ({title}). The licences of the base
  model and of the data apply.
"""

FORM_ROWS = {
    MERGED: "| `merged/` (safetensors, tokenizer, end token) | vLLM and others | transformers |",
    ADAPTER: "| `adapter/` on `base/` (PEFT's format) | several adapters on one base | the course |",
    GGUF: "| `model.gguf` with `Modelfile` | Ollama, llama.cpp | transformers |",
}

WITH_ADAPTER = """\
Or the base with the adapter, LoRA on linear layers alone. Servers take no rows of tokens with an adapter, so
`base/` has {what}: the adapter belongs to this copy of the base model and to no other.

```
vllm serve base --max-model-len {context} --enable-lora --max-lora-rank {rank} --lora-modules {name}=adapter
```

"""

NO_ADAPTER = """\
There is no adapter to serve: servers take adapters of `nn.Linear` layers, and GPT-2's are of another class.

"""

OLLAMA = """\
Files like this one were tried in llama.cpp (November 2026: GPT-2 and SmolLM2; again by the package xllamacpp
2026.10, the pocket model, with the run's answers), not in Ollama. In this folder:

```
ollama create {name} -f Modelfile
ollama run {name} "Hello."
```

`ollama create --quantize q8_0 {name} -f Modelfile` makes a quarter of its size of it."""


IN_TRANSFORMERS = """

## GGUF in transformers

transformers takes the number of positions, {context} here, for GPT-2's 1,024 and stops unless it is told:

```python
from transformers import AutoConfig, AutoModelForCausalLM

config = AutoConfig.from_pretrained(".", gguf_file="model.gguf")
config.n_positions = config.n_ctx
model = AutoModelForCausalLM.from_pretrained(".", gguf_file="model.gguf", config=config)
```"""


def export_card(
    title: str, settings: dict, verdict: str, kind: str, context: int, rank: int, fault: str
) -> str:
    """The folder's README.md.

    verdict: its word and caution; kind: the model's type; rank: the adapter's or 0; fault: why there is no
    GGUF.
    """
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "tuned"
    adapter = "" if settings["method"] == "full" else NO_ADAPTER
    if rank:
        what = "the markers' rows as they were trained"
        what += ", and the values that four bits left of it" if settings["method"] == "qlora" else ""
        adapter = WITH_ADAPTER.format(
            what=what, context=context, name=name, rank=next(size for size in VLLM_RANKS if size >= rank)
        )
    forms = [MERGED, *([ADAPTER] if rank else []), *([] if fault else [GGUF])]
    return EXPORT_CARD.format(
        title=as_markdown(title),
        verdict=as_markdown(verdict),
        base=as_markdown(settings["base"]),
        base_as_json=json.dumps(settings["base"]),
        method=settings["method"],
        questions=len(QUESTIONS),
        forms="\n".join(FORM_ROWS[form] for form in forms),
        name=name,
        context=context,
        adapter=adapter,
        ollama=f"There is no GGUF: {fault}." if fault else OLLAMA.format(name=name),
        transformers=IN_TRANSFORMERS.format(context=context) if kind == "gpt2" and not fault else "",
    )
