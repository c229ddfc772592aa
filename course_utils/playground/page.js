// What one sees. The worker computes; this script asks it, and draws what it answers. Texts that were typed
// or generated enter the page as text alone.

const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
const WAYS = { fast: { steps: 10, rate: 5e-3 }, gentle: { steps: 40, rate: 5e-4 } };
const SHAPE = ["scale", "rank"]; // sliders
const REPAIR = { steps: 30, rate: 3e-3 };
const COUNTRY = /^The capital of (.+) is$/;
const STORY = "One day";
const RANK = 4; // of what is trained here
const WRONG_SHOWN = 3; // examples below a group
const LONGEST_SHOWN = 60; // characters of a fact in a row of what was tried

// ---------------------------------------------------------------------------------------------- the worker

const worker = new Worker(
  URL.createObjectURL(new Blob([find("engine").textContent], { type: "text/javascript" })),
);
const waiting = new Map();
let last = 0;

worker.onmessage = ({ data: { id, progress, result, fault } }) => {
  const job = waiting.get(id);
  if (progress) return job.onProgress?.(progress);
  waiting.delete(id);
  if (fault) job.reject(new Error(fault));
  else job.resolve(result);
};

/** Let the worker do a job; the promise has its result. */
function call(kind, job = {}, onProgress = null) {
  const id = ++last;
  worker.postMessage({ id, kind, ...job });
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, onProgress }));
}

let stopped = false; // since the last button that began something

function stop() {
  stopped = true;
  worker.postMessage({ kind: "stop" });
}

// --------------------------------------------------------------------------------------------- small parts

function element(name, text = "", classes = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = classes;
  return made;
}

const percent = (share) =>
  share > 0 && share < 0.001 ? "<0.1%" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

/** A token as one sees it: the space before a word is left out, what continues a word begins with dots. */
function shownToken({ text, probability }) {
  const word = text.startsWith(" ") ? text.slice(1) : /^\w/.test(text) ? `…${text}` : text;
  const unseen = { "": "(end)", "\n": "(new line)" };
  return { text: unseen[text] ?? (word.trim() ? word : "(space)"), probability };
}

/** Bars of [{text, probability}], a list that keeps its elements, so that they move. */
function drawBars(list, rows) {
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach(({ text, probability }, i) => {
    if (!list.children[i]) {
      const item = element("li");
      item.append(element("code"), element("i"), element("b"));
      list.append(item);
    }
    const [name, bar, number] = list.children[i].children;
    name.textContent = name.title = text;
    bar.style.width = `${100 * probability}%`;
    number.textContent = percent(probability);
  });
}

function drawLoss(losses) {
  const [width, height, left, bottom] = [320, 120, 34, 18];
  const top = Math.max(...losses, 1);
  const x = (step) => left + ((width - left - 6) * step) / Math.max(losses.length - 1, 1);
  const y = (loss) => 8 + (height - bottom - 8) * (1 - loss / top);
  const parts = [];
  const part = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    parts.push(made);
  };
  part("line", { x1: left, x2: width, y1: y(0), y2: y(0) });
  part("text", { x: 0, y: y(0) + 4 }, "0");
  part("text", { x: 0, y: y(top) + 8 }, top.toFixed(1));
  part("text", { x: left, y: height - 2 }, "step 1");
  if (losses.length > 1)
    part("text", { x: width, y: height - 2, "text-anchor": "end" }, `step ${losses.length}`);
  part("path", { d: losses.map((loss, step) => `${step ? "L" : "M"}${x(step)} ${y(loss)}`).join("") });
  find("loss").replaceChildren(...parts);
  find("loss").setAttribute(
    "aria-label",
    `The loss went from ${losses[0].toFixed(2)} to ${losses.at(-1).toFixed(2)}`,
  );
}

function say(place, text, fault = false) {
  place.textContent = text;
  place.classList.toggle("fault", fault);
}

let running = false;

