"""One table of image files through every door of a model: the same mask everywhere, or the same refusal."""

import io
import shutil
import threading
from functools import cache, partial

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from tfseg import predict
from tfseg.conversion import converter
from tfseg.conversion.finding import sources
from tfseg.evaluation import evaluator, judge
from tfseg.exporters import litert, onnx, openvino, parity
from tfseg.exporters.exporter import export_saved_model
from tfseg.exporters.saved_model import Traced
from tfseg.inference.film import predict_film
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.predictor import Predictor, make_segmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io.film import Film
from tfseg.io.images import decode_file
from tfseg.io.resizing import resize_along
from tfseg.records.labels import CATEGORIES, CATEGORY_COLORS
from tfseg.serving import web_view

SIZES = [(48, 64), (24, 40)]  # as of records of the first size and a validation at the second
SMOOTH = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8), (80, 60), interpolation=cv2.INTER_CUBIC
)


def encode(pixels, kind="PNG", mode=None, orientation=None, **options):
    file, image = io.BytesIO(), Image.fromarray(pixels)
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def with_alpha(alpha):
    return np.dstack([SMOOTH, np.full(SMOOTH.shape[:2], alpha, np.uint8)])


EMPTY_EXIF = b"Exif\0\0MM\0*" + bytes([0, 0, 0, 8, 0, 0, 0, 0, 0, 0])
GREY = np.minimum(SMOOTH[..., 0], 254)
TAKEN = {
    "RGB": encode(SMOOTH),
    "grey": encode(GREY),
    "one bit": encode(SMOOTH, mode="1"),
    "palette": encode(SMOOTH, mode="P"),
    "opaque alpha": encode(with_alpha(255)),
    "grey with opaque alpha": encode(SMOOTH, mode="LA"),
    "a transparent grey that is not there": encode(GREY, transparency=255),
    "JPEG": encode(SMOOTH, "JPEG"),
    "JPEG at full colour": encode(SMOOTH, "JPEG", quality=100, subsampling=0),
    "progressive": encode(SMOOTH, "JPEG", progressive=True),
    "grey JPEG": encode(GREY, "JPEG"),
    **{
        f"{kind} turned by {turn}": encode(SMOOTH, kind, orientation=turn)
        for kind in ("PNG", "JPEG")
        for turn in range(1, 9)
    },
    "an orientation that is none": encode(SMOOTH, "JPEG", orientation=9),
    **{f"EXIF without entries, {kind}": encode(SMOOTH, kind, exif=EMPTY_EXIF) for kind in ("PNG", "JPEG")},
    "EXIF that points beyond the end": encode(SMOOTH, "JPEG", exif=EMPTY_EXIF[:10] + bytes.fromhex("00ffff000000")),
    "EXIF that points before itself": encode(SMOOTH, "JPEG", exif=EMPTY_EXIF[:10] + bytes.fromhex("fffffff00000")),
    "the network's size": encode(SMOOTH[:24, :40]),
    "larger": encode(cv2.resize(SMOOTH, (301, 203))),
    "smaller": encode(SMOOTH[:7, :9]),
    "another aspect": encode(cv2.resize(SMOOTH, (30, 170)), "JPEG"),
    "one pixel": encode(SMOOTH[:1, :1]),
}
BY_PILLOW = {
    "BMP": encode(SMOOTH, "BMP"),
    "TIFF": encode(SMOOTH, "TIFF", orientation=6),
    "WebP": encode(SMOOTH, "WEBP", lossless=True, orientation=3),
}
REFUSED = {  # name -> content, words of every refusal
    "transparent": (encode(with_alpha(254)), "has transparent pixels, which stand for no colour"),
    "a transparent colour": (encode(SMOOTH, transparency=(*map(int, SMOOTH[0, 0]),)), "has transparent pixels"),
    "a transparent grey": (encode(GREY, transparency=int(GREY[0, 0])), "has transparent pixels"),
    "a transparent palette": (encode(SMOOTH, mode="P", transparency=bytes(256)), "has transparent pixels"),
    "16 bits": (cv2.imencode(".png", GREY.astype(np.uint16) * 257)[1].tobytes(), "is a 16-bit "),
    "48 bits": (cv2.imencode(".png", SMOOTH.astype(np.uint16) * 257)[1].tobytes(), "is a 16-bit "),
    "an animation": (
        encode(SMOOTH, save_all=True, append_images=[Image.fromarray(SMOOTH[::-1])]),
        "has more than one image in one PNG file",
    ),
    "CMYK": (encode(SMOOTH, "JPEG", mode="CMYK"), "is a CMYK image"),
    "a PNG cut short": (encode(SMOOTH)[:-13], "is cut short or damaged"),
    "a PNG without its end": (encode(SMOOTH)[:-12], "is cut short or damaged"),
    "a JPEG of padding": (
        b"\xff\xd8" + bytes([255]) * 300_000 + encode(SMOOTH, "JPEG")[2:],
        "has more than 10,000 segments or bytes of padding",
    ),
    "a JPEG cut short": (encode(SMOOTH, "JPEG")[:-2], "is cut short or damaged"),
    "GIF": (encode(SMOOTH, "GIF", mode="P"), "is no PNG"),
    "text": (b"no image", "is no PNG"),
}


