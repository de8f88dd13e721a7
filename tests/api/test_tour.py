"""The whole way in Python, each line as the documentation has it, on a city of a few images."""

import numpy as np
import pytest
from PIL import Image

import tfseg
from tfseg.synthetic.sample_city import make_sample_city

CONFIG = """
data: {records: records, size: 32x64}
run_dir: run
quiet: true
model: {encoder: tiny, weights: null, decoder_channels: [8, 8, 8, 8, 8]}
train: {epochs: 2, batch_size: 4}
"""


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """The folder that all of this lies in, with raw images and a run that was trained on them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("tour")
        patch.chdir(folder)
        make_sample_city(folder / "city", (64, 128), {"train": 8, "val": 4, "test": 1}, seed=0, workers=1)
        (folder / "run.yaml").write_text(CONFIG)
        tfseg.convert_dataset("city", "records", size=(32, 64), codec="png")
        tfseg.train_run(tfseg.Config.from_yaml("run.yaml", train={"epochs": 1}))
        yield folder


@pytest.mark.long
def test_from_records_to_a_model_by_fit(city, monkeypatch):
    monkeypatch.chdir(city)
    records = tfseg.open_records("records")
    train = records.train_dataset(image_size=(32, 32), batch_size=4, crop=tfseg.RandomCrop(scale=(0.5, 2.0)), seed=0)
    val = records.eval_dataset("val", batch_size=1)

    network = tfseg.Unet("tiny", classes=len(records.classes), encoder_weights=None)
    model = tfseg.Segmenter(network, augmentation=tfseg.Augmentation(flip=0.5, hue=10))
    model.compile(
        tfseg.AdamW(1e-3, schedule=tfseg.Cosine(warmup=1)),
        loss=tfseg.DiceLoss(ignore_class=0),
        metrics=[tfseg.MeanIoU(len(records.classes), ignore_class=0)],
    )
    history = model.fit(train, validation_data=val, epochs=2, verbose=0).history
    assert len(history["val_mean_iou"]) == 2 and np.isfinite(history["loss"]).all()

    truth = np.concatenate([mask for _, mask in val.as_numpy_iterator()])
    scores = tfseg.score(truth, model.predict(val, verbose=0), classes=records.classes)
    assert scores.mean_iou == pytest.approx(history["val_mean_iou"][-1], abs=1e-6)
    assert scores.mean_iou == pytest.approx(model.evaluate(val, verbose=0, return_dict=True)["mean_iou"], abs=1e-6)

    segment = tfseg.export_model(model, "model", records, input_size=records.size)
    image, mask, _ = records.example("val", 0)
    np.testing.assert_array_equal(segment(image), model.predict(image[np.newaxis], verbose=0)[0])
    assert segment(image).shape == mask.shape


@pytest.mark.long
def test_from_a_run_to_a_model(city, monkeypatch):
    monkeypatch.chdir(city)
    run = tfseg.open_run("run")
    assert run.history["epoch"] == [1] and run.records.classes == tfseg.open_records("records").classes
    evaluated = tfseg.evaluate_run(run, progress=False)
    assert run.scores.mean_iou == evaluated.scores.mean_iou
    assert run.model()(np.zeros((1, 32, 64, 3), np.float32)).shape == (1, 32, 64, 8)
    assert run.report(samples=1).page.is_file()

    export = tfseg.export_run(run, "exported", formats=["saved_model"], images=1)
    assert "SavedModel" in str(export.parity)
    street = next((city / "city").rglob("*leftImg8bit.png"))
    mask = tfseg.load_model("exported")(street)
    assert mask.shape == (64, 128) and mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, tfseg.load_model(run)(Image.open(street)))


@pytest.mark.long
def test_a_run_goes_on_where_more_epochs_are_asked_for(city, monkeypatch):
    monkeypatch.chdir(city)
    run = tfseg.train_run(tfseg.Config.from_yaml("run.yaml"))
    assert run.history["epoch"] == [1, 2] and run.config.train.epochs == 2


@pytest.mark.long
def test_converted_data_are_opened(city, monkeypatch):
    monkeypatch.chdir(city)
    again = tfseg.convert_dataset("city", "records", size=(32, 64), codec="png")
    assert again == tfseg.open_records("records") and str(again) == "records"