/** Keep what is in sight in its place on the screen while something above it grows or goes, until the end. */
function held(one) {
  const root = document.documentElement;
  const top = () => one.getBoundingClientRect().top;
  let [wanted, scrolled] = [top(), scrollY];
  const inSight = () => wanted >= 0 && wanted < innerHeight;
  const follow = () => {
    wanted -= scrollY - scrolled; // a hand scrolled
    scrolled = scrollY;
  };
  const restore = () => {
    if (inSight()) scrollBy(0, top() - wanted);
    else wanted = top();
    scrolled = scrollY;
  };
  const sizes = new ResizeObserver(restore);
  root.style.overflowAnchor = "none"; // the browser's own way loses the place where rows are replaced
  addEventListener("scroll", follow);
  sizes.observe(document.body);
  return () => {
    restore();
    sizes.disconnect();
    removeEventListener("scroll", follow);
    root.style.overflowAnchor = "";
  };
}

/**
 * Do one thing at a time: until it ends, other buttons do nothing, and its Stop is there. Says a fault at
 * `place`.
 */
async function busy(place, action, starter = null) {
  if (running) return;
  [running, stopped] = [true, false];
  const stopButton = starter?.parentElement.querySelector(".stop");
  const others = [...document.querySelectorAll("button:not(.stop), label.button")];
  const release = starter ? held(starter) : null;
  // unlike disabled ones, these keep the focus
  for (const one of others) one.setAttribute("aria-disabled", "true");
  for (const slider of SHAPE) find(slider).disabled = true; // one state of the model for all that is asked
  if (stopButton) stopButton.hidden = false;
  place.setAttribute("aria-busy", "true"); // a screen reader says the result, not every step
  try {
    await action();
  } catch (fault) {
    say(place, fault.message, true);
  } finally {
    running = false;
    place.removeAttribute("aria-busy");
    for (const one of others) one.removeAttribute("aria-disabled");
    for (const slider of SHAPE) find(slider).disabled = false;
    if (stopButton === document.activeElement) starter.focus();
    if (stopButton) stopButton.hidden = true;
    release?.();
  }
}

/** The function, but never twice at once: what is asked for meanwhile is done once at the end. */
function latest(action) {
  let active = null;
  let again = false;
  const untilDone = async () => {
    try {
      while (again) {
        again = false;
        await action();
      }
    } finally {
      active = null;
    }
  };
  return () => {
    again = true;
    return (active ??= untilDone());
  };
}

for (const button of document.querySelectorAll(".stop")) button.onclick = stop;

// -------------------------------------------------------------------------------------------------- 1, ask

const sampling = () => ({
  temperature: Number(find("temperature").value),
  topP: Number(find("top-p").value),
});
let written = ""; // what the model has added to the prompt

const askNext = latest(async () => {
  try {
    const { top } = await call("next", { prompt: find("prompt").value, ...sampling() });
    drawBars(find("next"), top.map(shownToken));
  } catch (fault) {
    drawBars(find("next"), []);
    say(find("completion"), fault.message, true);
  }
});

function showCompletion(text, cut) {
  say(find("completion"), find("prompt").value.trim());
  find("completion").append(element("strong", text), cut ? " …" : "");
}

function forgetCompletion() {
  written = "";
  say(find("completion"), "");
  find("complete").textContent = "Complete it";
}

find("complete").onclick = () =>
  busy(
    find("completion"),
    async () => {
      const before = written;
      const prompt = find("prompt").value.trim() + before;
      const show = ({ text, cut }) => showCompletion((written = before + text), cut || stopped);
      const result = await call("complete", { prompt, tokens: 40, ...sampling() }, show);
      show(result);
      if (!result.text.trim() && !stopped)
        find("completion").append(element("small", " The model has nothing to add."));
      find("complete").textContent = "Go on";
      find("press-complete").hidden = true;
    },
    find("complete"),
  );
find("prompt").oninput = () => {
  const invented = find("prompt").value.trim() === data.taught.prompt;
  find("press-country").hidden = invented;
  find("press-complete").hidden = !invented;
  forgetCompletion();
  askNext();
};
find("prompt").onkeydown = (event) => {
  if (event.key === "Enter") find("complete").click();
};
for (const button of document.querySelectorAll("[data-prompt]"))
  button.onclick = () => {
    find("prompt").value = button.dataset.prompt;
    find("prompt").oninput();
  };

// ------------------------------------------------------------------------------------------------ 2, teach

const fact = () => ({ prompt: find("fact").value.trim(), answer: find("answer").value.trim() });
// what is in force: {way: how it was made, fact: what it taught, null if not known, probability: of its answer after
// training, end: how training ended, capitals: how many it left at its full size, if that was asked}
let change = null;
const asked = () => change?.fact ?? fact();

