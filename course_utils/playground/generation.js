// From logits to text, as in lesson 00: temperature, top-p, and one token after the other.

import { emptyPast, gpt2Hidden, gpt2Logits, softmax } from "./gpt2.js";

const END_OF_TEXT = 0;

/**
 * Probabilities of the next token: logits over temperature, and of those the likeliest that add up to topP.
 */
export function nextProbabilities(logits, temperature = 1, topP = 1) {
  const probabilities = softmax(logits.map((logit) => logit / (temperature || 1)));
  if (topP < 1) {
    const order = likeliest(probabilities, probabilities.length);
    let before = 0; // the token that crosses topP stays in
    for (const id of order) {
      const probability = probabilities[id];
      if (before >= topP) probabilities[id] = 0;
      before += probability;
    }
    const sum = probabilities.reduce((total, value) => total + value, 0);
    for (const id of order) probabilities[id] /= sum;
  }
  return probabilities;
}

/** The ids of the `count` largest, the largest first. */
export function likeliest(probabilities, count) {
  return Array.from(probabilities.keys())
    .sort((i, j) => probabilities[j] - probabilities[i])
    .slice(0, count);
}

function drawn(probabilities, random) {
  let left = random();
  for (let id = 0; id < probabilities.length; id++) if ((left -= probabilities[id]) < 0) return id;
  return likeliest(probabilities, 1)[0]; // rounding has left a rest
}

function largest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Yields one new token id after the other; temperature 0 takes the likeliest. The caller ends the loop. */
export function* continued(model, ids, { temperature = 0, topP = 1, random = Math.random } = {}) {
  const { engine, config } = model;
  const width = config.n_embd;
  const start = engine.mark();
  const past = emptyPast(model);
  const mark = engine.mark();
  let read = ids;
  try {
    while (past.seen + read.length <= config.n_positions) {
      engine.release(mark);
      const hidden = gpt2Hidden(model, read, past);
      const logits = gpt2Logits(model, hidden.subarray(hidden.length - width));
      const id = temperature ? drawn(nextProbabilities(logits, temperature, topP), random) : largest(logits);
      if (id === END_OF_TEXT) return;
      yield id;
      read = [id];
    }
  } finally {
    engine.release(start);
  }
}

/** Logits [vocabulary] of the token after the ids, as a copy. */
export function nextLogits(model, ids) {
  const { engine, config } = model;
  const mark = engine.mark();
  const hidden = gpt2Hidden(model, ids, emptyPast(model, ids.length));
  const logits = gpt2Logits(model, hidden.subarray(hidden.length - config.n_embd)).slice();
  engine.release(mark);
  return logits;
}

/** The probability of an example's answer after its prompt. */
export function answerProbability(model, { ids, prompt, answer }) {
  const { engine, config } = model;
  const { n_embd: width, vocab_size: vocabulary } = config;
  const mark = engine.mark();
  const read = ids.slice(0, prompt + answer - 1);
  const hidden = gpt2Hidden(model, read, emptyPast(model, read.length));
  const logits = gpt2Logits(model, hidden.subarray((prompt - 1) * width));
  let probability = 1;
  for (let row = 0; row < answer; row++)
    probability *= softmax(logits.subarray(row * vocabulary, (row + 1) * vocabulary))[ids[prompt + row]];
  engine.release(mark);
  return probability;
}
