// Image files -> RGB bytes, by the rules of tfseg/io/images.py, as far as a browser can follow them.
//
// A file is looked at before it is decoded, and the decoder is given only what the pixels come of: without colour
// profiles, which Python does not apply, and without the EXIF data, by which this module turns the image itself. So it
// does not depend on which of them a browser heeds.

import { checksum, SIGNATURE } from "./png.js";

const MOST_BYTES = 250_000_000; // of a file: of as many pixels as below, a PNG takes 200 MB at most
const MOST_PIXELS = 50_000_000; // of the largest photos of common phones; 200 MB as a browser decodes them
const MOST_SIDE = 32_767; // pixels that browsers decode
const DEFLATE_LIMIT = 1032; // bytes that one byte of PNG's compression can stand for
const JPEG_LIMIT = 1024; // pixels that one byte of a JPEG can stand for
const TILE = 2048; // side of what is read of a decoded image at a time, which every browser's canvas holds
const UPRIGHT = 1, SIDEWAYS = 5; // EXIF orientations; from the latter on, height and width change places
const PNG_PIXELS = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"];
const PNG_COLORS = { 0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA" };
const WEBP_PIXELS = ["VP8X", "VP8 ", "VP8L", "ALPH"];
const WEBP_ALPHA = 0x10; // the flag of VP8X that stays; others announce what is left out

/** An image that this page does not take; the message says why, and goes after the name of its file. */
export class Refused extends Error {}

/**
 * Reads an image file.
 *
 * @param {Blob} file
 * @returns {Promise<{bitmap: ImageBitmap, orientation: number}>} as it is stored.
 * @throws {Refused} it is none of the formats, damaged, too large, or of a kind with no one right way to 8-bit RGB.
 */
export async function readImage(file) {
  checkKind(await readBytes(file.slice(0, 12)), file.size);
  if (file.size > MOST_BYTES) {
    throw new Refused(`has ${Math.ceil(file.size / 1e6)} MB; this page takes up to ${MOST_BYTES / 1e6}`);
  }
  const data = await readBytes(file);
  const head = { PNG: readPng, JPEG: readJpeg, WEBP: readWebp }[kindOf(data)](data);
  if (!head.width || !head.height) throw new Refused(damaged(data));
  checkSize(head.height, head.width);
  const content = new Blob(head.parts, { type: head.type });
  try {
    const bitmap = await createImageBitmap(content, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    if (bitmap.width !== head.width || bitmap.height !== head.height) throw new Error("another size");
    return { bitmap, orientation: head.orientation };
  } catch {
    throw new Refused(damaged(data));
  }
}

/** Refuses an image of more pixels than this page takes. */
function checkSize(height, width) {
  if (height * width > MOST_PIXELS) {
    throw new Refused(`has ${height}x${width} pixels; this page takes up to ${MOST_PIXELS / 1e6} million`);
  }
  if (Math.max(height, width) > MOST_SIDE) {
    throw new Refused(`has ${height}x${width} pixels; this page takes up to ${MOST_SIDE} a side`);
  }
}

function damaged(data) {
  return `is cut short or damaged (${data.length} bytes); copy it again`;
}

function startsWith(data, bytes, at = 0) {
  return bytes.every((byte, place) => data[at + place] === byte);
}

function letters(data, at) {
  return String.fromCharCode(...data.subarray(at, at + 4));
}

async function readBytes(file) {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Refused("cannot be read; is it a folder, or was it moved?");
  }
}

function kindOf(data) {
  if (startsWith(data, [...SIGNATURE])) return "PNG";
  if (startsWith(data, [0xff, 0xd8])) return "JPEG";
  return letters(data, 0) === "RIFF" && letters(data, 8) === "WEBP" ? "WEBP" : null;
}

/** Refuses what this page does not take, by the first bytes of a file, of so many in all. */
function checkKind(data, size) {
  if (kindOf(data)) return;
  const kinds = { "II*\0": "a TIFF image", "MM\0*": "a TIFF image", GIF8: "a GIF image" };
  let kind = kinds[letters(data, 0)];
  if (letters(data, 0).startsWith("BM")) kind = "a BMP image";
  if (letters(data, 4) === "ftyp") kind = "HEIC, AVIF or a video";
  throw new Refused(`is ${kind ?? "no image"} (${size} bytes); this page takes PNG, JPEG and WebP, so save it as PNG`);
}

// Of each format, what a file says before its pixels: {width, height, orientation, type, parts: what a decoder needs}.

function readPng(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (data.length < 33 || letters(data, 12) !== "IHDR") throw new Refused(damaged(data));
  const width = view.getUint32(16), height = view.getUint32(20), depth = data[24];
  if (width * height * depth > 8 * DEFLATE_LIMIT * data.length) throw new Refused(damaged(data));
  checkSize(height, width);
  let position = SIGNATURE.length, kind = "", orientation = UPRIGHT;
  const parts = [SIGNATURE];
  while (kind !== "IEND") { // a chunk: length of its data, four letters, data, checksum of letters and data
    if (position + 12 > data.length) throw new Refused(damaged(data));
    const end = position + 12 + view.getUint32(position);
    kind = letters(data, position + 4);
    const isPixels = PNG_PIXELS.includes(kind);
    const isOdd = (!isPixels && !/^[a-z]/.test(kind)) || (kind === "IHDR" && position > SIGNATURE.length);
    const isWrong = end > data.length || (kind === "IEND" && end !== position + 12);
    if (isWrong || isOdd || checksum(data.subarray(position + 4, end - 4)) !== view.getUint32(end - 4)) {
      throw new Refused(damaged(data));
    }
    if (kind === "fdAT") throw new Refused("has more than one image in one PNG file; save the one that is meant by itself");
    if (kind === "eXIf") orientation = findOrientation(data.subarray(position + 8, end - 4));
    if (isPixels) parts.push(data.subarray(position, end));
    position = end;
  }
  if (depth === 16) {
    const color = PNG_COLORS[data[25]] ?? "unknown";
    throw new Refused(`is a 16-bit ${color} image; convert it to 8 bits a channel, as it should look`);
  }
  return { width, height, orientation, type: "image/png", parts };
}

function readJpeg(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const parts = [data.subarray(0, 2)];
  let position = 2, kind = 0, frame = null, orientation = null;
  while (kind !== 0xda) { // a segment: 0xFF, its kind, length of the rest; the last one is the first scan
    if (position + 4 > data.length || data[position] !== 0xff) throw new Refused(damaged(data));
    kind = data[position + 1];
    if (kind === 0xff) { // which may be repeated as padding before a kind
      position += 1;
      continue;
    }
    const end = position + 2 + view.getUint16(position + 2);
    if (kind >= 0xc0 && kind <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(kind) && position + 10 <= data.length) {
      frame ??= [view.getUint16(position + 5), view.getUint16(position + 7), data[position + 9]];
    }
    if (kind === 0xe1 && letters(data, position + 4) === "Exif") {
      orientation ??= findOrientation(data.subarray(position + 10, end));
    }
    const isMetadata = (kind >= 0xe1 && kind <= 0xef && kind !== 0xee) || kind === 0xfe; // 0xEE: which colours these are
    if (kind !== 0xda && !isMetadata) parts.push(data.subarray(position, end));
    if (kind !== 0xda) position = end;
  }
  if (frame === null) throw new Refused(damaged(data));
  const [height, width, colors] = frame;
  if (![1, 3].includes(colors)) {
    const what = colors === 4 ? "CMYK image, for print" : `JPEG of ${colors} colours`;
    throw new Refused(`is a ${what}; convert it to RGB with its colour profile`);
  }
  if (!hasJpegEnd(data, position) || height * width > JPEG_LIMIT * data.length) throw new Refused(damaged(data));
  parts.push(data.subarray(position));
  return { width, height, orientation: orientation ?? UPRIGHT, type: "image/jpeg", parts };
}

function hasJpegEnd(data, start) {
  for (let place = data.indexOf(0xff, start); place >= 0; place = data.indexOf(0xff, place + 1)) {
    if (data[place + 1] === 0xd9) return true;
  }
  return false;
}

function readWebp(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const chunks = {}, parts = [];
  const end = data.length < 12 ? 0 : 8 + view.getUint32(4, true);
  if (end > data.length) throw new Refused(damaged(data));
  for (let position = 12; position + 8 <= end; ) {
    const kind = letters(data, position);
    const size = view.getUint32(position + 4, true);
    const next = Math.min(position + 8 + size + (size % 2), data.length);
    if (kind === "ANMF") {
      throw new Refused("has more than one image in one WEBP file; save the one that is meant by itself");
    }
    if (position + 8 + size > end) throw new Refused(damaged(data));
    chunks[kind] ??= position + 8;
    if (WEBP_PIXELS.includes(kind)) {
      const part = data.slice(position, next);
      if (kind === "VP8X") part[8] &= WEBP_ALPHA;
      parts.push(part);
    }
    position = next;
  }
  const start = chunks.VP8X ?? chunks["VP8 "] ?? chunks.VP8L;
  if (start === undefined || start + 10 > data.length) throw new Refused(damaged(data));
  let width, height;
  if (chunks.VP8X) {
    [width, height] = [4, 7].map((at) => 1 + (view.getUint32(start + at - 1, true) >>> 8));
  } else if (chunks["VP8 "]) {
    [width, height] = [6, 8].map((at) => view.getUint16(start + at, true) & 0x3fff);
  } else {
    const bits = view.getUint32(start + 1, true);
    [width, height] = [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)];
  }
  let orientation = UPRIGHT;
  if (chunks.VP8X && chunks.EXIF) {
    const skipped = letters(data, chunks.EXIF) === "Exif" ? 6 : 0;
    orientation = findOrientation(data.subarray(chunks.EXIF + skipped));
  }
  const header = data.slice(0, 12);
  new DataView(header.buffer).setUint32(4, 4 + parts.reduce((sum, part) => sum + part.length, 0), true);
  return { width, height, orientation, type: "image/webp", parts: [header, ...parts] };
}