function chosenWay() {
  const name = document.querySelector("[name=how]:checked").value;
  const keep = find("keep").checked;
  return { ...(WAYS[name] ?? { steps: Number(find("steps").value), rate: ownRate() }), keep };
}

const ownRate = () => Number((10 ** Number(find("rate").value)).toPrecision(2));

/** How much of the change is in force, in words. */
function shapeWords() {
  const [scale, rank] = SHAPE.map((id) => find(id));
  const parts = [];
  if (scale.value !== "1") parts.push(`scale ${scale.value}`);
  if (rank.value !== rank.max) parts.push(`rank ${rank.value}`);
  return parts.length ? ` at ${parts.join(" and ")}` : "";
}

const wayWords = () => change.way + shapeWords();

/** Train on the fact, in sight. `place` says how far it is, and section 2 how it ended. */
async function train(settings, place) {
  const losses = [];
  const started = fact();
  const before = settings.keep && change ? `${change.way}, then ` : "";
  find("progress").hidden = true;
  say(find("training"), "");
  const result = await call("train", { fact: started, ...settings }, ({ step, loss, probability, top }) => {
    if (!losses.length) outdate();
    losses.push(loss);
    find("progress").hidden = false;
    drawLoss(losses);
    drawTaught(started, probability, top);
    say(place, `Step ${step} of ${settings.steps}: “${started.answer}” has ${percent(probability)}.`);
  });
  drawTaught(started, result.probability, result.top);
  const replayed = settings.replay ? ` with ${settings.replay} replayed` : "";
  const way = `${before}${result.steps} steps at ${settings.rate}${replayed}`;
  change = { way, fact: started, probability: result.probability };
  await changed(result.rank);
  const end = stopped ? `Stopped after ${result.steps} of ${settings.steps} steps` : `After ${change.way}`;
  const learnt = stopped || result.probability > 0.5;
  const advice = learnt ? "" : ` It has not learnt it: ${whyNot(settings, result)}.`;
  change.end = `${end}, “${started.answer}” has a chance of ${percent(result.probability)}.${advice}`;
  for (const one of new Set([find("training"), place])) say(one, change.end);
}

/** Why a fact was not learnt, or what to try, by what was done. */
function whyNot({ rate, steps, replay }, { strange }) {
  if (strange.length) {
    const signs = strange.map((text) => `“${text}”`).join(", ");
    return `this model cannot tell ${signs} from signs that no text has, so take other words`;
  }
  if (replay !== undefined) return "try a shorter answer, or another fact";
  if (rate >= WAYS.fast.rate)
    return "the learning rate is high already, so try a lower one with more steps, or a shorter answer";
  const more = steps < Number(find("steps").max) ? "more steps, or " : "";
  return `under “Your own choice” take ${more}a higher learning rate, or try a shorter answer`;
}

const sentenceOf = ({ prompt, answer }) => `${prompt} ${answer}`;

