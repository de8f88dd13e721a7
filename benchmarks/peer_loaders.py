"""How one would load the same images with other tools, for bench_pipeline.py --peers.

Each function yields batches of 8 images and masks of 320x320 without an end, on so many cores, as the tool's own
guides write it; augmentation is left out. RESIZED loads whole images, CROPS random crops of images of 512x1024.
"""

import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from tfseg.records import records
from tfseg.records.labels import LABELS
from tfseg.records.manifest import read_manifest
from tfseg.records.parsing import parse_features, parse_image, parse_mask

BATCH_SIZE = 8
SIZE = 320


def write_loose(directory: str, split: str, folder: Path) -> None:
    """Writes the images of records as loose JPEG 95, PNG, and tar files of the JPEGs, with PNG masks."""
    manifest = read_manifest(directory)
    folder.mkdir(parents=True)
    shards = [Path(directory, shard.name) for shard in manifest.splits[split].shards]
    for number, shard in enumerate(shards):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
            for index, data in enumerate(records.read_shard(shard)):
                features = parse_features(data)
                image, mask = parse_image(features, manifest), parse_mask(features, manifest)
                stem = folder / f"{number:02d}{index:04d}"
                bgr = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)
                full_color = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
                cv2.imwrite(f"{stem}.jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95, *full_color])
                cv2.imwrite(f"{stem}.png", bgr)
                cv2.imwrite(f"{stem}.mask.png", np.asarray(mask)[..., 0] if np.ndim(mask) == 3 else np.asarray(mask))
                for suffix in (".jpg", ".mask.png"):
                    tar.add(f"{stem}{suffix}", stem.name + suffix)


def read_rgb(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def read_grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def writeup(raw: Path, cores: int, shrink_first: bool = False) -> Iterator:
    """Raw Cityscapes PNGs in a Keras PyDataset: OpenCV, classes remapped by pandas, resized by albumentations."""
    import albumentations as A
    import keras
    import pandas as pd
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    images = sorted(Path(raw, "leftImg8bit", "train").rglob("*.png"))
    table = {label.id: label.category_id for label in LABELS}
    resize = A.Resize(SIZE, SIZE)
    cv2.setNumThreads(1)

    class Images(keras.utils.PyDataset):
        def __len__(self):
            return len(images) // BATCH_SIZE

        def __getitem__(self, index):
            pairs = [self.load(path) for path in images[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]]
            return np.stack([pair["image"] for pair in pairs]), np.stack([pair["mask"] for pair in pairs])

        def load(self, path):
            name = path.name.replace("leftImg8bit", "gtFine_labelIds")
            truth = read_grey(Path(raw, "gtFine", "train", path.parent.name, name))
            pair = {"image": read_rgb(path), "mask": truth}
            pair = resize(**pair) if shrink_first else pair
            flat = pd.Series(pair["mask"].ravel()).map(table).to_numpy(np.uint8)
            pair = {"image": pair["image"], "mask": flat.reshape(pair["mask"].shape)}
            return pair if shrink_first else resize(**pair)

    adapter = PyDatasetAdapter(Images(workers=cores, max_queue_size=4), shuffle=True)
    while True:
        adapter.on_epoch_begin()
        yield from itertools.islice(adapter.get_tf_dataset(), len(images) // BATCH_SIZE)
        adapter.on_epoch_end()


def writeup_shrinking_first(raw: Path, cores: int) -> Iterator:
    return writeup(raw, cores, shrink_first=True)


class Crops:
    """Loose JPEGs and PNG masks as a data set for PyTorch's DataLoader: OpenCV, cut by albumentations."""

    def __init__(self, folder: Path):
        import albumentations as A

        self.images = sorted(folder.glob("*.jpg"))
        self.crop = A.RandomCrop(SIZE, SIZE)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        path = self.images[index]
        pair = self.crop(image=read_rgb(path), mask=read_grey(path.with_suffix(".mask.png")))
        return pair["image"], pair["mask"]


def one_thread(_: int) -> None:
    cv2.setNumThreads(1)


def pytorch(folder: Path, cores: int) -> Iterator:
    """PyTorch's DataLoader with a worker a core."""
    from torch.utils.data import DataLoader

    loader = DataLoader(
        Crops(folder),
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=cores,
        persistent_workers=True,
        prefetch_factor=4,
        worker_init_fn=one_thread,
    )
    while True:
        yield from loader


def decode_and_crop(sample: dict) -> tuple[np.ndarray, np.ndarray]:
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(sample["jpg"], np.uint8), 1), cv2.COLOR_BGR2RGB)
    mask = cv2.imdecode(np.frombuffer(sample["mask.png"], np.uint8), cv2.IMREAD_UNCHANGED)
    top, left = (np.random.randint(0, extent - SIZE + 1) for extent in mask.shape)
    return image[top : top + SIZE, left : left + SIZE], mask[top : top + SIZE, left : left + SIZE]


def webdataset(folder: Path, cores: int) -> Iterator:
    """WebDataset: tar files of the same JPEGs, OpenCV, with a worker a core."""
    import webdataset as wds

    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    samples = wds.WebDataset(shards, resampled=True, shardshuffle=False).shuffle(200).map(decode_and_crop)
    loader = wds.WebLoader(
        samples.batched(BATCH_SIZE), batch_size=None, num_workers=cores, prefetch_factor=4, worker_init_fn=one_thread
    )
    yield from loader


def tf_data(folder: Path, cores: int, suffix: str) -> Iterator:
    """tf.data over loose files, as TensorFlow's guides write it: decode, cut, batch, prefetch."""
    import tensorflow as tf

    images = [str(path) for path in sorted(folder.glob(f"*{suffix}")) if ".mask" not in path.name]
    masks = [name.removesuffix(suffix) + ".mask.png" for name in images]
    decode = {".png": tf.io.decode_png, ".jpg": tf.io.decode_jpeg}[suffix]

    def load(image, mask):
        both = [decode(tf.io.read_file(image), 3), tf.io.decode_png(tf.io.read_file(mask), 1)]
        both = tf.image.random_crop(tf.concat(both, axis=-1), (SIZE, SIZE, 4))
        return both[..., :3], both[..., 3]

    files = tf.data.Dataset.from_tensor_slices((images, masks)).shuffle(len(images)).repeat()
    yield from files.map(load, tf.data.AUTOTUNE).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)


def tf_data_png(folder: Path, cores: int) -> Iterator:
    return tf_data(folder, cores, ".png")


def tf_data_jpeg(folder: Path, cores: int) -> Iterator:
    return tf_data(folder, cores, ".jpg")


RESIZED = {"the write-up's loader": writeup, "the same, shrinking before it remaps": writeup_shrinking_first}
CROPS = {
    "PyTorch DataLoader, loose JPEGs": pytorch,
    "WebDataset, tars of JPEGs": webdataset,
    "tf.data, loose PNGs": tf_data_png,
    "tf.data, loose JPEGs": tf_data_jpeg,
}