/** Reads the EXIF orientation, 1 to 8, from a TIFF header; 1 if it says none. */
function findOrientation(data) {
  const isLittle = letters(data, 0) === "II*\0";
  if (data.length < 8 || (!isLittle && letters(data, 0) !== "MM\0*")) return UPRIGHT;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const directory = view.getUint32(4, isLittle);
  if (directory + 2 > data.length) return UPRIGHT;
  const count = view.getUint16(directory, isLittle);
  for (let entry = 0; entry < count; entry++) {
    const at = directory + 2 + 12 * entry;
    if (at + 12 > data.length) break;
    if (view.getUint16(at, isLittle) === 0x0112 && view.getUint16(at + 2, isLittle) === 3) { // Orientation, a SHORT
      const value = view.getUint16(at + 8, isLittle);
      return value >= 1 && value <= 8 ? value : UPRIGHT;
    }
  }
  return UPRIGHT;
}

/**
 * Reads the pixels of a decoded image, turned upright.
 *
 * @returns {{height: number, width: number, data: Uint8Array}} RGB, row by row.
 * @throws {Refused} some are transparent, and stand for no colour.
 */
export function readPixels(bitmap, orientation = UPRIGHT) {
  const swaps = orientation >= SIDEWAYS;
  const height = swaps ? bitmap.width : bitmap.height, width = swaps ? bitmap.height : bitmap.width;
  const data = new Uint8Array(3 * height * width);
  // How far one goes in the upright image, in bytes, with each step right or down in the stored one.
  const right = 3 * (swaps ? width : 1) * ([2, 3, 7, 8].includes(orientation) ? -1 : 1);
  const down = 3 * (swaps ? 1 : width) * ([3, 4, 6, 7].includes(orientation) ? -1 : 1);
  const origin = (right < 0 ? -right * (bitmap.width - 1) : 0) + (down < 0 ? -down * (bitmap.height - 1) : 0);
  const canvas = new OffscreenCanvas(Math.min(TILE, bitmap.width), Math.min(TILE, bitmap.height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.globalCompositeOperation = "copy";
  for (let top = 0; top < bitmap.height; top += TILE) {
    for (let left = 0; left < bitmap.width; left += TILE) {
      const tileWidth = Math.min(TILE, bitmap.width - left), tileHeight = Math.min(TILE, bitmap.height - top);
      context.drawImage(bitmap, left, top, tileWidth, tileHeight, 0, 0, tileWidth, tileHeight);
      const tile = context.getImageData(0, 0, tileWidth, tileHeight).data;
      for (let y = 0, from = 0; y < tileHeight; y++) {
        let to = origin + (top + y) * down + left * right;
        for (let x = 0; x < tileWidth; x++, from += 4, to += right) {
          if (tile[from + 3] !== 255) {
            throw new Refused("has transparent pixels, which stand for no colour; save it without an alpha channel");
          }
          data[to] = tile[from];
          data[to + 1] = tile[from + 1];
          data[to + 2] = tile[from + 2];
        }
      }
    }
  }
  return { height, width, data };
}

/** Makes a bitmap to show of a decoded image: upright, at most `most` pixels a side. */
export function makeShown(bitmap, orientation, most) {
  const scale = Math.min(1, most / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale)), height = Math.max(1, Math.round(bitmap.height * scale));
  const canvas = orientation >= SIDEWAYS ? new OffscreenCanvas(height, width) : new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const turns = {
    1: [1, 0, 0, 1, 0, 0],
    2: [-1, 0, 0, 1, width, 0],
    3: [-1, 0, 0, -1, width, height],
    4: [1, 0, 0, -1, 0, height],
    5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, height, 0],
    7: [0, -1, -1, 0, height, width],
    8: [0, -1, 1, 0, 0, width],
  };
  context.setTransform(...turns[orientation]);
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas.transferToImageBitmap();
}
