"""What is converted is what was described, whatever that is; what is damaged is refused by name, or changes nothing."""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tfseg.conversion import converter
from tfseg.conversion.finding import sources
from tfseg.records import labels, records
from tfseg.records.manifest import read_manifest

SAME_EACH_TIME = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
ENDINGS = {"cityscapes": ("_leftImg8bit.png", "_gtFine_labelIds.png"), "folders": (".png", ".png")}
NAMES = st.text("abcXYZ019_-. é日[]()'&%", min_size=1, max_size=8).filter(
    lambda name: name.strip(" .") and not name.startswith(".") and "_gtFine" not in name
)


@dataclass
class Described:
    """One sample, as it is drawn upright."""

    split: str
    way: str  # folders below the split, each with a / behind it
    name: str
    id: str
    image: np.ndarray
    mask: np.ndarray  # raw values
    orientation: int  # of the image as it is stored


@dataclass
class DataSet:
    """A data set, described."""

    layout: str
    folders: tuple[str, str]
    samples: list[Described]
    kind: str  # of masks
    palette: np.ndarray  # (256, 3) uint8
    label_map: dict | None  # as its file has it
    class_of: dict[int, str]
    classes: list[str]


@st.composite
def data_sets(draw, most=3, layouts=("cityscapes", "folders")):
    """Describes a data set."""
    layout = draw(st.sampled_from(layouts))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if layout == "cityscapes":
        values, label_map = [*range(34), 255], None
        class_of = {label.id: label.category for label in labels.LABELS if label.id >= 0} | {255: "void"}
        classes, folders = [*labels.CATEGORIES], draw(st.sampled_from([("leftImg8bit", "gtFine"), ("images", "masks")]))
    else:
        names = draw(
            st.lists(NAMES.filter(lambda name: name.strip().lower() != "void"), min_size=2, max_size=5, unique=True)
        )
        with_void = draw(st.booleans())
        values = draw(st.lists(st.integers(0, 255), min_size=len(names), max_size=12, unique=True))
        given_names = ["void", *names] if with_void else names
        class_of = {value: given_names[place % len(given_names)] for place, value in enumerate(values)}
        colors = [[place, 1, 2] for place, _ in enumerate(given_names)]  # those of no palette below
        label_map = {"classes": dict(zip(given_names, colors, strict=True)), **class_of}
        classes, folders = ["void", *names], ("images", "masks")
    kind = draw(st.sampled_from(["grey", "greys", "colours"]))
    palette = np.stack([random.permutation(256), random.integers(0, 256, 256), np.full(256, 77)], axis=1).astype(
        np.uint8
    )
    same_size = draw(st.booleans())
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    samples, taken = [], set()
    for split in draw(
        st.lists(st.sampled_from(["train", "val", "test", "train_extra"]), min_size=1, max_size=2, unique=True)
    ):
        for place, name in enumerate(draw(st.lists(NAMES, min_size=1, max_size=most, unique=True))):
            way = draw(st.sampled_from(["", "ulm/"] if layout == "cityscapes" else ["", "seq/", "seq/1/"]))
            own = size if same_size else draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
            mask = random.choice(np.array(values, np.uint8), own)
            if layout == "cityscapes" and place == 0:
                mask[0, 0] = random.integers(19, 34)
            image = random.integers(0, 256, (*own, 3), np.uint8)
            orientation = draw(st.sampled_from([1, 1, 1, 3, 6, 8]))
            id = name if layout == "cityscapes" else way.replace("/", "_") + name
            sample = Described(split, way, name, id, image, mask, orientation)
            assume(sample.id.lower() not in taken)
            taken.add(sample.id.lower())
            samples.append(sample)
    return DataSet(layout, folders, samples, kind, palette, label_map, class_of, classes)


def encode_mask(mask, kind, palette, place):
    """Writes a mask grey, as a palette of its greys in an order of its own, or with the palette of all."""
    file, image = io.BytesIO(), Image.fromarray(mask)
    if kind == "greys":
        values = np.random.default_rng(place).permutation(np.unique(mask))
        image = Image.fromarray(np.argsort(values).astype(np.uint8)[np.searchsorted(np.sort(values), mask)])
        image.putpalette(values.repeat(3).astype(np.uint8).tobytes())
    elif kind == "colours":
        image.putpalette(palette[: int(mask.max()) + 1].tobytes())
    image.save(file, "png")
    return file.getvalue()


def encode_image(image, orientation):
    turned = {3: lambda: np.rot90(image, 2), 6: lambda: np.rot90(image), 8: lambda: np.rot90(image, -1)}
    stored = np.ascontiguousarray(turned[orientation]() if orientation in turned else image)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(file, "png", **({"exif": exif} if orientation > 1 else {}))
    return file.getvalue()


