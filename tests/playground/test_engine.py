"""The engine in JavaScript and WebAssembly against tokenizers, torch and PEFT's format."""

import base64
import json
import random

import pytest
import torch

from course_utils.data import encode, load_facts
from course_utils.methods.lora import apply_lora, lora_layers, set_adapter
from course_utils.methods.lora_analysis import best_rank
from course_utils.methods.lora_files import read_adapter
from course_utils.models import load_model
from course_utils.playground.probes import fact_to_teach, groups
from course_utils.world.templates import FORMS, fill

KINDS = ["plain", "kernel"]
RANK = 4
TEXT = "The capital of Zorvania is Lumo. One day, a fox found a golden key in the forest."
FUZZED = 600
# scripts, marks, spaces and symbols; unassigned code points differ between editions of Unicode
LETTERS = (
    "aZé ßñ\t\n\r\u00a0\u0085\u2003\u3000\ufeff'’\"…-_0٣９½Ⅷ"
    "日本語한글עבריתعربى🙂👩‍👩‍👧🇫🇷\u0301\u200d\u200b$€ğİıſK"
)
NEXT_LOGITS = """([kind, ids]) => {
    const model = models[kind];
    const mark = model.engine.mark();
    const logits = gpt2Logits(model, gpt2Hidden(model, ids, emptyPast(model, ids.length)));
    model.engine.release(mark);
    return packed(logits);
}"""
ADAPTER = """([kind, rank]) => {  // a change in which B is not zero
    const layers = linearLayers(models[kind]);
    const adapter = newAdapter(layers, rank, 7);
    const random = randomNumbers(8);
    for (const lora of adapter) lora.B.forEach((_, i) => lora.B[i] = 0.1 * (random() - 0.5));
    setAdapter(layers, adapter);
    return files(kind);
}"""
FILES = """() => void (window.files = kind => {
    const layers = linearLayers(models[kind]);
    const { weights, config } = adapterFiles(layers, layers.map(layer => layer.lora));
    return [packed(weights), config];
})"""
PACKED = """() => void (window.packed = numbers => {  // as base64: a list of numbers takes seconds to pass
    const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
})"""


@pytest.fixture(scope="session")
def engine(engine):
    engine.evaluate(FILES)
    engine.evaluate(PACKED)
    return engine


def unpacked(text):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32)


def as_read(folder, files):
    """The adapter in the two files, as the course reads it."""
    weights, config = files
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(base64.b64decode(weights))
    (folder / "adapter_config.json").write_text(config, encoding="utf-8")
    return read_adapter(folder)


def with_adapter(adapter):
    model, _ = load_model("pocket")
    apply_lora(model, adapter.rank, adapter.alpha)
    set_adapter(model, adapter)
    return model


def logits(engine, kind, ids):
    return unpacked(engine.evaluate(NEXT_LOGITS, [kind, ids])).view(len(ids), -1)


def texts():
    rng = random.Random(0)
    sentences = [fill(FORMS[f.relation].statements[0], f.subject, f.object) for f in load_facts()]
    fuzzed = ["".join(rng.choices(LETTERS, k=rng.randint(1, 30))) for _ in range(FUZZED)]
    return [
        *sentences,
        *fuzzed,
        "",
        " ",
        "  a",
        "a  ",
        "<|endoftext|>",
        "I'll we're\n\n it's I've don't I'm she'd",
    ]


def test_tokens_are_those_of_the_tokenizer_and_decode_to_the_text(engine, pocket):
    _, tokenizer = pocket
    given = texts()
    assert len(given) > 2500
    found = engine.evaluate("texts => texts.map(text => tokenizer.encode(text))", given)
    for text, ids in zip(given, found, strict=True):
        assert ids == tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"], text
    back = engine.evaluate("ids => ids.map(some => tokenizer.decode(some))", found)
    assert back == [text.removeprefix("\ufeff") for text in given]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_torch(engine, pocket, kind):
    model, tokenizer = pocket
    ids = encode(tokenizer, TEXT)
    with torch.no_grad():
        wanted = model(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits(engine, kind, ids), wanted, rtol=0, atol=1e-4)


