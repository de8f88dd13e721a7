"""Image files inside a graph, of other pixels than 8-bit RGB: the bytes are those that all other ways make of them."""

import io

import numpy as np
import pytest
from helper_tiff import encode_png
from PIL import Image

from tfseg.io.channels import decode_image
from tfseg.io.pixel_formats import RGB, PixelFormat

pytestmark = pytest.mark.tensorflow

BYTES = np.random.default_rng(0).integers(0, 256, (6, 9, 4), np.uint8)
VALUES = np.random.default_rng(1).integers(0, 65536, (6, 9, 4), np.uint16)


def pillow(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return pillow(BYTES[..., 0], "PNG", exif=exif)


FILES = {
    "grey": encode_png(BYTES[..., :1]),
    "grey, turned": turned(),
    "grey JPEG": pillow(np.repeat(np.repeat(BYTES[..., 0], 8, 0), 8, 1), "JPEG"),
    "RGB": encode_png(BYTES[..., :3]),
    "RGB of greys": encode_png(BYTES[..., [0, 0, 0]]),
    "RGB JPEG": pillow(BYTES[..., :3], "JPEG"),
    "RGBA": encode_png(BYTES),
    "16-bit grey": encode_png(VALUES[..., :1]),
    "16-bit RGB": encode_png(VALUES[..., :3]),
    "16-bit RGBA": encode_png(VALUES),
    "16-bit RGBA, opaque": encode_png(np.dstack([VALUES[..., :3], np.full((6, 9), 65535, np.uint16)])),
    "damaged": encode_png(VALUES[..., :1])[:-30],
}
FORMATS = [
    *(RGB, PixelFormat(1), PixelFormat(4), PixelFormat(1, ((1000, 60000),))),
    *(PixelFormat(3, ((0, 65535), (5, 40000), (30000, 30255))), PixelFormat(4, ((100, 50000),) * 4)),
]


@pytest.mark.long
@pytest.mark.parametrize("pixels", FORMATS, ids=str)
def test_the_graph_decodes_as_the_decoder_does(pixels):
    import tensorflow as tf

    from tfseg.exporters import encoded

    decode = tf.function(
        lambda content: encoded.decode(content, pixels), input_signature=[tf.TensorSpec((), tf.string)]
    )
    taken = set()
    for name, data in FILES.items():
        try:
            expected = decode_image(data, pixels)
        except ValueError:
            with pytest.raises(tf.errors.InvalidArgumentError):
                decode(data)
            continue
        np.testing.assert_array_equal(decode(data).numpy(), expected, err_msg=name)
        taken.add(name)
    assert taken, "something is taken"