@pytest.fixture(scope="module")
def network():
    """Of random weights; its classes depend on the size at which it sees an image."""
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Rescaling(1 / 64, offset=-2),
        keras.layers.Conv2D(12, 5, padding="same", activation="relu"),
        keras.layers.Conv2D(len(CATEGORIES), 3, padding="same", dilation_rate=2, kernel_initializer="he_normal"),
    ]
    return keras.Sequential([keras.Input((None, None, 3)), *layers])


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    directory = tmp_path_factory.mktemp("doors") / "model"
    export_saved_model(network, directory, CATEGORIES, CATEGORY_COLORS, SIZES)
    return directory


load_once = cache(Predictor)


@pytest.fixture(scope="module")
def expected(network):
    """From the content of a file to its mask: as the network was validated."""

    def run(images):
        return np.asarray(keras.ops.softmax(network(images.astype(np.float32))))

    segment = ImageSegmenter(run, len(CATEGORIES), SIZES)
    return lambda content: segment(decode_file(content))


def by_signature(model):
    predictor = load_once(model)
    return lambda content: as_array(predictor.answer_files([content])[0])


def by_pixels(model):
    """The default signature, for who decodes images by other means."""
    predictor = load_once(model)
    return lambda content: predictor(decode_file(content)[np.newaxis])[0]


def by_page(model):
    loaded = web_view.load_model(model)
    return lambda content: web_view.classify(loaded, web_view.open_image(content, "image")).class_ids


def by_service(model):
    pytest.importorskip("flask")
    from tfseg.serving.batching import Batcher
    from tfseg.serving.http_app import create_app
    from tfseg.serving.launcher import load
    from tfseg.serving.metrics import Metrics
    from tfseg.serving.service import Service

    batcher = Batcher(4, 10**6, 0, 4)
    threading.Thread(target=batcher.work, args=(load(model, InferenceSettings(), SIZES),), daemon=True).start()
    prepare = partial(resize_along, sizes=SIZES)
    client = create_app(Service("m", CATEGORIES, CATEGORY_COLORS, batcher, Metrics(), prepare=prepare)).test_client()

    def post(content):
        answer = client.post("/predict", data=content)
        if answer.status_code != 200:
            raise ValueError(answer.json["detail"])
        return as_array(answer.data)

    return post


def as_array(content):
    return np.asarray(Image.open(io.BytesIO(content)))


DOORS = {door.__name__: door for door in (by_signature, by_pixels, by_page, by_service)}


@pytest.fixture(scope="module", params=DOORS)
def door(request, model):
    return DOORS[request.param](model)


@pytest.mark.long
def test_every_door_gives_the_same_mask(door, expected, request):
    reads_all = "by_signature" not in request.node.name
    for name, content in (TAKEN | (BY_PILLOW if reads_all else {})).items():
        mask = expected(content)
        assert len(np.unique(mask)) > 1 or name == "one pixel"
        assert np.array_equal(door(content), mask), name


@pytest.mark.long
def test_every_door_refuses_alike(door):
    for name, (content, words) in REFUSED.items():
        with pytest.raises(ValueError) as error:
            door(content)
        assert words in str(error.value), name