def test_the_kernel_and_javascript_agree(engine, pocket):
    ids = encode(pocket[1], TEXT)
    plain, kernel = (logits(engine, kind, ids) for kind in KINDS)
    torch.testing.assert_close(plain, kernel, rtol=0, atol=1e-4)
    assert engine.evaluate("[models.plain.engine.name, models.kernel.engine.name]") == [
        "JavaScript",
        "WebAssembly",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_product_is_right_for_all_small_sizes(engine, kind):
    code = """kind => {
        const { engine } = models[kind];
        let worst = 0;
        const start = engine.mark();
        const sizes = [1, 2, 3, 4, 5, 8, 9].flatMap(rows => [4, 8, 12].flatMap(inner =>
            [2, 4, 10].map(columns => [rows, inner, columns])));
        for (const [rows, inner, columns] of sizes) {
            const [a, b] = [rows, columns].map(count =>
                engine.copied(Float32Array.from({length: count * inner}, (_, i) => Math.sin(7 * i + count))));
            const c = engine.copied(new Float32Array(rows * columns).fill(1));
            const guard = engine.zeros(4);
            engine.addProduct(c, a, b, rows, inner, columns);
            for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
                let sum = 1;
                for (let k = 0; k < inner; k++) sum += a[i * inner + k] * b[j * inner + k];
                worst = Math.max(worst, Math.abs(sum - c[i * columns + j]), ...guard);
            }
            engine.release(start);
        }
        return worst;
    }"""
    assert engine.evaluate(code, kind) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_each_gradient_is_that_of_torch(engine, pocket, tmp_path, kind):
    adapter = as_read(tmp_path, engine.evaluate(ADAPTER, [kind, RANK]))
    model, fact = with_adapter(adapter), fact_to_teach()
    _, tokenizer = pocket
    prompt = encode(tokenizer, fact["prompt"])
    ids = encode(tokenizer, f"{fact['prompt']} {fact['answer']}.")
    rows = model(torch.tensor([ids[:-1]])).logits[0, len(prompt) - 1 :]
    loss = torch.nn.functional.cross_entropy(rows, torch.tensor(ids[len(prompt) :]))
    loss.backward()
    code = """([kind, fact]) => {
        const model = models[kind];
        const optimizer = new Adam(model, 1e-3);
        const example = encodeFact(tokenizer, fact);
        const { loss } = addGradients(model, example, example.ids.length - example.prompt);
        const layers = linearLayers(model);
        const gradients = layers.map(({ name, lora }) => [name, packed(lora.dA), packed(lora.dB)]);
        setAdapter(layers, null);
        return [loss / (example.ids.length - example.prompt), gradients];
    }"""
    found, gradients = engine.evaluate(code, [kind, fact])
    assert found == pytest.approx(loss.item(), abs=1e-4)
    assert [name for name, *_ in gradients] == list(lora_layers(model))
    for name, *parts in gradients:
        layer = lora_layers(model)[name]
        for parameter, part in zip((layer.lora_A, layer.lora_B), parts, strict=True):
            part = unpacked(part).view_as(parameter)
            assert parameter.grad.norm() > 0
            assert (part - parameter.grad).norm() < 1e-4 * parameter.grad.norm(), name


TRAIN = """([kind, facts, rate, steps]) => {
    const model = models[kind];
    const optimizer = new Adam(model, rate);
    const examples = facts.map(fact => encodeFact(tokenizer, fact));
    const losses = Array.from({ length: steps }, () => trainStep(model, optimizer, examples).loss);
    setAdapter(linearLayers(model), null);
    return losses;
}"""


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_losses_are_those_of_torch_and_its_adam(engine, pocket, tmp_path, kind):
    adapter = as_read(tmp_path, engine.evaluate(ADAPTER, [kind, RANK]))
    model, (_, tokenizer) = with_adapter(adapter), pocket
    facts = [fact_to_teach(), groups()[0]["facts"][0]]
    found = engine.evaluate(TRAIN, [kind, facts, 5e-4, 20])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 5e-4)
    for loss_there in found:
        losses = []
        for fact in facts:
            prompt = encode(tokenizer, fact["prompt"])
            ids = encode(tokenizer, f"{fact['prompt']} {fact['answer']}.")
            rows = model(torch.tensor([ids[:-1]])).logits[0, len(prompt) - 1 :]
            wanted = torch.tensor(ids[len(prompt) :])
            losses.append(torch.nn.functional.cross_entropy(rows, wanted, reduction="none"))
        loss = torch.cat(losses).mean()
        assert loss_there == pytest.approx(loss.item(), abs=1e-3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found[-1] < 0.8 * found[0]


WRITE = """([kind, prompt, count, options]) => {
    const found = [];
    for (const id of continued(models[kind], tokenizer.encode(prompt), options)) {
        found.push(id);
        if (found.length === count) break;
    }
    return found;
}"""


def test_a_hundred_greedy_tokens_are_those_of_torch_where_it_is_sure(engine, pocket):
    model, tokenizer = pocket
    prompt = encode(tokenizer, "One day")
    found = engine.evaluate(WRITE, ["kernel", "One day", 100, {}])
    with torch.no_grad():
        rows = model(torch.tensor([prompt + found])).logits[0, len(prompt) - 1 : -1]
    best = rows.topk(2).values
    sure = best[:, 0] - best[:, 1] > 1e-3
    assert len(found) == 100 and sure.sum() > 95
    assert (rows.argmax(-1) == torch.tensor(found))[sure].all()


def test_the_cache_changes_nothing(engine, pocket):
    found = engine.evaluate(WRITE, ["kernel", "One day", 30, {}])
    ids = [*encode(pocket[1], "One day"), *found]
    whole = logits(engine, "kernel", ids)
    step = """ids => {
        const model = models.kernel;
        const mark = model.engine.mark();
        const past = emptyPast(model);
        const rows = ids.map(id => packed(gpt2Logits(model, gpt2Hidden(model, [id], past))));
        model.engine.release(mark);
        return rows;
    }"""
    rows = torch.stack([unpacked(row) for row in engine.evaluate(step, ids)])
    torch.testing.assert_close(rows, whole, rtol=0, atol=1e-4)


def test_sampling_leaves_out_the_tail_and_is_even_at_a_high_temperature(engine):
    code = """([temperature, topP]) => [...nextProbabilities(
        Float32Array.from([0.5, 0.3, 0.15, 0.05], Math.log), temperature, topP)]"""
    for temperature, top_p, wanted in (
        (1, 1, [0.5, 0.3, 0.15, 0.05]),
        (1, 0.7, [0.625, 0.375, 0, 0]),
        (1, 0.5, [1, 0, 0, 0]),
        (0.5, 1, [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
    ):
        assert engine.evaluate(code, [temperature, top_p]) == pytest.approx(wanted, abs=1e-6)
    drawn = """() => { const random = randomNumbers(1); const counts = [0, 0, 0, 0];
        for (let i = 0; i < 20000; i++) counts[drawn([0.5, 0.3, 0.2, 0], random)]++; return counts; }"""
    counts = engine.evaluate(drawn)
    assert counts[3] == 0 and counts[:3] == pytest.approx([10000, 6000, 4000], rel=0.05)


def test_scale_zero_is_the_base_and_scale_two_is_twice_the_change(engine, pocket, tmp_path):
    adapter = as_read(tmp_path, engine.evaluate(ADAPTER, ["kernel", RANK]))
    ids = encode(pocket[1], TEXT)
    scale = """scale => setAdapter(linearLayers(models.kernel), scaled(
        linearLayers(models.kernel).map(layer => layer.lora), scale))"""
    engine.evaluate(scale, 2)
    adapter.alpha *= 2
    with torch.no_grad():
        wanted = with_adapter(adapter)(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits(engine, "kernel", ids), wanted, rtol=0, atol=2e-4)
    engine.evaluate(scale, 0)
    zero = logits(engine, "kernel", ids)
    engine.evaluate("setAdapter(linearLayers(models.kernel), null)")
    assert torch.equal(zero, logits(engine, "kernel", ids))


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_a_cut_is_the_closest_change_of_its_rank(engine, tmp_path, rank):
    whole = as_read(tmp_path, engine.evaluate(ADAPTER, ["kernel", RANK]))
    code = """rank => {
        const layers = linearLayers(models.kernel);
        const adapter = layers.map(layer => layer.lora);
        const parts = decomposed(adapter);
        setAdapter(layers, cut(adapter, parts, rank));
        const found = [files("kernel"), parts.map(({ S }) => [...S]), shares(parts)];
        setAdapter(layers, null);
        return found;
    }"""
    files, values, shares = engine.evaluate(code, rank)
    part = as_read(tmp_path / "part", files)
    assert part.rank == rank and sum(shares) == pytest.approx(1) and shares == sorted(shares, reverse=True)
    for (name, (A, B)), singular in zip(whole.tensors.items(), values, strict=True):
        change = whole.scale * B @ A
        near = best_rank(change, rank)
        cut_A, cut_B = part.tensors[name]
        assert (part.scale * cut_B @ cut_A - near).norm() < 1e-5 * change.norm(), name
        assert singular == pytest.approx(torch.linalg.svdvals(change)[:RANK].tolist(), rel=1e-5)


def test_a_change_of_nothing_can_be_cut(engine):
    code = """() => {
        const adapter = newAdapter(linearLayers(models.kernel), 4, 0);
        const parts = decomposed(adapter);
        const fine = ({ A, B }) => [...A, ...B].every(Number.isFinite);
        return [shares(parts), cut(adapter, parts, 2).every(fine)];
    }"""
    assert engine.evaluate(code) == [[0, 0, 0, 0], True]


@pytest.mark.parametrize("bad, why", [
    ("bytes => bytes.slice(0, 5)", "it has fewer than 8 bytes"),
    ("bytes => bytes.slice(0, 200)", "its header is longer than the file"),
    ("bytes => bytes.slice(0, bytes.length - 4)", "are not all there"),
    ("bytes => (bytes[8] = 0, bytes)", "its header is not JSON"),
    ("bytes => (bytes.fill(255, bytes.length - 4), bytes)", "not finite numbers"),
])  # fmt: skip
def test_a_damaged_adapter_is_refused_with_a_reason(engine, bad, why):
    engine.evaluate(ADAPTER, ["kernel", RANK])
    code = f"""() => {{
        const layers = linearLayers(models.kernel);
        const {{ weights }} = adapterFiles(layers, layers.map(layer => layer.lora));
        setAdapter(layers, null);
        try {{
            readAdapter(layers, [{{ name: "adapter_model.safetensors", bytes: ({bad})(weights) }}]);
        }} catch (fault) {{ return fault.message; }}
    }}"""
    assert why in engine.evaluate(code)


@pytest.mark.parametrize("change, why", [
    ("tensors.delete([...tensors.keys()][0])", "h.0.attn.c_attn.lora_A is missing"),
    ("tensors.set('x', { shape: [1], values: new Float32Array(1) })", "changes more than this page can: x"),
    ("[...tensors.values()][0].shape = [256, 4]", "is 256,4, and should be 4,256"),
    ("metadata.r = '0'", "rank is 0"),
    ("metadata.lora_alpha = '\"much\"'", "alpha much"),
    ("metadata.r = '{'", "settings are not JSON"),
    ("delete metadata.r", "adapter_config.json, too"),
])  # fmt: skip
def test_an_adapter_that_does_not_fit_is_refused_with_a_reason(engine, change, why):
    engine.evaluate(ADAPTER, ["kernel", RANK])
    code = f"""() => {{
        const layers = linearLayers(models.kernel);
        const {{ weights }} = adapterFiles(layers, layers.map(layer => layer.lora));
        setAdapter(layers, null);
        const {{ tensors, metadata }} = readSafetensors(weights);
        {change};
        const bytes = writeSafetensors(tensors, metadata);
        try {{
            readAdapter(layers, [{{ name: "adapter_model.safetensors", bytes }}]);
        }} catch (fault) {{ return fault.message; }}
    }}"""
    assert why in engine.evaluate(code)


def test_the_config_is_what_the_course_writes(engine, tmp_path, pocket):
    from course_utils.methods.lora_files import adapter_config

    adapter = as_read(tmp_path, engine.evaluate(ADAPTER, ["kernel", RANK]))
    engine.evaluate("setAdapter(linearLayers(models.kernel), null)")
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert written == adapter_config(with_adapter(adapter))
