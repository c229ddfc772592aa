// GPT-2's forward pass, written out (Radford et al. 2019), and the same backwards, in the names of gpt2.py.
//
// Every token is a row in the residual stream x [tokens, width]. Each block reads the stream twice and adds
// to it twice: attention gathers from earlier tokens, the MLP works on each token alone. Where a pass is
// given a `record`, it keeps there what the way back needs: the chain rule asks for what each step had
// read.

import { transposed } from "./engine.js";
import { addLora, loraBackward } from "./lora.js";

const EPSILON = 1e-5; // of layer norm

/** The model from the tensors of its file. config: n_layer, n_head, n_embd, n_positions, vocab_size. */
export function loadModel(engine, tensors, config) {
  const taken = (name) => engine.copied(tensors.get(`transformer.${name}`).values);
  const norm = (name) => ({ weight: taken(`${name}.weight`), bias: taken(`${name}.bias`) });
  const linearLayer = (name) => {
    const [nIn, nOut] = tensors.get(`transformer.${name}.weight`).shape; // Conv1D: [in, out]
    const weight = taken(`${name}.weight`);
    const rows = transposed(weight, nIn, nOut, engine.zeros(nIn * nOut)); // [out, in], for the way forward
    return { name: `transformer.${name}`, nIn, nOut, weight, rows, bias: taken(`${name}.bias`), lora: null };
  };
  const blocks = Array.from({ length: config.n_layer }, (_, i) => ({
    ln_1: norm(`h.${i}.ln_1`),
    c_attn: linearLayer(`h.${i}.attn.c_attn`),
    attn_proj: linearLayer(`h.${i}.attn.c_proj`),
    ln_2: norm(`h.${i}.ln_2`),
    c_fc: linearLayer(`h.${i}.mlp.c_fc`),
    mlp_proj: linearLayer(`h.${i}.mlp.c_proj`),
  }));
  const wte = taken("wte.weight"); // [vocabulary, width]: embeds tokens, and reads the stream at the end
  const columns = transposed(wte, config.vocab_size, config.n_embd, engine.zeros(wte.length));
  return { engine, config, blocks, wte, columns, wpe: taken("wpe.weight"), ln_f: norm("ln_f") };
}

/** The matrices that LoRA adapts, in the model's order. */
export function linearLayers(model) {
  return model.blocks.flatMap((block) => [block.c_attn, block.attn_proj, block.c_fc, block.mlp_proj]);
}

/** Room for the keys and values of each block, for at most so many tokens. */
export function emptyPast(model, tokens = model.config.n_positions) {
  const { engine, config } = model;
  const zeros = () => model.blocks.map(() => engine.zeros(tokens * config.n_embd));
  return { seen: 0, keys: zeros(), values: zeros() };
}

/**
 * What the head reads, [tokens, width], for token ids. past: what earlier calls read, extended by this one.
 */
export function gpt2Hidden(model, ids, past, record = null) {
  const { engine, config } = model;
  const width = config.n_embd;
  if (past.seen + ids.length > config.n_positions)
    throw new Error(`The text is too long: the model reads ${config.n_positions} tokens at most.`);
  const x = engine.zeros(ids.length * width);
  ids.forEach((id, token) => {
    for (let i = 0; i < width; i++)
      x[token * width + i] = model.wte[id * width + i] + model.wpe[(past.seen + token) * width + i];
  });
  if (record) Object.assign(record, { tokens: ids.length, past, blocks: model.blocks.map(() => ({})) });
  model.blocks.forEach((block, number) => {
    const kept = record?.blocks[number];
    add(x, attention(model, block, number, layerNorm(model, block.ln_1, x, kept, "ln_1"), past, kept));
    add(x, mlp(model, block, layerNorm(model, block.ln_2, x, kept, "ln_2"), kept));
  });
  past.seen += ids.length;
  return layerNorm(model, model.ln_f, x, record, "ln_f");
}

/** Logits [rows, vocabulary] of rows of gpt2Hidden's result. */
export function gpt2Logits(model, hidden) {
  const { n_embd: width, vocab_size: vocabulary } = model.config;
  const rows = hidden.length / width;
  const logits = model.engine.zeros(rows * vocabulary);
  model.engine.addProduct(logits, hidden, model.wte, rows, width, vocabulary);
  return logits;
}

