// Sizes, by the arithmetic of tfseg/io/resizing.py, so that the network sees here what it sees in Python.
//
// Along each axis by itself: where an image shrinks, a pixel is the mean over the area that it covers; where it grows,
// it lies linearly between the middles of pixels. Both are sums with weights that are whole numbers, far below 2^53.

/**
 * Resizes an image; the aspect ratio is not kept.
 *
 * @param {{height: number, width: number, data: Uint8Array}} image RGB, row by row.
 * @param {[number, number]} size height and width.
 * @returns {{height: number, width: number, data: Uint8Array}} the image itself if it has that size.
 */
export function resize(image, [height, width]) {
  if (image.height === height && image.width === width) return image;
  const rows = weigh(image.height, height);
  const columns = weigh(image.width, width);
  const total = rows.total * columns.total;
  const stride = 3 * image.width;
  const sums = new Float64Array(stride);
  const data = new Uint8Array(3 * height * width);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let tap = rows.starts[y]; tap < rows.starts[y + 1]; tap++) {
      const weight = rows.weights[tap];
      const start = rows.pixels[tap] * stride;
      for (let place = 0; place < stride; place++) sums[place] += weight * image.data[start + place];
    }
    for (let x = 0; x < width; x++) {
      let red = 0, green = 0, blue = 0;
      for (let tap = columns.starts[x]; tap < columns.starts[x + 1]; tap++) {
        const weight = columns.weights[tap];
        const place = 3 * columns.pixels[tap];
        red += weight * sums[place];
        green += weight * sums[place + 1];
        blue += weight * sums[place + 2];
      }
      const place = 3 * (y * width + x);
      data[place] = divide(red, total);
      data[place + 1] = divide(green, total);
      data[place + 2] = divide(blue, total);
    }
  }
  return { height, width, data };
}

/** Divides whole numbers, halves rounded up; exact, since a quotient of at most 255 is far from a wrong whole one. */
function divide(sum, total) {
  return Math.floor((2 * sum + total) / (2 * total));
}

/** The pixels along one axis that each pixel of the result is made of, from starts[i] to starts[i + 1]. */
function weigh(before, after) {
  const shrinks = after <= before;
  const starts = [0], pixels = [], weights = [];
  for (let place = 0; place < after; place++) {
    // Shrinking, on a ruler on which a source pixel is `after` long, and one of the result `before`.
    const start = place * before, end = start + before;
    // Growing, on a ruler on which the middles of source pixels are 2 * `after` apart, and the first is at 0.
    const middle = Math.min(Math.max((2 * place + 1) * before - after, 0), (before - 1) * 2 * after);
    const first = shrinks ? Math.floor(start / after) : Math.floor(middle / (2 * after));
    for (let pixel = first; pixel < before; pixel++) {
      const weight = shrinks
        ? Math.min((pixel + 1) * after, end) - Math.max(pixel * after, start)
        : 2 * after - Math.abs(middle - pixel * 2 * after);
      if (weight <= 0) break;
      pixels.push(pixel);
      weights.push(weight);
    }
    starts.push(pixels.length);
  }
  return { starts, pixels, weights, total: shrinks ? before : 2 * after };
}

/**
 * Chooses the likeliest class of each pixel of an image of another size; of equal ones the first.
 *
 * Probabilities are resized linearly in float32, as Python does it, a row at a time: all of a large image's would take
 * gigabytes.
 *
 * @param {Float32Array} probabilities of h rows, w columns and the classes.
 * @param {[number, number, number]} shape h, w, and how many classes there are.
 * @param {[number, number]} size height and width of the image.
 * @returns {Uint8Array} class ids, row by row.
 */
export function chooseClasses(probabilities, [h, w, classes], [height, width]) {
  const chosen = new Uint8Array(height * width);
  if (h === height && w === width) {
    for (let pixel = 0; pixel < chosen.length; pixel++) {
      chosen[pixel] = likeliest(probabilities, pixel * classes, classes);
    }
    return chosen;
  }
  const widen = makeWidener(probabilities, w, classes, width);
  const mixed = new Float32Array(classes);
  const scale = Math.fround(h / height);
  for (let y = 0; y < height; y++) {
    const middle = Math.fround(Math.fround(Math.fround(y + 0.5) * scale) - 0.5);
    const share = Math.fround(middle - Math.floor(middle));
    const low = widen(Math.max(Math.floor(middle), 0));
    const high = widen(Math.min(Math.floor(middle) + 1, h - 1));
    for (let x = 0; x < width; x++) {
      const start = x * classes;
      for (let id = 0; id < classes; id++) {
        const step = Math.fround(high[start + id] - low[start + id]);
        mixed[id] = low[start + id] + Math.fround(step * share);
      }
      chosen[y * width + x] = likeliest(mixed, 0, classes);
    }
  }
  return chosen;
}

/** Makes a function that gives a row resized to `width` columns; it keeps the two that it made last. */
function makeWidener(values, w, classes, width) {
  const firsts = new Int32Array(width);
  const shares = new Float32Array(width);
  for (let x = 0; x < width; x++) {
    const middle = Math.fround((x + 0.5) * (w / width) - 0.5);
    const first = Math.floor(middle);
    firsts[x] = Math.min(Math.max(first, 0), w - 1);
    shares[x] = first < 0 || first >= w - 1 ? 0 : middle - first;
  }
  const kept = [0, 1].map(() => ({ row: -1, values: new Float32Array(width * classes) }));
  let oldest = 0;
  return (row) => {
    const found = kept.find((each) => each.row === row);
    if (found) {
      oldest = 1 - kept.indexOf(found);
      return found.values;
    }
    const made = kept[oldest];
    oldest = 1 - oldest;
    made.row = row;
    for (let x = 0; x < width; x++) {
      const share = shares[x];
      const rest = Math.fround(1 - share);
      const left = (row * w + firsts[x]) * classes;
      const right = share ? left + classes : left;
      for (let id = 0; id < classes; id++) {
        made.values[x * classes + id] = Math.fround(values[left + id] * rest) + Math.fround(values[right + id] * share);
      }
    }
    return made.values;
  };
}

function likeliest(scores, start, classes) {
  let best = 0;
  for (let id = 1; id < classes; id++) if (scores[start + id] > scores[start + best]) best = id;
  return best;
}
