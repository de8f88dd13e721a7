// The way of an image from pixels to mask, off the thread of the page, so that the page stays responsive.
//
// Decode -> resize as the model was validated -> network -> the likeliest class of each pixel of the image's size: as
// tfseg/inference/image_segmenter.py does it.

import { makeShown, readImage, readPixels, Refused } from "./images.js";
import { chooseClasses, resize } from "./resizing.js";
import * as ort from "./runtime/ort.wasm.min.js";

const MOST_SEEN = 1024 * 2048; // pixels that a network sees at a time: more would not fit into WebAssembly's memory
const MOST_SHOWN = 2048; // side of what is shown of an image, in pixels

let session = null;
let sizes = [];

const here = (name) => new URL(name, import.meta.url).href;

/** Loads the model, to be computed by so many threads, and notes the sizes to which it resizes images. */
async function load({ resizeTo, threads }) {
  sizes = resizeTo;
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = {
    mjs: here("runtime/ort-wasm-simd-threaded.js"),
    wasm: here("runtime/ort-wasm-simd-threaded.wasm"),
  };
  const response = await fetch(here("model.onnx"));
  if (!response.ok) throw new Error(`model.onnx: the server answers ${response.status}`);
  session = await ort.InferenceSession.create(await response.arrayBuffer(), { executionProviders: ["wasm"] });
  return { version: ort.env.versions.web };
}

/** Finds the mask of a file, or of a frame of the camera, and a bitmap to show. */
async function segment(input) {
  const isFrame = input instanceof ImageBitmap;
  const { bitmap, orientation } = isFrame ? { bitmap: input, orientation: 1 } : await readImage(input);
  try {
    const image = readPixels(bitmap, orientation);
    const seen = sizes.reduce(resize, image);
    if (seen.height * seen.width > MOST_SEEN) {
      throw new Refused(
        `has ${seen.height}x${seen.width} pixels, all of which this model sees at once; here it takes up to ${MOST_SEEN}`,
      );
    }
    const start = performance.now();
    const { data, shape } = await run(seen);
    const seconds = (performance.now() - start) / 1000;
    const size = [image.height, image.width];
    const ids = chooseClasses(data, shape, size);
    const shown = isFrame ? bitmap : makeShown(bitmap, orientation, MOST_SHOWN);
    return { height: image.height, width: image.width, ids, shown, seconds };
  } finally {
    if (!isFrame) bitmap.close();
  }
}

/** Probabilities of an image as it is, and their shape: height, width, classes. */
async function run({ height, width, data }) {
  const images = new ort.Tensor("uint8", data, [1, height, width, 3]);
  const { probabilities } = await session.run({ images }, ["probabilities"]);
  return { data: probabilities.data, shape: probabilities.dims.slice(1) };
}

self.onmessage = async ({ data: { id, load: settings, segment: input } }) => {
  try {
    const result = settings ? await load(settings) : await segment(input);
    self.postMessage({ id, result }, result.ids ? [result.ids.buffer, result.shown] : []);
  } catch (error) {
    const refused = error instanceof Refused;
    self.postMessage({ id, refused, error: String(error?.message ?? error) });
  }
};
