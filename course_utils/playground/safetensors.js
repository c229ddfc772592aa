// Safetensors: eight bytes with the header's length, the header as JSON, then the tensors' bytes.
// The model ships in this form with numbers of 16 bits; an adapter is read and written with 32.

const LONGEST_HEADER = 1_000_000; // bytes
const BYTES = { F16: 2, F32: 4 };

/** The 65,536 numbers of 16 bits (sign, five bits of exponent, ten of mantissa) as ordinary ones. */
function halfNumbers() {
  return Float32Array.from({ length: 65536 }, (_, bits) => {
    const exponent = (bits >> 10) & 31;
    const mantissa = bits & 1023;
    const size =
      exponent === 0
        ? mantissa * 2 ** -24
        : exponent === 31
          ? mantissa
            ? NaN
            : Infinity
          : (1 + mantissa / 1024) * 2 ** (exponent - 15);
    return bits >> 15 ? -size : size;
  });
}

/**
 * {tensors: {name: {shape, values}}, metadata} of a file's bytes. Throws an Error that says what is wrong.
 */
export function readSafetensors(bytes) {
  const wrong = (why) => new Error(`This is not a whole safetensors file: ${why}.`);
  if (bytes.length < 8) throw wrong("it has fewer than 8 bytes");
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > Math.min(LONGEST_HEADER, bytes.length - 8)) throw wrong("its header is longer than the file");
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length)));
  } catch {
    throw wrong("its header is not JSON");
  }
  const { __metadata__: metadata = {}, ...entries } = header;
  const tensors = new Map();
  let halves = null;
  for (const [name, entry] of Object.entries(entries)) {
    const { dtype, shape, data_offsets: offsets } = entry ?? {};
    if (!(dtype in BYTES)) throw wrong(`${name} has numbers of the type ${dtype}; only F32 and F16 are read`);
    const count = Array.isArray(shape) ? shape.reduce((product, size) => product * size, 1) : NaN;
    const [start, end] = Array.isArray(offsets) ? offsets : [];
    const whole = Number.isInteger(start) && start >= 0 && end - start === count * BYTES[dtype];
    if (!whole || 8 + length + end > bytes.length) throw wrong(`the numbers of ${name} are not all there`);
    const data = bytes.slice(8 + length + start, 8 + length + end).buffer;
    if (dtype === "F16") halves ??= halfNumbers();
    const values =
      dtype === "F32"
        ? new Float32Array(data)
        : new Float32Array(new Uint16Array(data)).map((bits) => halves[bits]);
    tensors.set(name, { shape, values });
  }
  return { tensors, metadata };
}

/** The bytes of a file with these tensors, a Map of {shape, values}, and a metadata of strings. */
export function writeSafetensors(tensors, metadata) {
  const header = { __metadata__: metadata };
  let end = 0;
  for (const [name, { shape, values }] of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, (end += 4 * values.length)] };
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8); // the numbers begin at a multiple of eight
  const bytes = new Uint8Array(8 + text.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(new TextEncoder().encode(text), 8);
  let at = 8 + text.length;
  for (const { values } of tensors.values()) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return bytes;
}