/** A block's attention: each token gathers from itself and from those before it. */
function attention(model, block, number, x, past, kept) {
  const { engine, config } = model;
  const { n_embd: width, n_head: heads } = config;
  const size = width / heads;
  const tokens = x.length / width;
  const fused = linear(model, block.c_attn, x, kept); // [tokens, 3 width]: query, key, value
  const [keys, values] = [past.keys[number], past.values[number]];
  for (let token = 0; token < tokens; token++) {
    const from = token * 3 * width;
    keys.set(fused.subarray(from + width, from + 2 * width), (past.seen + token) * width);
    values.set(fused.subarray(from + 2 * width, from + 3 * width), (past.seen + token) * width);
  }
  const all = past.seen + tokens;
  const weights = engine.zeros(heads * tokens * all);
  const mixed = engine.zeros(tokens * width);
  for (let head = 0; head < heads; head++) {
    for (let token = 0; token < tokens; token++) {
      const row = weights.subarray((head * tokens + token) * all, (head * tokens + token + 1) * all);
      const visible = past.seen + token + 1;
      const query = token * 3 * width + head * size;
      for (let other = 0; other < visible; other++) {
        const key = other * width + head * size;
        let score = 0;
        for (let i = 0; i < size; i++) score += fused[query + i] * keys[key + i];
        row[other] = score / Math.sqrt(size);
      }
      softmax(row.subarray(0, visible));
      const to = token * width + head * size;
      for (let other = 0; other < visible; other++) {
        const value = other * width + head * size;
        for (let i = 0; i < size; i++) mixed[to + i] += row[other] * values[value + i];
      }
    }
  }
  if (kept) Object.assign(kept, { fused, weights });
  return linear(model, block.attn_proj, mixed, kept);
}

/** A block's MLP: four times as wide within, each token alone. */
function mlp(model, block, x, kept) {
  const inner = linear(model, block.c_fc, x, kept);
  const activated = model.engine.zeros(inner.length);
  for (let i = 0; i < inner.length; i++) activated[i] = gelu(inner[i]);
  if (kept) kept.inner = inner;
  return linear(model, block.mlp_proj, activated, kept);
}

/** y = x W + b, and LoRA's change where the layer has one. x [tokens, in] -> [tokens, out]. */
function linear(model, layer, x, kept) {
  const tokens = x.length / layer.nIn;
  const y = model.engine.zeros(tokens * layer.nOut);
  for (let token = 0; token < tokens; token++) y.set(layer.bias, token * layer.nOut);
  model.engine.addProduct(y, x, layer.rows, tokens, layer.nIn, layer.nOut);
  const low = layer.lora && addLora(layer, x, y);
  if (kept) kept[layer.name] = { x, low };
  return y;
}

function layerNorm(model, norm, x, kept, name) {
  const width = norm.weight.length;
  const tokens = x.length / width;
  const y = model.engine.zeros(x.length);
  const standard = model.engine.zeros(x.length); // mean 0, variance 1
  const deviations = model.engine.zeros(tokens);
  for (let token = 0; token < tokens; token++) {
    const from = token * width;
    let mean = 0;
    for (let i = 0; i < width; i++) mean += x[from + i] / width;
    let variance = 0;
    for (let i = 0; i < width; i++) variance += (x[from + i] - mean) ** 2 / width;
    deviations[token] = Math.sqrt(variance + EPSILON);
    for (let i = 0; i < width; i++) {
      standard[from + i] = (x[from + i] - mean) / deviations[token];
      y[from + i] = standard[from + i] * norm.weight[i] + norm.bias[i];
    }
  }
  if (kept) kept[name] = { standard, deviations };
  return y;
}

/** Probabilities from logits, in place; their sum is 1. */
export function softmax(logits) {
  let largest = -Infinity;
  for (const logit of logits) largest = Math.max(largest, logit);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += logits[i] = Math.exp(logits[i] - largest);
  for (let i = 0; i < logits.length; i++) logits[i] /= sum;
  return logits;
}

const SLOPE = Math.sqrt(2 / Math.PI);

function gelu(x) {
  return 0.5 * x * (1 + Math.tanh(SLOPE * (x + 0.044715 * x ** 3)));
}

function geluSlope(x) {
  const tanh = Math.tanh(SLOPE * (x + 0.044715 * x ** 3));
  return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh ** 2) * SLOPE * (1 + 3 * 0.044715 * x ** 2);
}

function add(sum, values) {
  for (let i = 0; i < sum.length; i++) sum[i] += values[i];
}