def write(root, described):
    """Writes a data set; the files of each sample, image and mask."""
    files = []
    for place, sample in enumerate(described.samples):
        pair = []
        data = (
            encode_image(sample.image, sample.orientation),
            encode_mask(sample.mask, described.kind, described.palette, place),
        )
        for folder, ending, content in zip(described.folders, ENDINGS[described.layout], data, strict=True):
            path = root / folder / sample.split / sample.way / f"{sample.name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            (path.parent / "Thumbs.db").write_bytes(b"")
            pair.append(path)
        files.append(pair)
    if described.label_map:
        text = yaml.safe_dump(described.label_map, allow_unicode=True, sort_keys=False)
        (root / "map.yaml").write_text(text, encoding="utf-8")
    return files


def convert_raw(root, described, out, **more):
    label_map = root / "map.yaml" if described.label_map else None
    return converter.convert(sources.open_source(root, None, label_map), out, codec="png", **more)


def read(out):
    manifest = read_manifest(out)
    for name, split in manifest.splits.items():
        for shard in split.shards:
            for data in records.read_shard(out / shard.name):
                yield name, records.decode_example(data)


@given(data_sets())
@settings(SAME_EACH_TIME, max_examples=40)
def test_what_is_stored_is_what_was_described(described):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "raw", described)
        manifest = convert_raw(Path(folder) / "raw", described, Path(folder) / "out")
        stored = [*read(Path(folder) / "out")]
    assert manifest.classes == described.classes
    assert sorted((split, record.id) for split, record in stored) == sorted(
        (it.split, it.id) for it in described.samples
    )
    by_id = {sample.id: sample for sample in described.samples}
    number = {value: described.classes.index(name) for value, name in described.class_of.items()}
    pixels = {split: np.zeros(len(described.classes), int) for split in manifest.splits}
    for split, record in stored:
        sample = by_id[record.id]
        expected = np.vectorize(number.get)(sample.mask)
        assert np.array_equal(record.image, sample.image) and np.array_equal(record.mask, expected)
        assert record.label_ids is None if split.startswith("train") else np.array_equal(record.label_ids, sample.mask)
        pixels[split] += np.bincount(expected.ravel(), minlength=len(described.classes))
    assert {split: it.class_pixels for split, it in manifest.splits.items()} == {
        split: counts.tolist() for split, counts in pixels.items()
    }
    turned = sum(sample.orientation > 1 for sample in described.samples)
    assert sum(manifest.findings["turned"].values()) == turned
    kinds = {"grey": "grey", "greys": "palette of greys", "colours": "palette of colours"}
    assert manifest.findings["mask_kinds"] == {kinds[described.kind]: len(described.samples)}


@st.composite
def damages(draw):
    """A data set, a place in it, and what is done to the file there."""
    described = draw(data_sets(most=2))
    place = draw(st.integers(0, len(described.samples) - 1)), draw(st.integers(0, 1))
    kind = draw(st.sampled_from(["cut", "flip", "swap", "lose", "grow", "empty"]))
    return described, place, kind, draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 255))


@given(damages())
@settings(SAME_EACH_TIME, max_examples=70)
def test_damage_is_refused_by_name_or_changes_nothing(drawn):
    described, (sample, which), kind, share, bits = drawn
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "raw", Path(folder) / "out"
        files = write(root, described)
        path, partner = files[sample][which], files[sample][1 - which]
        data = path.read_bytes()
        if kind == "cut":
            path.write_bytes(data[: int(share * len(data))])
        elif kind == "flip":
            at = int(share * len(data))
            path.write_bytes(data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :])
        elif kind == "swap":
            path.write_bytes(partner.read_bytes())
            partner.write_bytes(data)
        elif kind == "lose":
            path.unlink()
        elif kind == "grow":
            mask = described.samples[sample].mask
            files[sample][1].write_bytes(encode_mask(np.pad(mask, ((0, 1), (0, 0)), "edge"), "grey", None, 0))
            which = 1
        else:
            path.write_bytes(b"")
        try:
            convert_raw(root, described, out)
        except (ValueError, OSError) as error:
            named = [str(file) for file in files[sample]]
            if kind == "lose":  # by its id, or the split of which it was all
                named += [
                    f"{described.samples[sample].split}/{described.samples[sample].id}",
                    described.samples[sample].split,
                ]
            assert any(name in str(error) for name in named), str(error)
            assert not out.exists() and "\n" not in str(error)
            return
        assert kind not in ("cut", "grow", "empty", "swap")
        stored = {record.id: record for _, record in read(out)}
        expected = described.samples
        if kind == "lose":  # a split of one sample is left out, with a warning
            lost = expected[sample]
            expected = [it for it in expected if it.split != lost.split]
            assert {it.split for it in described.samples} != {lost.split}
        number = {value: described.classes.index(name) for value, name in described.class_of.items()}
        assert {*stored} == {it.id for it in expected}
        for it in expected:
            assert np.array_equal(stored[it.id].image, it.image)
            assert np.array_equal(stored[it.id].mask, np.vectorize(number.get)(it.mask))
