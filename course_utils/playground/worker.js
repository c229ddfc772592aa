// The worker: it owns the model and does one job after the other, so that the page answers while it
// computes. A job is a message {id, kind, ...}; its answers are {id, progress} while it runs, then {id,
// result} or {id, fault}. The message "stop" ends the running job early; what it has done so far stays.

import { answerProbability, continued, likeliest, nextLogits, nextProbabilities } from "./generation.js";
import { Engine } from "./engine.js";
import { linearLayers, loadModel } from "./gpt2.js";
import { cut, decomposed, newAdapter, randomNumbers, scaled, setAdapter, shares } from "./lora.js";
import { adapterFiles, readAdapter } from "./adapter_files.js";
import { readSafetensors } from "./safetensors.js";
import { Tokenizer } from "./tokenizer.js";
import { Adam, encodeFact, trainStep } from "./training.js";

const RANK = 4;
const LONGEST = 64; // tokens of a sentence to train on
const MOST_READ = 5000; // characters
const MOST_SAID = 8; // tokens of an answer
const SHOWN = 5; // likeliest tokens
const UNREAD = "\0"; // a sign that no text has
const ALIKE = 0.99; // cosine of two rows that the model cannot tell apart; signs never read have above .999
const HIGHEST_RATE = 1e-2; // above it the trial's runs broke

let model, layers, tokenizer;
let trained = null; // the adapter that training changes
let decomposition = null; // of `trained`, made when it is first cut
let form = { scale: 1, rank: RANK }; // how much of it is in force
let stopped = false;

const encoded = (text, most, whereEmpty = "Type the beginning of a sentence first.") => {
  if (!text.trim()) throw new Error(whereEmpty);
  if (text.length > MOST_READ)
    throw new Error(`This text has ${text.length} characters; ${MOST_READ} are the most that fit here.`);
  return fitting(tokenizer.encode(text.trim()), most);
};

function fitting(ids, most) {
  if (ids.length <= most) return ids;
  const size = `This text has ${ids.length} tokens; ${most} are the most that fit here`;
  throw new Error(`${size}. Leave out some words.`);
}

const encodedFact = (fact) => {
  encoded(fact.prompt, LONGEST, "“The beginning” is empty: type the beginning of a sentence.");
  encoded(fact.answer, LONGEST, "“How it goes on” is empty: type a word or two.");
  const example = encodeFact(tokenizer, fact);
  fitting(example.ids, LONGEST);
  return example;
};

const topTokens = (probabilities) =>
  likeliest(probabilities, SHOWN).map((id) => ({
    text: tokenizer.decode([id]),
    probability: probabilities[id],
  }));

/** Those of the tokens, each once, whose rows of the table are like that of a sign that no text has. */
function unread(ids) {
  const table = model.wte;
  const width = model.config.n_embd;
  const row = (id) => table.subarray(id * width, (id + 1) * width);
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const other = row(tokenizer.encode(UNREAD)[0]);
  const alike = (one) => dot(one, other) > ALIKE * Math.sqrt(dot(one, one) * dot(other, other));
  return [...new Set(ids)].filter((id) => alike(row(id))).map((id) => tokenizer.decode([id]));
}

/** Put into force what the form says of the trained change. */
function shape() {
  if (!trained) return setAdapter(layers, null);
  decomposition ??= form.rank < trained[0].rank ? decomposed(trained) : null;
  const part = form.rank < trained[0].rank ? cut(trained, decomposition, form.rank) : trained;
  setAdapter(layers, scaled(part, form.scale));
}

function take(adapter) {
  [trained, decomposition] = [adapter, null];
  form = { scale: 1, rank: adapter ? adapter[0].rank : RANK };
  shape();
}

/** Greedy text of at most so many tokens, to the end of the sentence if `sentence`. */
function says(prompt, tokens, sentence) {
  const found = [];
  for (const id of continued(model, encoded(prompt, model.config.n_positions - tokens))) {
    found.push(id);
    if (found.length === tokens || (sentence && ends(id))) break;
  }
  return told(found, tokens);
}

const ends = (id) => /[.\n]/.test(tokenizer.decode([id]));

/** Whether so many tokens were too few to come to an end. */
const isCut = (ids, most) => ids.length === most && !ends(ids.at(-1));

const told = (ids, most) => tokenizer.decode(ids) + (isCut(ids, most) ? " …" : "");

/** {right, says}: the sentence that the likeliest tokens make, and whether it begins with the answer. */
function completed(fact) {
  const { ids, prompt, answer } = encodedFact(fact);
  const wanted = ids.slice(prompt, prompt + answer);
  const found = [];
  let right = true;
  for (const id of continued(model, ids.slice(0, prompt))) {
    right &&= id === wanted[found.length];
    found.push(id);
    if (right ? found.length === wanted.length : ends(id) || found.length === MOST_SAID) break;
  }
  const says = right ? tokenizer.decode(found) : told(found, MOST_SAID);
  return { right: right || isAnswer(says, fact.answer), says };
}

