// A step of training: the loss of the answers, its gradient with respect to A and B, and Adam.

import {
  emptyPast,
  gpt2Backward,
  gpt2Hidden,
  gpt2Logits,
  gpt2LogitsBackward,
  linearLayers,
  softmax,
} from "./gpt2.js";

/**
 * Ids of "prompt answer.", and how many of them are the prompt's. Only what follows the prompt carries
 * loss.
 */
export function encodeFact(tokenizer, { prompt, answer }) {
  const start = tokenizer.encode(prompt.trim());
  const name = tokenizer.encode(` ${answer.trim()}`);
  const end = /[.!?]$/.test(answer.trim()) ? [] : tokenizer.encode(".");
  return { ids: [...start, ...name, ...end], prompt: start.length, answer: name.length };
}

/**
 * Adds the gradients of one example, each token's loss divided by `count`.
 *
 * Returns {loss: the sum over the example's tokens, probability: of the whole answer, next: probabilities of
 * the token after the prompt}, all of before the step.
 */
export function addGradients(model, { ids, prompt, answer }, count) {
  const { engine, config } = model;
  const { n_embd: width, vocab_size: vocabulary } = config;
  const mark = engine.mark();
  const record = {};
  const hidden = gpt2Hidden(model, ids.slice(0, -1), emptyPast(model, ids.length), record);
  // each row predicts the token after it
  const logits = gpt2Logits(model, hidden.subarray((prompt - 1) * width));
  let loss = 0;
  let probability = 1;
  ids.slice(prompt).forEach((id, row) => {
    const probabilities = softmax(logits.subarray(row * vocabulary, (row + 1) * vocabulary));
    loss -= Math.log(Math.max(probabilities[id], 1e-38));
    if (row < answer) probability *= probabilities[id];
  });
  const next = logits.slice(0, vocabulary);
  // softmax and cross-entropy together have a plain gradient: the probabilities, less 1 at the right token
  ids.slice(prompt).forEach((id, row) => (logits[row * vocabulary + id] -= 1));
  for (let i = 0; i < logits.length; i++) logits[i] /= count;
  const dHidden = engine.zeros(hidden.length);
  dHidden.set(gpt2LogitsBackward(model, logits), (prompt - 1) * width);
  gpt2Backward(model, record, dHidden);
  engine.release(mark);
  return { loss, probability, next };
}

/**
 * Adam (Kingma and Ba 2015) on the adapter that the model has; the frozen weights have no gradient at all.
 */
export class Adam {
  constructor(model, rate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8) {
    Object.assign(this, { rate, beta1, beta2, epsilon, steps: 0 });
    this.parts = linearLayers(model).flatMap(({ lora }) =>
      [(lora.dA = new Float32Array(lora.A.length)), (lora.dB = new Float32Array(lora.B.length))].map(
        (gradient, i) => ({
          values: i ? lora.B : lora.A,
          gradient,
          mean: new Float32Array(gradient.length),
          square: new Float32Array(gradient.length),
        }),
      ),
    );
  }

  step() {
    this.steps += 1;
    const [first, second] = [1 - this.beta1 ** this.steps, 1 - this.beta2 ** this.steps];
    for (const { values, gradient, mean, square } of this.parts) {
      for (let i = 0; i < values.length; i++) {
        mean[i] += (1 - this.beta1) * (gradient[i] - mean[i]);
        square[i] += (1 - this.beta2) * (gradient[i] ** 2 - square[i]);
        values[i] -= (this.rate * mean[i]) / first / (Math.sqrt(square[i] / second) + this.epsilon);
      }
      gradient.fill(0);
    }
  }
}

/**
 * One step on some examples. Returns {loss: the mean of all their tokens, and what the first one returned}.
 */
export function trainStep(model, optimizer, examples) {
  const count = examples.reduce((sum, { ids, prompt }) => sum + ids.length - prompt, 0);
  const results = examples.map((example) => addGradients(model, example, count));
  optimizer.step();
  const loss = results.reduce((sum, result) => sum + result.loss, 0) / count;
  return { ...results[0], loss };
}
