// Class ids -> PNG files that hold them exactly, which a canvas could not: its files hold colours.

export const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const GREY = 0, PALETTE = 3; // colour types

const CRCS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

/** The checksum of a chunk of a PNG: CRC-32 of its four letters and its data. */
export function checksum(bytes) {
  let crc = 0xffffffff;
  for (let place = 0; place < bytes.length; place++) crc = CRCS[(crc ^ bytes[place]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/**
 * Makes a PNG of a mask.
 *
 * @param {{height: number, width: number, ids: Uint8Array}} mask
 * @param {?number[][]} colors RGB of each class, for a palette of which the ids are the places; null: grey, 8 bits.
 * @returns {Promise<Blob>}
 */
export async function encodeMask({ height, width, ids }, colors) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, colors ? PALETTE : GREY], 8);
  const rows = new Uint8Array(height * (width + 1)); // each begins with its filter, 0: none
  for (let y = 0; y < height; y++) rows.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Blob(
    [
      SIGNATURE,
      chunk("IHDR", header),
      ...(colors ? [chunk("PLTE", Uint8Array.from(colors.flat()))] : []),
      chunk("IDAT", new Uint8Array(await new Response(packed).arrayBuffer())),
      chunk("IEND", new Uint8Array(0)),
    ],
    { type: "image/png" },
  );
}

/** A chunk: length of its data, four letters, data, checksum of letters and data. */
function chunk(kind, data) {
  const made = new Uint8Array(data.length + 12);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  for (let place = 0; place < 4; place++) made[4 + place] = kind.charCodeAt(place);
  made.set(data, 8);
  view.setUint32(8 + data.length, checksum(made.subarray(4, 8 + data.length)));
  return made;
}