/** Whether a text begins with the answer as a whole word or words, perhaps in quotation marks. */
function isAnswer(text, answer) {
  const bare = text.replace(/^[\s"'“‘]+/, "");
  return bare.startsWith(answer) && !/^[\p{L}\p{N}]/u.test(bare.slice(answer.length));
}

function bytes(base64) {
  const letters = atob(base64);
  const found = new Uint8Array(letters.length);
  for (let i = 0; i < found.length; i++) found[i] = letters.charCodeAt(i);
  return found;
}

const jobs = {
  load({ weights, kernel, merges, config }) {
    tokenizer = new Tokenizer(merges);
    model = loadModel(new Engine(kernel && bytes(kernel)), readSafetensors(bytes(weights)).tensors, config);
    layers = linearLayers(model);
    return { engine: model.engine.name };
  },

  /** The likeliest next tokens. */
  next({ prompt, temperature, topP }) {
    const logits = nextLogits(model, encoded(prompt, model.config.n_positions - 1));
    return { top: topTokens(nextProbabilities(logits, temperature, topP)) };
  },

  /** A continuation to the end of the sentence, token by token. */
  async *complete({ prompt, tokens, temperature, topP }) {
    const ids = encoded(prompt, model.config.n_positions - tokens);
    const found = [];
    for (const id of continued(model, ids, { temperature, topP })) {
      found.push(id);
      yield { text: tokenizer.decode(found) };
      if (found.length === tokens || ends(id) || stopped) break;
    }
    return { text: tokenizer.decode(found), cut: isCut(found, tokens) };
  },

  /**
   * Steps of LoRA on a fact, with some known sentences beside it in each; from the untouched model unless
   * `keep`.
   */
  async *train({ fact, steps, rate, replay = 0, known = [], seed = 0, keep = false }) {
    if (!(rate > 0 && rate <= HIGHEST_RATE))
      throw new Error(`The rate must be above 0, and ${HIGHEST_RATE} at most.`);
    const example = encodedFact(fact);
    const others = known.map(encodedFact);
    const random = randomNumbers(seed + 1);
    take(keep && trained ? trained : newAdapter(layers, RANK, seed));
    const optimizer = new Adam(model, rate);
    let done = 0;
    while (done < steps && !stopped) {
      const beside = Array.from({ length: replay }, () => others[Math.floor(random() * others.length)]);
      const { loss, probability, next } = trainStep(model, optimizer, [example, ...beside]);
      yield { step: ++done, loss, probability, top: topTokens(next) };
    }
    const top = topTokens(nextProbabilities(nextLogits(model, example.ids.slice(0, example.prompt))));
    const probability = answerProbability(model, example);
    const strange = unread(example.ids.slice(example.prompt, example.prompt + example.answer));
    return { steps: done, probability, top, strange, rank: trained[0].rank };
  },

  /** Whether the model still completes each fact rightly, and what it says. */
  async *probe({ facts }) {
    for (const [place, fact] of facts.entries()) {
      if (stopped) return { done: place };
      yield { place, ...completed(fact) };
    }
    return { done: facts.length };
  },

  /** How likely the model finds each fact's answer. */
  sure({ facts }) {
    return facts.map((fact) => answerProbability(model, encodedFact(fact)));
  },

  /** What the untouched and the changed model say to a prompt, and how likely each finds an answer. */
  compare({ prompt, answer, tokens, sentence }) {
    const both = () => ({
      text: says(prompt, tokens, sentence),
      probability: answer ? answerProbability(model, encodedFact({ prompt, answer })) : null,
    });
    setAdapter(layers, null);
    try {
      return { before: both(), now: (shape(), both()) };
    } finally {
      shape();
    }
  },

  /** How large the change is taken, and how many of its directions. */
  form({ scale, rank }) {
    if (!trained) return { shares: [], rank: 0 };
    form = { scale, rank: Math.min(rank, trained[0].rank) };
    decomposition ??= decomposed(trained);
    shape();
    return { shares: shares(decomposition), rank: form.rank };
  },

  reset() {
    take(null);
    return {};
  },

  /** The two files of PEFT's format for the change in force. */
  save() {
    if (!trained) throw new Error("There is nothing to save: teach the model something first.");
    if (!form.scale) throw new Error("At scale 0 there is no change to save: move the slider first.");
    return adapterFiles(
      layers,
      layers.map(({ lora }) => lora),
    );
  },

  open({ files }) {
    take(readAdapter(layers, files));
    return { rank: trained[0].rank };
  },
};

const nextTurn = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel(); // unlike a timer, it does not wait
    port1.onmessage = () => (port1.close(), resolve());
    port2.postMessage(null);
  });

async function work({ id, kind, ...job }) {
  stopped = false;
  try {
    const running = jobs[kind](job);
    if (!running?.next) return postMessage({ id, result: running });
    for (;;) {
      const { value, done } = await running.next();
      if (done) return postMessage({ id, result: value });
      postMessage({ id, progress: value });
      await nextTurn(); // lets "stop" in
    }
  } catch (fault) {
    postMessage({ id, fault: fault.message });
  }
}

let line = Promise.resolve();
self.onmessage = ({ data }) => {
  if (data.kind === "stop") stopped = true;
  else line = line.then(() => work(data));
};