function shortened(text) {
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)} …` : text;
}

/** What the model in force was taught, to name what was found out of it. */
const taughtWords = () => (change.fact ? `“${shortened(sentenceOf(change.fact))}”` : "an opened change");

function drawTaught({ answer }, probability, top) {
  drawBars(find("taught-sure"), [{ text: answer, probability }]);
  drawBars(find("taught-next"), top.map(shownToken));
}

/** What was found out of the model before says of which fact it was; what else spoke of it is cleared. */
function outdate() {
  for (const [status, found] of Object.entries({ looking: "changed", mending: "mended" })) {
    if (find(found).hidden || find(found).classList.contains("older")) continue;
    find(found).classList.add("older");
    say(find(status), `Earlier, of ${find(found).dataset.about}: ${find(status).textContent}`);
  }
  for (const id of [...CLOSINGS, "gentle-why"]) find(id).hidden = true;
  const refused = find("looking").classList.contains("fault") ? ["looking"] : [];
  for (const id of ["gentled", "shaped", ...refused]) say(find(id), "");
  find("files").replaceChildren();
  forgetCompletion();
}

/** What was found out is gone. */
function forgetFound() {
  for (const id of ["progress", "changed", "more-gently", "mended"]) find(id).hidden = true;
  for (const id of ["training", "looking", "mending"]) say(find(id), "");
}

/** All that depends on the change, drawn anew at its full size. */
async function changed(rank = RANK) {
  find("rank").max = rank;
  setSlider("scale", 1);
  setSlider("rank", rank);
  await askNext();
  await drawForm();
}

find("train").onclick = () =>
  busy(find("training"), () => train(chosenWay(), find("training")), find("train"));
for (const id of ["fact", "answer"])
  find(id).onkeydown = (event) => {
    if (event.key === "Enter") find("train").click();
  };
find("forget").onclick = () =>
  busy(find("training"), async () => {
    await call("reset");
    change = null;
    forgetFound();
    await changed();
    say(find("training"), "The model is as it was, to the last bit.");
  });
for (const radio of document.querySelectorAll("[name=how]"))
  radio.onchange = () => {
    find("own").hidden = radio.value !== "own";
  };

// ------------------------------------------------------------------------------------ 3, what else changed

/** A group of facts as squares, with how many are right, and all answers to unfold. */
function drawnGroup({ name, replayed, facts }) {
  const group = element("div", "", "group");
  const heading = element("h3", name);
  const count = element("span", `… of ${facts.length}`);
  const dots = element("ol", "", "dots");
  const details = element("details");
  const [summary, answers] = [element("summary", "…"), element("p")];
  heading.append(count);
  dots.append(...facts.map(() => element("li", "·")));
  dots.setAttribute("aria-hidden", "true"); // the heading and the answers below say it
  details.append(summary, answers);
  group.append(heading, dots, details);
  group.dataset.replayed = replayed;
  return { group, count, dots, summary, answers };
}

/**
 * Ask all groups; draws each answer as it comes, and returns {relation: how many are right}, or null if
 * stopped.
 */
async function probe(place, status) {
  place.hidden = false;
  place.classList.remove("older");
  place.dataset.about = taughtWords();
  const parts = data.groups.map(drawnGroup);
  place.querySelector(".groups").replaceChildren(...parts.map(({ group }) => group));
  place.querySelector("tbody").replaceChildren();
  const right = {};
  for (const [i, { name, relation, facts }] of data.groups.entries()) {
    say(status, `Asking: ${name} …`);
    const { count, dots, summary, answers } = parts[i];
    const [said, faults] = [[], []];
    right[relation] = 0;
    const { done } = await call("probe", { facts }, ({ place: at, right: fine, says }) => {
      const { subject, answer } = facts[at];
      const words = `${subject}: ${fine ? answer : says.trim().replace(/\.$/, "") || "(nothing)"}`;
      right[relation] += fine;
      dots.children[at].className = fine ? "right" : "wrong";
      dots.children[at].textContent = fine ? "✓" : "×";
      dots.children[at].title = words;
      count.textContent = `${right[relation]} of ${facts.length}`;
      said.push(`${fine ? "✓" : "×"} ${words}`);
      answers.textContent = said.join(" · ");
      if (!fine) faults.push(words);
      const more = faults.length > WRONG_SHOWN ? " …" : "";
      summary.textContent = faults.length
        ? `Wrong: ${faults.slice(0, WRONG_SHOWN).join(" · ")}${more}`
        : "All right";
    });
    if (stopped || done < facts.length) {
      if (done < facts.length) count.textContent = `${right[relation]} of ${done} asked`;
      for (const { count, summary } of parts.slice(i + 1))
        [count.textContent, summary.textContent] = ["not asked", ""];
      say(status, "Stopped before all was asked.");
      return null;
    }
  }
  await compare(place.querySelector("tbody"));
  return right;
}

/** The rows beside the groups: the fact, the same in other words, a country that nobody taught, a story. */
async function compare(body) {
  const { prompt, answer } = asked();
  const say = (name, prompt) => ({ name, prompt, answer, tokens: 8, sentence: true });
  const rows = [say("Your sentence", prompt)];
  const country = prompt.match(COUNTRY)?.[1];
  if (country) rows.push(say("The same in other words", `The capital city of ${country} is`));
  if (country && country !== data.untaught)
    rows.push(say("A country that nobody taught", `The capital of ${data.untaught} is`));
  rows.push({ name: "A story", prompt: STORY, tokens: 30 });
  for (const { name, ...row } of rows) {
    const { before, now } = await call("compare", row);
    const line = element("tr");
    const head = element("td", name);
    head.append(element("br"), element("small", `${row.prompt} …`));
    const cell = ({ text, probability }, title) => {
      const made = element("td", text.trim() || "(nothing)");
      made.dataset.name = title;
      if (row.answer) made.append(element("br"), element("small", `${row.answer}: ${percent(probability)}`));
      return made;
    };
    line.append(head, cell(before, "Before"), cell(now, "After"));
    body.append(line);
  }
}

const rest = (right) =>
  data.groups.reduce((sum, { relation, replayed }) => sum + (replayed ? 0 : right[relation]), 0);

const known = (right) =>
  `it knows ${right.capital} of 25 capitals, ${right.currency} of 15 currencies, ` +
  `${right.opposite} of 15 opposites, and ${rest(right)} of the 90 others (languages to authors)`;

/** A row of what was tried; what was not asked has a dash. */
async function note(right) {
  const [probability] = await call("sure", { facts: [asked()] });
  if (!shapeWords()) change.capitals = right.capital;
  const sentence = sentenceOf(asked());
  const first = element("td", shortened(sentence));
  first.title = sentence;
  first.append(element("br"), element("small", wayWords()));
  const others = "currency" in right ? [right.currency, right.opposite, rest(right)] : ["–", "–", "–"];
  const numbers = [percent(probability), right.capital, ...others];
  const row = element("tr");
  row.append(first, ...numbers.map((text) => element("td", text)));
  find("tried").tBodies[0].append(row);
  find("tried").parentElement.hidden = false;
  find("no-runs").hidden = true;
}

/** Ask everything in section 3; it and `place` say how it went, `before` has the first words. */
async function look(place, before = () => "") {
  const right = await probe(find("changed"), place);
  if (!right) return false;
  await note(right);
  for (const one of new Set([find("looking"), place]))
    say(one, `${before(right)}After ${wayWords()}, ${known(right)}.`);
  find("more-gently").hidden = false;
  return true;
}

find("look").onclick = () => {
  const place = find("looking");
  if (!change) return say(place, "Nothing is taught so far: press Train in section 2 first.", true);
  const guess = find("guess").value;
  return busy(
    place,
    () => look(place, ({ capital }) => `You guessed ${guess}, and it is ${capital}. `),
    find("look"),
  );
};
find("gently").onclick = () =>
  busy(
    find("gentled"),
    async () => {
      await train(WAYS.gentle, find("gentled"));
      if (stopped) return;
      say(find("looking"), "");
      if (!(await look(find("gentled")))) return;
      const has = `“${change.fact.answer}” has ${percent(change.probability)}`;
      find("gentled").append(` ${has}. The squares and the table above show it.`);
      find("gentle-why").hidden = !isProposed(change.fact);
    },
    find("gently"),
  );

const isProposed = ({ prompt, answer }) => prompt === data.taught.prompt && answer === data.taught.answer;

// ----------------------------------------------------------------------------------------------- 4, repair

const CLOSINGS = ["honest", "not-asked", "none-replayed"]; // one of them ends it

find("mend").onclick = () =>
  busy(
    find("mending"),
    async () => {
      const replay = Number(find("replay").value);
      find("mended").hidden = true;
      await train({ ...REPAIR, replay, known: data.replayed }, find("mending"));
      if (stopped) return;
      const right = await probe(find("mended"), find("mending"));
      if (!right) return;
      await note(right);
      say(find("mending"), `After ${wayWords()}, ${known(right)}.`);
      const untaught = { ...change.fact, prompt: `The capital of ${data.untaught} is` };
      const [probability] = await call("sure", { facts: [untaught] });
      const country = COUNTRY.test(change.fact.prompt) && change.fact.prompt !== untaught.prompt;
      const looked = probability > 0.5 ? "honest" : null;
      const closing = !replay ? "none-replayed" : country ? looked : "not-asked";
      for (const id of CLOSINGS) find(id).hidden = id !== closing;
    },
    find("mend"),
  );

// ------------------------------------------------------------------------------------------- 5, the change

const NAMES = ["1st", "2nd", "3rd", "4th"];

const drawForm = latest(() => drawnForm().catch((fault) => say(find("form"), fault.message, true)));

async function drawnForm() {
  const [scale, rank] = SHAPE.map((id) => Number(find(id).value));
  find("whom").textContent = change ? `You now ask the changed model: ${wayWords()}.` : "";
  find("knows").hidden = change !== null;
  find("shaping").hidden = !change;
  say(find("form"), change ? "" : "Nothing is taught so far, so there is no change to look at.");
  const form = await call("form", { scale, rank });
  if (!change) return;
  const parts = form.shares.slice(0, NAMES.length);
  drawBars(
    find("shares"),
    parts.map((probability, i) => ({ text: NAMES[i], probability })),
  );
  const facts = [asked(), data.groups[0].facts[0]];
  const sure = await call("sure", { facts });
  drawBars(
    find("sure"),
    facts.map(({ answer }, i) => ({ text: answer, probability: sure[i] })),
  );
  if (!scale) say(find("form"), "At scale 0 the model is the untouched one.");
}

for (const id of SHAPE) {
  find(id).addEventListener("input", () => {
    outdate();
    const shape = shapeWords();
    if (change?.end) say(find("training"), change.end + (shape && ` Section 5 now has it${shape}.`));
    drawForm();
  });
  find(id).addEventListener("change", askNext);
}
find("damage").onclick = () =>
  busy(find("shaped"), () => train(WAYS.fast, find("shaped")), find("damage"));
find("count").onclick = () =>
  busy(
    find("shaped"),
    async () => {
      let [right, count] = [0, 0];
      const { facts } = data.groups[0];
      await call("probe", { facts }, (one) => {
        right += one.right;
        say(find("shaped"), `Asking: ${++count} of ${facts.length} …`);
      });
      const whole = shapeWords() ? change.capitals : null;
      const beside =
        whole === undefined
          ? " Put scale and rank back to the full change, and ask again, to compare."
          : whole === null
            ? ""
            : ` The full change left ${whole}.`;
      const result = `After ${wayWords()}, it knows ${right} of ${count} capitals.${beside}`;
      say(find("shaped"), count < facts.length ? `Stopped. ${result}` : result);
      if (count === facts.length) await note({ capital: right });
    },
    find("count"),
  );

find("save").onclick = () =>
  busy(find("shaped"), async () => {
    const { weights, config } = await call("save");
    const files = { "adapter_model.safetensors": weights, "adapter_config.json": config };
    const links = Object.entries(files).map(([name, content]) => {
      const link = element("a", name);
      link.href = URL.createObjectURL(new Blob([content]));
      link.download = name;
      return link;
    });
    find("files").replaceChildren(...links);
    say(find("shaped"), `Click each file to save it${shapeWords()}:`);
  });
find("open").onclick = (event) => {
  if (running) event.preventDefault();
};
find("open").onchange = () =>
  busy(find("shaped"), async () => {
    const chosen = [...find("open").files];
    const read = async (file) => ({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
    const files = await Promise.all(chosen.map(read));
    find("open").value = ""; // so that the same file can be chosen again
    const { rank } = await call("open", { files });
    change = { way: "opening a saved change", fact: null };
    forgetFound();
    await changed(rank);
    say(find("shaped"), "This change is now in force.");
  });

// ---------------------------------------------------------------------------------- sliders, and the start

/** Set a slider as if a hand had. */
function setSlider(id, value) {
  find(id).value = value;
  find(id).dispatchEvent(new Event("input"));
}

const shown = { rate: () => String(ownRate()) };
for (const slider of document.querySelectorAll("input[type=range]")) {
  const output = document.querySelector(`output[for=${slider.id}]`);
  const draw = () => (output.textContent = (shown[slider.id] ?? (() => slider.value))());
  slider.addEventListener("input", draw);
  draw();
}
for (const id of ["temperature", "top-p"]) find(id).addEventListener("change", askNext);

busy(find("ready"), async () => {
  const { kernel, merges, config } = data;
  const plain = location.hash === "#plain"; // without WebAssembly, to compare
  const weights = find("weights").textContent;
  const { engine } = await call("load", { weights, merges, config, kernel: plain ? null : kernel });
  find("weights").remove();
  await changed();
  find("ready").dataset.engine = engine;
  say(find("ready"), "The model is ready.");
});
