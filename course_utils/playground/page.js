// What one sees. The worker computes; this script asks it, and draws what it answers. Texts that were typed
// or generated enter the page as text alone.

const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
const WAYS = { fast: { steps: 10, rate: 5e-3 }, gentle: { steps: 40, rate: 5e-4 } };
const REPAIR = { steps: 30, rate: 3e-3 };
const STORY = "One day";
const RANK = 4; // of what is trained here
const WRONG_SHOWN = 4; // examples below a group

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
    name.textContent = text;
    bar.style.width = `${100 * probability}%`;
    number.textContent = percent(probability);
  });
}

function drawLoss(losses) {
  const [width, height, left, bottom] = [320, 120, 26, 18];
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

/**
 * Do one thing at a time: until it ends, other buttons do nothing, and its Stop is there. Says a fault at
 * `place`.
 */
async function busy(place, action, starter = null) {
  if (running) return;
  [running, stopped] = [true, false];
  const stopButton = starter?.parentElement.querySelector(".stop");
  const others = [...document.querySelectorAll("button:not(.stop), label.button")];
  // unlike disabled ones, these keep the focus
  for (const one of others) one.setAttribute("aria-disabled", "true");
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
    if (stopButton === document.activeElement) starter.focus();
    if (stopButton) stopButton.hidden = true;
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

const begun = () => find("prompt").value.trim() + written;

const askNext = latest(async () => {
  try {
    const { top } = await call("next", { prompt: begun(), ...sampling() });
    drawBars(find("next"), top.map(shownToken));
  } catch (fault) {
    drawBars(find("next"), []);
    say(find("completion"), fault.message, true);
  }
});

function showCompletion(text) {
  say(find("completion"), find("prompt").value.trim());
  find("completion").append(element("strong", text));
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
      const show = ({ text }) => showCompletion((written = before + text));
      show(await call("complete", { prompt: begun(), tokens: 40, ...sampling() }, show));
      find("complete").textContent = "One more sentence";
      await askNext();
    },
    find("complete"),
  );
find("prompt").oninput = () => {
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
let way = null; // how the change was trained, in words
let taught = null; // which fact

function chosenWay() {
  const name = document.querySelector("[name=how]:checked").value;
  if (name !== "own") return { ...WAYS[name], keep: false };
  return { steps: Number(find("steps").value), rate: ownRate(), keep: find("keep").checked };
}

const ownRate = () => Number((10 ** Number(find("rate").value)).toPrecision(2));

/** Train on the fact, in sight. `place` says how far it is. */
async function train(settings, place) {
  const losses = [];
  const started = fact();
  const result = await call("train", { fact: started, ...settings }, ({ step, loss, probability, top }) => {
    losses.push(loss);
    find("progress").hidden = false;
    drawLoss(losses);
    drawTaught(started, probability, top);
    say(place, `Step ${step} of ${settings.steps}: “${started.answer}” has ${percent(probability)}.`);
  });
  drawTaught(started, result.probability, result.top);
  taught = started;
  const replayed = settings.replay ? ` with ${settings.replay} replayed` : "";
  way = `${result.steps} steps at ${settings.rate}${replayed}`;
  const end = `After ${result.steps} steps of ${Math.round(result.milliseconds)} ms`;
  say(place, `${end}, “${started.answer}” has a chance of ${percent(result.probability)}.`);
  await changed(result.rank);
}

function drawTaught({ answer }, probability, top) {
  drawBars(find("taught-sure"), [{ text: answer, probability }]);
  drawBars(find("taught-next"), top.map(shownToken));
}

/** What depends on the model, drawn anew. */
async function changed(rank = RANK) {
  forgetCompletion();
  find("files").replaceChildren();
  setSlider("scale", 1);
  find("rank").max = rank;
  setSlider("rank", rank);
  await askNext();
  await drawForm();
}

find("train").onclick = () =>
  busy(find("training"), () => train(chosenWay(), find("training")), find("train"));
find("forget").onclick = () =>
  busy(find("training"), async () => {
    await call("reset");
    way = taught = null;
    for (const id of ["progress", "changed", "mended", "honest", "more-gently"]) find(id).hidden = true;
    for (const id of ["mending", "shaped"]) say(find(id), "");
    say(find("training"), "The model is as it was, to the last bit.");
    await changed();
  });
for (const radio of document.querySelectorAll("[name=how]"))
  radio.onchange = () => {
    find("own").hidden = radio.value !== "own";
  };

// ------------------------------------------------------------------------------------ 3, what else changed

/** A group of facts as squares, with how many are right and some that are wrong. */
function drawnGroup({ name, replayed, facts }) {
  const group = element("div", "", "group");
  const heading = element("h3", name);
  const count = element("span", `… of ${facts.length}`);
  const dots = element("ol", "", "dots");
  const wrong = element("p");
  heading.append(count);
  dots.append(...facts.map(() => element("li", "·")));
  dots.setAttribute("aria-hidden", "true"); // the heading and the line below say it
  group.append(heading, dots, wrong);
  group.dataset.replayed = replayed;
  return { group, count, dots, wrong };
}

/**
 * Ask all groups; draws each answer as it comes, and returns {relation: how many are right}, or null if
 * stopped.
 */
async function probe(place) {
  place.hidden = false;
  const status = place.querySelector(".status");
  const parts = data.groups.map(drawnGroup);
  place.querySelector(".groups").replaceChildren(...parts.map(({ group }) => group));
  place.querySelector("tbody").replaceChildren();
  const right = {};
  for (const [i, { name, relation, facts }] of data.groups.entries()) {
    say(status, `Asking: ${name} …`);
    const { count, dots, wrong } = parts[i];
    const faults = [];
    right[relation] = 0;
    const { done } = await call("probe", { facts }, ({ place: at, right: fine, says }) => {
      const { subject, answer } = facts[at];
      right[relation] += fine;
      dots.children[at].className = fine ? "right" : "wrong";
      dots.children[at].textContent = fine ? "✓" : "×";
      dots.children[at].title = `${subject}: ${fine ? answer : says}`;
      count.textContent = `${right[relation]} of ${facts.length}`;
      if (!fine) faults.push(`${subject}: ${says.trim().replace(/\.$/, "") || "(nothing)"}`);
      wrong.textContent =
        faults.slice(0, WRONG_SHOWN).join(" · ") + (faults.length > WRONG_SHOWN ? " …" : "");
    });
    if (stopped || done < facts.length) {
      say(status, "Stopped.");
      return null;
    }
  }
  await compare(place.querySelector("tbody"));
  return right;
}

/** The rows beside the groups: the fact in other words, a country that nobody taught, a story. */
async function compare(body) {
  const { prompt, answer } = taught ?? fact();
  const rows = [{ name: "Your sentence", prompt, answer, tokens: 8, sentence: true }];
  const country = prompt.match(/^The capital of (.+) is$/)?.[1];
  if (country)
    rows.push({
      name: "In other words",
      prompt: `The capital city of ${country} is`,
      answer,
      tokens: 8,
      sentence: true,
    });
  rows.push({ name: "A story", prompt: STORY, tokens: 30 });
  const untaught = `The capital of ${data.untaught} is`;
  rows.push({ name: "A country that nobody taught", prompt: untaught, answer, tokens: 8, sentence: true });
  for (const { name, ...row } of rows) {
    const { before, now } = await call("compare", row);
    const line = element("tr");
    const head = element("td", name);
    head.append(element("br"), element("small", `${row.prompt} …`));
    const cell = ({ text, probability }, title) => {
      const made = element("td", text.trim());
      made.dataset.name = title;
      if (row.answer) made.append(element("br"), element("small", `${row.answer}: ${percent(probability)}`));
      return made;
    };
    line.append(head, cell(before, "Before"), cell(now, "Now"));
    body.append(line);
  }
}

const rest = (right) =>
  data.groups.reduce((sum, { relation, replayed }) => sum + (replayed ? 0 : right[relation]), 0);

/** A row of what was tried. */
async function note(right) {
  const [probability] = await call("sure", { facts: [taught ?? fact()] });
  const numbers = [right.capital, right.currency, right.opposite, rest(right)];
  const row = element("tr");
  row.append(element("td", way), ...[percent(probability), ...numbers].map((text) => element("td", text)));
  find("tried").tBodies[0].append(row);
  find("tried").parentElement.hidden = false;
  find("no-runs").hidden = true;
}

/** Ask everything in section 3, and say how it went, after the words `before`. */
async function look(status, before) {
  const right = await probe(find("changed"));
  if (!right) return;
  await note(right);
  const known = `it knows ${right.capital} of 25 capitals, and ${rest(right)} of the 90 other facts`;
  say(status, `${before}After ${way}, ${known}.`);
  find("more-gently").hidden = false;
}

find("look").onclick = () => {
  const status = find("changed").querySelector(".status");
  find("changed").hidden = false;
  if (!way) return say(status, "Nothing was taught yet: press Train in section 2 first.", true);
  return busy(status, () => look(status, `You guessed ${find("guess").value}. `), find("look"));
};
find("gently").onclick = () => {
  const status = find("changed").querySelector(".status");
  return busy(
    status,
    async () => {
      document.querySelector("[value=gentle]").click();
      await train(WAYS.gentle, status);
      if (!stopped) await look(status, "");
    },
    find("gently"),
  );
};

// ----------------------------------------------------------------------------------------------- 4, repair

find("mend").onclick = () =>
  busy(
    find("mending"),
    async () => {
      const replay = Number(find("replay").value);
      await train({ ...REPAIR, replay, known: data.replayed }, find("mending"));
      if (stopped) return;
      const right = await probe(find("mended"));
      if (!right) return;
      await note(right);
      const status = find("mended").querySelector(".status");
      const known = `${right.capital} of 25 capitals, and ${rest(right)} of the 90 facts that no repair replays`;
      say(status, `After ${way}, it knows ${known}.`);
      const [untaught] = await call("sure", {
        facts: [{ ...fact(), prompt: `The capital of ${data.untaught} is` }],
      });
      find("honest").hidden = !(replay && untaught > 0.5);
    },
    find("mend"),
  );

// ------------------------------------------------------------------------------------------- 5, the change

const NAMES = ["1st", "2nd", "3rd", "4th"];

const drawForm = latest(() => drawnForm().catch((fault) => say(find("form"), fault.message, true)));

async function drawnForm() {
  const [scale, rank] = ["scale", "rank"].map((id) => Number(find(id).value));
  const form = await call("form", { scale, rank });
  const parts = form.shares.slice(0, NAMES.length);
  drawBars(
    find("shares"),
    parts.map((probability, i) => ({ text: NAMES[i], probability })),
  );
  const facts = [taught ?? fact(), data.groups[0].facts[0]];
  const sure = await call("sure", { facts });
  drawBars(
    find("sure"),
    facts.map(({ answer }, i) => ({ text: answer, probability: sure[i] })),
  );
  const untouched = scale ? "" : "At scale 0 the model is the untouched one.";
  say(find("form"), parts.length ? untouched : "Nothing was taught yet, so there is no change to look at.");
}

for (const id of ["scale", "rank"]) {
  find(id).addEventListener("input", drawForm);
  find(id).addEventListener("change", askNext);
}
find("count").onclick = () =>
  busy(
    find("shaped"),
    async () => {
      let [right, asked] = [0, 0];
      const { facts } = data.groups[0];
      await call("probe", { facts }, (one) => {
        right += one.right;
        say(find("shaped"), `Asking: ${++asked} of ${facts.length} …`);
      });
      const where = `at scale ${find("scale").value} and rank ${find("rank").value}`;
      say(find("shaped"), `It knows ${right} of ${asked} capitals ${where}.`);
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
    say(find("shaped"), "Here are the two files:");
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
    [way, taught] = ["a change that was opened", null];
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
  say(find("ready"), `The model is ready. It computes in this page, in ${engine}.`);
});
