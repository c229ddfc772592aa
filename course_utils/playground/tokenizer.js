// GPT-2's byte-level BPE: text to token ids and back.
//
// Any text is bytes, and each of the 256 bytes has a token, so nothing is unknown. Training a tokenizer
// merged the most frequent neighbours again and again; encoding repeats the merges, in the order in which
// they were learned.

// Words, numbers, punctuation and spaces are merged apart; a space belongs to the word behind it.
const SPACE = "\\p{White_Space}"; // JavaScript's \s differs from it in two characters
const PIECES = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?![^${SPACE}])|${SPACE}+`,
  "gu",
);
const SPECIAL_TOKENS = 1; // <|endoftext|> has id 0, and no text becomes it

/**
 * The letter that stands for each byte in the list of merges: printable ones for themselves, then from 256
 * on.
 */
function byteLetters() {
  const printable = (byte) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let others = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : others++));
}

/** merges: lines "left right" in the order learned, as in tokenizer.json. */
export class Tokenizer {
  constructor(merges) {
    this.letters = byteLetters();
    const bytes = [...this.letters].sort(); // the tokens of single bytes, in the order of their letters
    const pairs = merges.split("\n").map((line) => line.split(" "));
    this.tokens = [...Array(SPECIAL_TOKENS).fill(""), ...bytes, ...pairs.map((pair) => pair.join(""))];
    this.ids = new Map(this.tokens.map((token, id) => [token, id]));
    this.order = new Map(pairs.map((pair, place) => [pair.join(" "), place]));
    this.bytes = new Map(this.letters.map((letter, byte) => [letter, byte]));
    this.known = new Map(); // pieces that were merged before
  }

  encode(text) {
    return (text.toWellFormed?.() ?? text).match(PIECES)?.flatMap((piece) => this.piece(piece)) ?? [];
  }

  piece(piece) {
    if (!this.known.has(piece)) {
      const letters = Array.from(new TextEncoder().encode(piece), (byte) => this.letters[byte]);
      this.known.set(
        piece,
        this.merged(letters).map((token) => this.ids.get(token)),
      );
    }
    return this.known.get(piece);
  }

  /**
   * Merge the pair that was learned first, wherever it stands, until no pair is left that was ever merged.
   */
  merged(parts) {
    for (;;) {
      let best = Infinity;
      for (let i = 0; i + 1 < parts.length; i++)
        best = Math.min(best, this.order.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity);
      if (best === Infinity) return parts;
      const joined = [];
      for (const part of parts) {
        if (this.order.get(`${joined.at(-1)} ${part}`) === best) joined.push(joined.pop() + part);
        else joined.push(part);
      }
      parts = joined;
    }
  }

  /** The text of some ids; a character that is cut in two shows as the replacement character. */
  decode(ids) {
    const letters = ids.map((id) => this.tokens[id]).join("");
    return new TextDecoder().decode(Uint8Array.from(letters, (letter) => this.bytes.get(letter)));
  }
}
