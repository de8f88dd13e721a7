"""Images of other pixels from file to mask: converted, trained on for one step, predicted as they are scored."""

import cv2
import numpy as np
import pytest
from helper_tiff import encode_png, encode_tiff
from helpers import draw

from tfseg.config.parse import parse_config
from tfseg.conversion.converter import convert_dataset
from tfseg.evaluation.evaluator import evaluate_masks, evaluate_model
from tfseg.inference.files import predict_files
from tfseg.inference.predictor import Predictor
from tfseg.inference.reading import read_image
from tfseg.io.pixel_formats import PixelFormat
from tfseg.io.png import encode_png as encode_bytes
from tfseg.serving.uploads import Limits, Refused, read_upload
from tfseg.training.loop import train_run

pytestmark = pytest.mark.tensorflow

SETTINGS = {"data.size": "24x32", "data.fit": "resize", "model.encoder": "tiny", "model.weights": "null"}
SETTINGS |= {"model.decoder_channels": "[4, 4, 4, 4, 4]", "train.epochs": 1, "train.batch_size": 4, "train.seed": 0}
SETTINGS |= {"augment.flip": 0.5, "augment.brightness": 0.1, "augment.rotation": 10, "accelerator.kind": "cpu"}


def write_images(root, encode, ending):
    """Writes four images to train on and two to validate on, with masks of class ids, and a label map."""
    for index in range(6):
        image, mask = draw(index, 24, 32)
        for folder, data, end in (("images", encode(image), ending), ("masks", encode_bytes(mask), ".png")):
            path = root / folder / ("train" if index < 4 else "val") / f"{index}{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    names = ("void", "flat", "construction", "object", "nature", "sky", "human", "vehicle")
    (root / "map.yaml").write_text("".join(f"{value}: {name}\n" for value, name in enumerate(names)))


def encode_grey(image):
    return encode_png(image[..., :1].astype(np.uint16) * 40 + 1000)


def encode_bands(image):
    return encode_tiff(np.dstack([image, 255 - image[..., 1:2]]), packed=True, differences=True)


@pytest.mark.long
@pytest.mark.parametrize(
    ("encode", "ending", "pixels"),
    [(encode_grey, ".png", PixelFormat(1, ((2600, 9600),))), (encode_bands, ".tif", PixelFormat(4))],
    ids=["16-bit grey PNG", "4-channel TIFF"],
)
def test_what_is_predicted_is_what_is_scored(tmp_path, encode, ending, pixels):
    write_images(tmp_path / "raw", encode, ending)
    ranges = [[2600, 9600]] if pixels.value_range else "percentiles"
    where = {"label_map": tmp_path / "raw/map.yaml", "codec": "png", "value_range": ranges}
    records = convert_dataset(tmp_path / "raw", tmp_path / "records", size=(24, 32), **where)
    assert records.manifest.pixels == pixels
    run = tmp_path / "run"
    settings = {**SETTINGS, "data.records": tmp_path / "records", "run_dir": run}
    metrics = train_run(parse_config([f"--{name}={value}" for name, value in settings.items()]))

    files = sorted((tmp_path / "raw/images/val").iterdir())
    predicted = predict_files(run, files, tmp_path / "out")
    assert predicted.count == 2 and not predicted.unread and not predicted.failures
    found = evaluate_masks(tmp_path / "out", records).content["confusion_matrix"]
    assert found == metrics["confusion_matrix"]
    assert np.sum(found) == 2 * 24 * 32

    predictor = Predictor(run / "saved_model")
    assert predictor.pixels == pixels
    image = read_image(files[0], pixels)
    assert image.shape == (24, 32, pixels.channels)
    if ending == ".png":  # which TensorFlow decodes by itself
        [mask] = predictor.answer_files([files[0].read_bytes()])
        assert np.array_equal(cv2.imdecode(np.frombuffer(mask, np.uint8), 0), predictor(image[np.newaxis])[0])
    else:
        with pytest.raises(ValueError, match="the file is no PNG image"):
            predictor.answer_files([files[0].read_bytes()])

    np.testing.assert_array_equal(read_upload(files[0].read_bytes(), Limits(), predictor.pixels), image)
    color = encode_bytes(draw(0, 24, 32)[0])
    with pytest.raises(Refused, match="the file is an 8-bit RGB image, expected ") as refused:
        read_upload(color, Limits(), predictor.pixels)
    assert refused.value.status == 400
    (tmp_path / "color.png").write_bytes(color)
    [line] = predict_files(run, [tmp_path / "color.png"], tmp_path / "out2").unread
    assert "color.png is an 8-bit RGB image, expected " in line
    if pixels.value_range:
        others = convert_dataset(tmp_path / "raw", tmp_path / "others", size=(24, 32), channels=3, **where)
        with pytest.raises(
            ValueError, match=r"trained on 16-bit grey images, values 2600 to 9600, and .* holds 16-bit RGB"
        ):
            evaluate_model(run / "saved_model", others)
