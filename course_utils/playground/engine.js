// Memory, and the one large product that everything is made of, in WebAssembly or in plain JavaScript.

const PAGE = 65536; // bytes of a page of WebAssembly's memory
const MEGABYTES = 72; // weights in two layouts take 39, the longest text that is trained on another 12

/** Numbers in one block of memory, handed out from the bottom and given back from the top. */
export class Engine {
  /** kernel: the bytes of kernel.wasm, or null for plain JavaScript. */
  constructor(kernel = null) {
    const pages = (MEGABYTES * 2 ** 20) / PAGE;
    this.name = "JavaScript";
    this.addProduct = plainAddProduct;
    if (kernel && globalThis.WebAssembly?.validate(kernel)) {
      const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(kernel), { engine: { memory } });
      this.name = "WebAssembly";
      this.buffer = memory.buffer;
      this.addProduct = (c, a, b, rows, inner, columns) =>
        exports.add_product(c.byteOffset, a.byteOffset, b.byteOffset, rows, inner, columns);
    } else {
      this.buffer = new ArrayBuffer(pages * PAGE);
    }
    this.top = 0; // bytes handed out
  }

  /** `count` zeros, which stay until `release` gets a mark from before. */
  zeros(count) {
    const start = this.top;
    this.top += 16 * Math.ceil(count / 4);
    if (this.top > this.buffer.byteLength) throw new Error("The text is too long for this page's memory.");
    return new Float32Array(this.buffer, start, count).fill(0);
  }

  copied(values) {
    const copy = this.zeros(values.length);
    copy.set(values);
    return copy;
  }

  mark() {
    return this.top;
  }

  release(mark) {
    this.top = mark;
  }
}

/** C += A Bᵀ with C [rows, columns], A [rows, inner], B [columns, inner]. */
export function plainAddProduct(c, a, b, rows, inner, columns) {
  for (let column = 0; column < columns; column++) {
    const start = column * inner;
    for (let row = 0; row < rows; row++) {
      const from = row * inner;
      let even = 0;
      let odd = 0;
      let k = 0;
      for (; k + 1 < inner; k += 2) {
        even += a[from + k] * b[start + k];
        odd += a[from + k + 1] * b[start + k + 1];
      }
      if (k < inner) even += a[from + k] * b[start + k];
      c[row * columns + column] += even + odd;
    }
  }
}

/** A matrix [rows, columns] with rows and columns exchanged. */
export function transposed(values, rows, columns, into) {
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      into[column * rows + row] = values[row * columns + column];
  return into;
}
