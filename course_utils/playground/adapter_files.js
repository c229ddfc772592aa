// An adapter as PEFT and the course keep it: adapter_model.safetensors with A and B of each layer, and
// adapter_config.json, which says how large the change is taken.

import { readSafetensors, writeSafetensors } from "./safetensors.js";

const PREFIX = "base_model.model.";
const TARGETS = ["c_attn", "c_fc", "c_proj"]; // the ends of the names of all 16 matrices
const HIGHEST_RANK = 64;

/** {weights: bytes, config: text} of an adapter. */
export function adapterFiles(layers, adapter) {
  const [{ rank, scale }] = adapter;
  const config = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: "pocket-gpt2",
    r: rank,
    lora_alpha: rank * scale, // PEFT divides it by r
    use_rslora: false,
    lora_dropout: 0,
    target_modules: TARGETS,
    fan_in_fan_out: true, // the matrices lie [in, out]
    bias: "none",
    inference_mode: true,
  };
  const tensors = new Map();
  layers.forEach(({ name, nIn, nOut }, i) => {
    tensors.set(`${PREFIX}${name}.lora_A.weight`, { shape: [rank, nIn], values: adapter[i].A });
    tensors.set(`${PREFIX}${name}.lora_B.weight`, { shape: [nOut, rank], values: adapter[i].B });
  });
  // with the numbers as well, so that the two files cannot be mixed up unseen
  const settings = ["r", "lora_alpha", "use_rslora"].map((key) => [key, JSON.stringify(config[key])]);
  const metadata = { ...Object.fromEntries(settings), format: "pt" };
  return { weights: writeSafetensors(tensors, metadata), config: `${JSON.stringify(config, null, 2)}\n` };
}

/**
 * The adapter in files [{name, bytes}]: the tensors, and the settings from the tensors' file or from the
 * config.
 */
export function readAdapter(layers, files) {
  const weights = files.find(({ name }) => name.endsWith(".safetensors"));
  if (!weights) throw new Error("Choose adapter_model.safetensors (and adapter_config.json with it).");
  const { tensors, metadata } = readSafetensors(weights.bytes);
  const { r: rank, lora_alpha: alpha, use_rslora: rslora } = settingsOf(metadata, files);
  if (!Number.isInteger(rank) || rank < 1 || rank > HIGHEST_RANK || !Number.isFinite(alpha))
    throw new Error(`This adapter's rank is ${rank} and its alpha ${alpha}: neither can be used here.`);
  const scale = rslora ? alpha / Math.sqrt(rank) : alpha / rank;
  const taken = (name, rows, columns) => {
    const tensor = tensors.get(`${PREFIX}${name}.weight`);
    if (!tensor)
      throw new Error(`This adapter was not made for this model's 16 matrices: ${name} is missing.`);
    tensors.delete(`${PREFIX}${name}.weight`);
    if (tensor.shape.length !== 2 || tensor.shape[0] !== rows || tensor.shape[1] !== columns)
      throw new Error(
        `This adapter does not fit: ${name} is ${tensor.shape}, and should be ${rows},${columns}.`,
      );
    if (!tensor.values.every(Number.isFinite))
      throw new Error(`The values of ${name} are not finite numbers.`);
    return tensor.values;
  };
  const adapter = layers.map(({ name, nIn, nOut }) => ({
    name,
    rank,
    scale,
    A: taken(`${name}.lora_A`, rank, nIn),
    B: taken(`${name}.lora_B`, nOut, rank),
  }));
  if (tensors.size)
    throw new Error(`This adapter changes more than this page can: ${[...tensors.keys()][0]}.`);
  return adapter;
}

function settingsOf(metadata, files) {
  try {
    if ("r" in metadata && "lora_alpha" in metadata)
      return Object.fromEntries(
        Object.entries(metadata)
          .filter(([key]) => key !== "format" && !key.endsWith("sha256"))
          .map(([key, text]) => [key, JSON.parse(text)]),
      );
    const config = files.find(({ name }) => name.endsWith(".json"));
    if (config) return JSON.parse(new TextDecoder().decode(config.bytes));
  } catch {
    throw new Error("This adapter's settings are not JSON.");
  }
  throw new Error("Choose adapter_config.json, too: it says how large the change is taken.");
}