@pytest.mark.long
def test_the_command_gives_the_same_masks_and_refuses_alike(model, expected, tmp_path):
    files = TAKEN | BY_PILLOW | {name: content for name, (content, _) in REFUSED.items()}
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / f"{name}.png").write_bytes(content)
    with pytest.raises(ValueError) as error:
        predict.main(["--model", str(model), "--out", str(tmp_path / "out"), str(tmp_path / "in")])
    for name, (_, words) in REFUSED.items():
        assert f"{name}.png {words}" in str(error.value)
    for name, content in (TAKEN | BY_PILLOW).items():
        mask = cv2.imread(str(tmp_path / "out" / f"{name}_classes.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(mask, expected(content)), name
    assert len([*(tmp_path / "out").iterdir()]) == 2 * len(TAKEN | BY_PILLOW)


def test_films_are_shown_the_same_masks(model, expected, tmp_path):
    contents = [TAKEN["larger"], TAKEN["RGB"]]
    masks, segment = [], make_segmenter(load_once(model))

    def watch(frame):
        masks.append(segment(frame))
        return masks[-1]

    for content in contents:
        film = Film.steady([decode_file(content)], 5.0, 1)
        predict_film(load_once(model), film, tmp_path / "film.mp4", 0.5, watch)
    assert all(np.array_equal(mask, expected(content)) for mask, content in zip(masks, contents, strict=True))


def test_the_signature_for_files_refuses_what_tensorflow_decodes_otherwise(model):
    for content in BY_PILLOW.values():
        with pytest.raises(ValueError, match="the file is no PNG or JPEG image"):
            by_signature(model)(content)


def test_what_is_scored_is_what_a_file_gets(model, expected, tmp_path, monkeypatch):
    """From files, converted without loss to records of the first size, to the masks that `evaluate` judges."""
    names = ["RGB", "palette", "JPEG", "larger", "another aspect", "smaller", "JPEG turned by 3"]
    for folder in ("images/val", "masks/val"):
        (tmp_path / folder).mkdir(parents=True)
    for name in names:
        (tmp_path / f"images/val/{name}.png").write_bytes(TAKEN[name])
        size = decode_file(TAKEN[name]).shape[:2]
        (tmp_path / f"masks/val/{name}.png").write_bytes(encode(np.ones(size, np.uint8)))
    (tmp_path / "map.yaml").write_text("\n".join(f"{id}: {name}" for id, name in enumerate(CATEGORIES)))
    source = sources.open_source(tmp_path, label_map=str(tmp_path / "map.yaml"))
    converter.convert(source, tmp_path / "records", size=SIZES[0], codec="png", workers=1)
    judged, add = {}, judge.Judge.add

    def add_and_keep(self, example, mask, *rest):
        judged[example.id] = mask
        add(self, example, mask, *rest)

    monkeypatch.setattr(judge.Judge, "add", add_and_keep)
    evaluator.evaluate_model(model, tmp_path / "records", "val")
    assert {*judged} == {*names}
    assert all(np.array_equal(judged[name], expected(TAKEN[name])) for name in names)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["SavedModel", "LiteRT", "ONNX", "OpenVINO"])
def test_every_format_takes_the_same_way(network, tmp_path, model, kind):
    """The largest difference is that of float32 sums; files by way of the SavedModel's own signature."""
    images = [SMOOTH, SMOOTH[:48, :64]]
    examples = [{"id": b"a", "image": image, "mask": np.ones(image.shape[:2], np.uint8)} for image in images]
    directory = shutil.copytree(model, tmp_path / "model")
    if kind == "LiteRT":
        (directory / "model_float32.tflite").write_bytes(litert.convert(Traced(network), SIZES[-1], "float32", []))
    if kind == "ONNX":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
        onnx.write(Traced(network), directory)
    if kind == "OpenVINO":
        pytest.importorskip("openvino")
        openvino.write(Traced(network), directory)
    models, encoded = parity.load_models(directory), parity.load_encoded(directory)
    formats = parity.compare(network, models, examples, SIZES, encoded)["formats"]
    assert {*formats} == {"SavedModel", parity.ENCODED, {"LiteRT": "LiteRT float32"}.get(kind, kind)}
    assert all(entry["other_class"] == 0 for entry in formats.values())
    assert max(entry.get("largest_difference", 0) for entry in formats.values()) < 1e-5
