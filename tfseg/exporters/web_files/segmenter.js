// The worker as a function from an image to its mask.

/** An image that is not taken; the message says why, and goes after the name of its file. */
export class RefusedImage extends Error {}

/** What the worker computes: one image at a time, and of those that wait meanwhile only the newest. */
export class Segmenter {
  #worker;
  #count = 0;
  #running = null;
  #waiting = null;

  constructor() {
    // By way of a blob, the worker is under the page's own Content-Security-Policy, and can ask no other server either.
    const code = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#settle(data);
    this.#worker.onerror = (event) => {
      this.#settle({ id: this.#count, error: event.message || "its program could not be loaded" });
    };
  }

  /** Loads the model, which resizes images to some sizes; gives {version} of ONNX Runtime Web. */
  load(resizeTo, threads) {
    return this.#ask({ load: { resizeTo, threads } });
  }

  /**
   * Finds the mask of an image.
   *
   * @param {Blob | ImageBitmap} input
   * @returns {Promise<?{height, width, ids, shown, seconds}>} null if a newer image was asked for before this was begun.
   * @throws {RefusedImage} it is not taken.
   */
  segment(input) {
    return this.#ask({ segment: input });
  }

  #ask(message) {
    return new Promise((resolve, reject) => {
      this.#waiting?.resolve(null);
      this.#waiting = { message, resolve, reject };
      if (!this.#running) this.#next();
    });
  }

  #next() {
    this.#running = this.#waiting;
    this.#waiting = null;
    if (!this.#running) return;
    const { message } = this.#running;
    const moved = message.segment instanceof ImageBitmap ? [message.segment] : [];
    this.#worker.postMessage({ id: ++this.#count, ...message }, moved);
  }

  #settle({ id, result, refused, error }) {
    if (id !== this.#count || !this.#running) return;
    const { resolve, reject } = this.#running;
    this.#running = null;
    if (error === undefined) resolve(result);
    else reject(refused ? new RefusedImage(error) : new Error(error));
    this.#next();
  }
}
