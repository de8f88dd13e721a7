"""TIFF files as few programs write them: any number of channels, in strips or tiles, in either order of bytes."""

import struct
import zlib

import cv2
import numpy as np

STRIP, TILE = 10, 16  # rows of a strip, and sides of a tile


def encode_tiff(pixels, order="little", packed=False, planar=False, tiled=False, differences=False, **tags):
    """Makes a TIFF of (H, W, channels), uint8 or uint16.

    Args:
        pixels: the values.
        order: of the bytes.
        packed: whether by Deflate.
        planar: whether one channel follows the other.
        tiled: whether in tiles, else in strips.
        differences: whether values are stored as differences from those on their left.
        tags: photometric (1: black is zero), extras (of the channels beyond the first, 0 each), numbers (1: unsigned).
    """
    sign = "<" if order == "little" else ">"
    height, width, channels = pixels.shape
    photometric = tags.get("photometric", 1)
    rows, columns = (TILE, TILE) if tiled else (STRIP, width)
    parts = []
    for plane in np.split(pixels, channels, axis=2) if planar else [pixels]:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                part = plane[top : top + rows, left : left + columns]
                if tiled:
                    part = np.pad(part, [(0, rows - part.shape[0]), (0, columns - part.shape[1]), (0, 0)])
                if differences:
                    part = np.concatenate([part[:, :1], np.diff(part, axis=1)], axis=1)
                content = part.astype(part.dtype.newbyteorder(sign)).tobytes()
                parts.append(zlib.compress(content) if packed else content)
    places = np.cumsum([8, *map(len, parts)]).tolist()
    extras = tags.get("extras", [0] * (channels - (3 if photometric == 2 else 1)))
    entries = {
        **{256: [width], 257: [height], 258: [8 * pixels.itemsize] * channels, 259: [8 if packed else 1]},
        **{262: [photometric], 277: [channels], 284: [2 if planar else 1], 317: [2 if differences else 1]},
        **{338: extras, 339: [tags.get("numbers", 1)] * channels},
        **({322: [columns], 323: [rows], 324: places[:-1]} if tiled else {273: places[:-1], 278: [rows]}),
        325 if tiled else 279: [len(part) for part in parts],
    }
    entries = {tag: values for tag, values in sorted(entries.items()) if values}
    start = places[-1] + places[-1] % 2
    directory, beyond = struct.pack(f"{sign}H", len(entries)), b""
    for tag, values in entries.items():
        held = struct.pack(f"{sign}{len(values)}I", *values)
        if len(values) > 1:
            held, beyond = struct.pack(f"{sign}I", start + 6 + 12 * len(entries) + len(beyond)), beyond + held
        directory += struct.pack(f"{sign}HHI", tag, 4, len(values)) + held
    head = (b"II*\0" if order == "little" else b"MM\0*") + struct.pack(f"{sign}I", start)
    return head + b"".join(parts) + bytes(places[-1] % 2) + directory + bytes(4) + beyond


def encode_png(pixels):
    """Makes a PNG of (H, W, 1), RGB or RGBA, uint8 or uint16."""
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    return cv2.imencode(".png", pixels[..., order])[1].tobytes()
