// LoRA, as in lesson 03: beside each frozen matrix stand two thin ones, A [rank, in] and B [out, rank], and
// the layer computes y = W x + scale * B (A x). Only A and B are trained. B starts at zero, so the change
// does, too.

import { plainAddProduct, transposed } from "./engine.js";

/** The same random numbers in [0, 1) for the same seed (mulberry32). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A fresh change beside each layer: A within ±1/sqrt(in), as in an nn.Linear, and B zero. */
export function newAdapter(layers, rank, seed) {
  const random = randomNumbers(seed);
  return layers.map(({ name, nIn, nOut }) => ({
    name,
    rank,
    scale: 1, // alpha / rank
    A: Float32Array.from({ length: rank * nIn }, () => (2 * random() - 1) / Math.sqrt(nIn)),
    B: new Float32Array(nOut * rank),
  }));
}

/** Put an adapter, a list with an entry for each layer, into the layers; null takes it away. */
export function setAdapter(layers, adapter) {
  layers.forEach((layer, i) => (layer.lora = adapter && adapter[i]));
}

/** Adds scale * B (A x) to y; returns A x [tokens, rank], which the way back needs. */
export function addLora({ lora, nIn, nOut }, x, y) {
  const { A, B, rank, scale } = lora;
  const tokens = x.length / nIn;
  const low = new Float32Array(tokens * rank);
  plainAddProduct(low, x, A, tokens, nIn, rank);
  plainAddProduct(
    y,
    low.map((value) => scale * value),
    B,
    tokens,
    rank,
    nOut,
  );
  return low;
}

/**
 * Adds to lora.dA, lora.dB and dx [tokens, in], for the gradient dy [tokens, out] of what addLora changed.
 */
export function loraBackward({ lora, nIn, nOut }, { x, low }, dy, dx) {
  const { A, B, rank, scale } = lora;
  const tokens = x.length / nIn;
  for (let token = 0; token < tokens; token++) {
    for (let r = 0; r < rank; r++) {
      let dLow = 0;
      for (let out = 0; out < nOut; out++) {
        const d = scale * dy[token * nOut + out];
        dLow += d * B[out * rank + r];
        lora.dB[out * rank + r] += d * low[token * rank + r];
      }
      for (let i = 0; i < nIn; i++) {
        lora.dA[r * nIn + i] += dLow * x[token * nIn + i];
        dx[token * nIn + i] += dLow * A[r * nIn + i];
      }
    }
  }
}

/** The same adapter with all changes `scale` times as large. */
export function scaled(adapter, scale) {
  return adapter.map((lora) => ({ ...lora, scale: scale * lora.scale }));
}

// ----------------------------------------------------------------------------------- cuts, as in lesson 04

/**
 * The change scale * B A of each layer as its singular value decomposition: {U [out, rank], S, V [in,
 * rank]}.
 */
export function decomposed(adapter) {
  return adapter.map(({ A, B, rank, scale }) => {
    const left = orthonormal(B, rank); // B = Q R
    const columns = transposed(A, rank, A.length / rank, new Float64Array(A.length));
    const right = orthonormal(columns, rank); // Aᵀ = Q R
    const core = new Float64Array(rank * rank); // the change in these two bases
    plainAddProduct(core, left.R, right.R, rank, rank, rank);
    const { U, S, V } = smallSvd(core, rank);
    return { U: product(left.Q, U, rank), S: S.map((value) => scale * value), V: product(right.Q, V, rank) };
  });
}

/** The closest change of at most this rank (Eckart, Young 1936), as an adapter. */
export function cut(adapter, decomposition, rank) {
  return adapter.map(({ name }, i) => {
    const { U, S, V } = decomposition[i];
    const full = S.length;
    const A = Float32Array.from({ length: (V.length / full) * rank }, (_, at) => {
      const nIn = V.length / full;
      return V[(at % nIn) * full + Math.floor(at / nIn)];
    });
    const B = Float32Array.from(
      { length: (U.length / full) * rank },
      (_, at) => U[Math.floor(at / rank) * full + (at % rank)] * S[at % rank],
    );
    return { name, rank, scale: 1, A, B };
  });
}

/** Each direction's share of the change's squared size, over all layers, the largest first. */
export function shares(decomposition) {
  const energy = decomposition[0].S.map((_, r) => decomposition.reduce((sum, { S }) => sum + S[r] ** 2, 0));
  const all = energy.reduce((sum, value) => sum + value, 0);
  return Array.from(energy, (value) => (all ? value / all : 0));
}

/**
 * M [rows, rank] = Q R with orthonormal columns in Q, by Gram and Schmidt, twice for the rounding. R [rank,
 * rank].
 */
function orthonormal(M, rank) {
  const Q = Float64Array.from(M);
  const R = new Float64Array(rank * rank);
  const rows = M.length / rank;
  const dot = (i, j) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += Q[row * rank + i] * Q[row * rank + j];
    return sum;
  };
  for (let j = 0; j < rank; j++) {
    for (let time = 0; time < 2; time++) {
      for (let i = 0; i < j; i++) {
        const along = dot(i, j);
        R[i * rank + j] += along;
        for (let row = 0; row < rows; row++) Q[row * rank + j] -= along * Q[row * rank + i];
      }
    }
    const length = Math.sqrt(dot(j, j));
    R[j * rank + j] = length;
    for (let row = 0; row < rows; row++) Q[row * rank + j] = length ? Q[row * rank + j] / length : 0;
  }
  return { Q, R };
}

/** Singular value decomposition of a small square matrix, by rotating pairs of columns (Hestenes 1958). */
function smallSvd(M, n) {
  const U = Float64Array.from(M);
  const V = Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
  const dot = (i, j) => {
    let sum = 0;
    for (let row = 0; row < n; row++) sum += U[row * n + i] * U[row * n + j];
    return sum;
  };
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) {
        const across = dot(i, j);
        if (Math.abs(across) <= 1e-15 * Math.sqrt(dot(i, i) * dot(j, j))) continue;
        const angle = 0.5 * Math.atan2(2 * across, dot(i, i) - dot(j, j));
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        for (const X of [U, V]) {
          for (let row = 0; row < n; row++) {
            const [first, second] = [X[row * n + i], X[row * n + j]];
            X[row * n + i] = c * first + s * second;
            X[row * n + j] = c * second - s * first;
          }
        }
      }
    }
  }
  const lengths = Array.from({ length: n }, (_, i) => Math.sqrt(dot(i, i)));
  const order = lengths.map((_, i) => i).sort((i, j) => lengths[j] - lengths[i]);
  const sorted = (X, by) =>
    Float64Array.from({ length: n * n }, (_, at) => {
      const column = order[at % n];
      const size = by ? lengths[column] : 1;
      return size ? X[Math.floor(at / n) * n + column] / size : 0;
    });
  return { U: sorted(U, true), S: order.map((i) => lengths[i]), V: sorted(V, false) };
}

/** X [rows, n] times M [n, n]. */
function product(X, M, n) {
  const result = new Float64Array(X.length);
  plainAddProduct(result, X, transposed(M, n, n, new Float64Array(n * n)), X.length / n, n, n);
  return result;
}