// -------------------------------------------------------------------------------------------- the way back
// In the names of calculus texts: dx is the gradient of the loss with respect to x.

/**
 * Adds to the gradients of all LoRA layers, for dHidden [tokens, width] and the record of a pass from the
 * start.
 */
export function gpt2Backward(model, record, dHidden) {
  const dx = layerNormBackward(model, model.ln_f, record.ln_f, dHidden);
  for (let number = model.blocks.length - 1; number >= 0; number--) {
    const [block, kept] = [model.blocks[number], record.blocks[number]];
    const dMlp = mlpBackward(model, block, kept, dx);
    add(dx, layerNormBackward(model, block.ln_2, kept.ln_2, dMlp)); // the stream's own gradient goes on, too
    const dAttention = attentionBackward(model, block, number, kept, record, dx);
    add(dx, layerNormBackward(model, block.ln_1, kept.ln_1, dAttention));
  }
}

/** gpt2Logits backwards: from dLogits [rows, vocabulary] to the rows [rows, width] that the head read. */
export function gpt2LogitsBackward(model, dLogits) {
  const { n_embd: width, vocab_size: vocabulary } = model.config;
  const rows = dLogits.length / vocabulary;
  const dHidden = model.engine.zeros(rows * width);
  model.engine.addProduct(dHidden, dLogits, model.columns, rows, vocabulary, width);
  return dHidden;
}

function linearBackward(model, layer, kept, dy) {
  const tokens = dy.length / layer.nOut;
  const dx = model.engine.zeros(tokens * layer.nIn);
  model.engine.addProduct(dx, dy, layer.weight, tokens, layer.nOut, layer.nIn);
  if (layer.lora) loraBackward(layer, kept[layer.name], dy, dx);
  return dx;
}

function mlpBackward(model, block, kept, dy) {
  const dInner = linearBackward(model, block.mlp_proj, kept, dy);
  for (let i = 0; i < dInner.length; i++) dInner[i] *= geluSlope(kept.inner[i]);
  return linearBackward(model, block.c_fc, kept, dInner);
}

function attentionBackward(model, block, number, kept, record, dy) {
  const { n_embd: width, n_head: heads } = model.config;
  const { tokens, past } = record;
  const size = width / heads;
  const [keys, values] = [past.keys[number], past.values[number]];
  const dMixed = linearBackward(model, block.attn_proj, kept, dy);
  const dFused = model.engine.zeros(tokens * 3 * width);
  const dWeights = new Float32Array(tokens);
  for (let head = 0; head < heads; head++) {
    for (let token = 0; token < tokens; token++) {
      const weights = kept.weights.subarray((head * tokens + token) * tokens);
      const mixed = token * width + head * size;
      const query = token * 3 * width + head * size;
      let mean = 0; // of dWeights under the weights: what softmax's derivative subtracts
      for (let other = 0; other <= token; other++) {
        const value = other * width + head * size;
        const dValue = other * 3 * width + 2 * width + head * size;
        let sum = 0;
        for (let i = 0; i < size; i++) {
          sum += dMixed[mixed + i] * values[value + i];
          dFused[dValue + i] += weights[other] * dMixed[mixed + i];
        }
        dWeights[other] = sum;
        mean += weights[other] * sum;
      }
      for (let other = 0; other <= token; other++) {
        const key = other * width + head * size;
        const dKey = other * 3 * width + width + head * size;
        const dScore = (weights[other] * (dWeights[other] - mean)) / Math.sqrt(size);
        for (let i = 0; i < size; i++) {
          dFused[query + i] += dScore * keys[key + i];
          dFused[dKey + i] += dScore * kept.fused[query + i];
        }
      }
    }
  }
  return linearBackward(model, block.c_attn, kept, dFused);
}

function layerNormBackward(model, norm, { standard, deviations }, dy) {
  const width = norm.weight.length;
  const dx = model.engine.zeros(dy.length);
  for (let token = 0; token < deviations.length; token++) {
    const from = token * width;
    let mean = 0;
    let along = 0;
    for (let i = 0; i < width; i++) {
      const d = dy[from + i] * norm.weight[i];
      mean += d / width;
      along += (d * standard[from + i]) / width;
    }
    for (let i = 0; i < width; i++)
      dx[from + i] = (dy[from + i] * norm.weight[i] - mean - standard[from + i] * along) / deviations[token];
  }
  return dx;
}
