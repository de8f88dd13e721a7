import re

import pytest

from tfseg.config.schema import Augment, Config, Data, Loss, Model, Optimizer, Train


@pytest.mark.parametrize(
    "part, settings, key",
    [
        (Data, {"records": ""}, "data.records"),
        (Data, {"records": "x", "train_split": ""}, "data.train_split"),
        (Data, {"records": "x", "val_split": ""}, "data.val_split"),
        (Data, {"records": "x", "size": "0x320"}, "data.size"),
        (Data, {"records": "x", "size": "320"}, "data.size"),
        (Data, {"records": "x", "val_size": "320x"}, "data.val_size"),
        (Data, {"records": "x", "fit": "crop", "crop_scale": (0.0, 1.0)}, "data.crop_scale"),
        (Data, {"records": "x", "fit": "crop", "crop_scale": (2.0, 1.0)}, "data.crop_scale"),
        (Data, {"records": "x", "fit": "crop", "crop_scale": (1.0, float("inf"))}, "data.crop_scale"),
        (Data, {"records": "x", "fit": "resize", "crop_scale": (0.5, 2.0)}, "data.crop_scale"),
        (Data, {"records": "x", "shuffle_buffer": 0}, "data.shuffle_buffer"),
        (Augment, {"flip": 1.1}, "augment.flip"),
        (Augment, {"flip": -0.1}, "augment.flip"),
        (Augment, {"rotation": -1.0}, "augment.rotation"),
        (Augment, {"rotation": 181.0}, "augment.rotation"),
        (Augment, {"zoom": (1.2, 0.9)}, "augment.zoom"),
        (Augment, {"zoom": (0.0, 0.9)}, "augment.zoom"),
        (Augment, {"brightness": 1.5}, "augment.brightness"),
        (Augment, {"contrast": -0.5}, "augment.contrast"),
        (Augment, {"saturation": 1.5}, "augment.saturation"),
        (Augment, {"hue": 200.0}, "augment.hue"),
        (Augment, {"gamma": (2.0, 1.0)}, "augment.gamma"),
        (Augment, {"shear": 61.0}, "augment.shear"),
        (Augment, {"perspective": 0.41}, "augment.perspective"),
        (Augment, {"tone_curve": 0.34}, "augment.tone_curve"),
        (Augment, {"blur": 3.1}, "augment.blur"),
        (Augment, {"motion_blur": -1.0}, "augment.motion_blur"),
        (Augment, {"class_mix": 1.1}, "augment.class_mix"),
        (Augment, {"probability": {"hue": 1.1}}, "augment.probability.hue"),
        (Augment, {"probability": {"flip": 0.5}}, "augment.probability"),
        (Augment, {"one_of": [{"effects": ["hue"]}]}, "augment.one_of"),
        (Augment, {"one_of": [{"effects": [], "p": 1}]}, "augment.one_of"),
        (Augment, {"one_of": [{"effects": ["hew"], "p": 1}]}, "augment.one_of"),
        (Augment, {"one_of": [{"effects": "hue", "p": 1}]}, "augment.one_of"),
        (Augment, {"one_of": [{"effects": ["hue"], "p": 2}]}, "augment.one_of"),
        (Augment, {"one_of": [{"effects": ["hue"], "p": 1}, {"effects": ["hue"], "p": 1}]}, "augment.one_of"),
        (Augment, {"blur": 1.0, "sharpen": 0.5}, "augment.one_of"),
        (Augment, {"blur": 1.0, "sharpen": 0.5, "one_of": [{"effects": ["blur", "hue"], "p": 1}]}, "augment.one_of"),
        (Model, {"encoder": ""}, "model.encoder"),
        (Model, {"weights": ""}, "model.weights"),
        (Model, {"start": ""}, "model.start"),
        (Model, {"decoder_channels": (1, 2, 3, 4)}, "model.decoder_channels"),
        (Model, {"decoder_channels": (1, 2, 3, 4, 0)}, "model.decoder_channels"),
        (Model, {"decoder": "fpn", "decoder_channels": (1, 2, 3, 4, 5)}, "model.decoder_channels"),
        (Model, {"encoder": "segformer_b0", "decoder": "keras_hub"}, "model.weights"),  # imagenet is no preset
        (Loss, {"dice": -1.0}, "loss.dice"),
        (Loss, {"cross_entropy": float("nan")}, "loss.cross_entropy"),
        (Loss, {"dice": 0.0}, "loss.dice"),
        *((Loss, {name: -1.0}, f"loss.{name}") for name in ("jaccard", "tversky", "focal", "lovasz")),
        (Loss, {"tversky_alpha": -0.1}, "loss.tversky_alpha"),
        (Loss, {"tversky_beta": 0.0}, "loss.tversky_beta"),
        (Loss, {"focal_gamma": float("inf")}, "loss.focal_gamma"),
        (Loss, {"label_smoothing": 1.0}, "loss.label_smoothing"),
        (Loss, {"auxiliary": -0.1}, "loss.auxiliary"),
        (Loss, {"dice": 0.0, "auxiliary": 0.4}, "loss.dice"),  # the head alone would leave the decoder untaught
        (Loss, {"cross_entropy": 1.0, "ohem_threshold": 1.0}, "loss.ohem_threshold"),
        (Loss, {"cross_entropy": 1.0, "ohem_threshold": 0.0}, "loss.ohem_threshold"),
        (Loss, {"ohem_threshold": 0.7}, "loss.ohem_threshold"),  # of a cross entropy that is left out
        (Loss, {"cross_entropy": 1.0, "ohem_threshold": 0.7, "ohem_min_kept": 1.1}, "loss.ohem_min_kept"),
        (Loss, {"ohem_min_kept": float("nan")}, "loss.ohem_min_kept"),
        (Optimizer, {"learning_rate": 0.0}, "optimizer.learning_rate"),
        (Optimizer, {"learning_rate": float("nan")}, "optimizer.learning_rate"),
        (Optimizer, {"learning_rate": float("inf")}, "optimizer.learning_rate"),
        (Optimizer, {"warmup_epochs": -1.0}, "optimizer.warmup_epochs"),
        (Optimizer, {"name": "adamw", "weight_decay": -1.0}, "optimizer.weight_decay"),
        (Optimizer, {"name": "adam", "weight_decay": 0.1}, "optimizer.weight_decay"),
        (Optimizer, {"ema_momentum": 0.0}, "optimizer.ema_momentum"),
        (Optimizer, {"ema_momentum": 1.0}, "optimizer.ema_momentum"),
        (Train, {"epochs": 0}, "train.epochs"),
        (Train, {"batch_size": 0}, "train.batch_size"),
        (Train, {"seed": -1}, "train.seed"),
        (Train, {"seed": 2**32}, "train.seed"),
        (Train, {"frozen_epochs": -1}, "train.frozen_epochs"),
        (Train, {"patience": 0}, "train.patience"),
        (Train, {"rollbacks": -1}, "train.rollbacks"),
        (Train, {"val_batch_size": 0}, "train.val_batch_size"),
        (Train, {"validation_freq": 0}, "train.validation_freq"),
        (Optimizer, {"encoder_lr_multiplier": 0.0}, "optimizer.encoder_lr_multiplier"),
        (Optimizer, {"encoder_lr_multiplier": 1.5}, "optimizer.encoder_lr_multiplier"),
        (Loss, {"ignore_class": 255}, "loss.ignore_class"),
        (Optimizer, {"clip_norm": 0.0}, "optimizer.clip_norm"),
        (Optimizer, {"gradient_accumulation_steps": 0}, "optimizer.gradient_accumulation_steps"),
        (Config, {"data": Data("x"), "run_dir": ""}, "run_dir"),
        (
            Config,
            {"data": Data("x"), "run_dir": "y", "optimizer": Optimizer(warmup_epochs=10.0)},
            "optimizer.warmup_epochs",
        ),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(part, settings, key):
    with pytest.raises(ValueError, match=rf"^{re.escape(key)}: expected .+, got .+$"):
        part(**settings)


def test_the_ends_of_the_ranges_are_taken():
    Data("x", size="1x1", val_size="1x1", fit="crop", crop_scale=(1e-3, 1e3), shuffle_buffer=1)
    Augment(flip=1.0, rotation=180.0, zoom=(1.5, 1.5), brightness=1.0, contrast=1.0, saturation=1.0, hue=180.0)
    Augment(shear=60.0, perspective=0.4, gamma=(1.0, 1.0), tone_curve=0.33, blur=3.0, sharpen=0.0, cutout=1.0)
    Augment(blur=1.0, sharpen=1.0, one_of=[{"effects": ["sharpen", "hue", "blur"], "p": 1}], probability={"blur": 0})
    Loss(dice=0.0, cross_entropy=0.1)
    Loss(cross_entropy=0.1, auxiliary=1e-9, ohem_threshold=1e-9, ohem_min_kept=0.0)
    Loss(cross_entropy=0.1, ohem_threshold=0.999, ohem_min_kept=1.0)
    Loss(dice=0.0, lovasz=1e-9, tversky_alpha=0.0, tversky_beta=1e-9, focal_gamma=0.0, label_smoothing=0.0)
    Optimizer(name="adamw", weight_decay=0.1, ema_momentum=0.5, encoder_lr_multiplier=1.0, clip_norm=1e-9)
    Train(frozen_epochs=0, patience=1, rollbacks=0)
    Config(Data("x"), "y", optimizer=Optimizer(warmup_epochs=0.9), train=Train(epochs=1, batch_size=1, seed=2**32 - 1))
    Model("resnet50", decoder_channels=(1, 1, 1, 1, 1))
    Model("x", None, "deeplabv3plus", (1, 1))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"size": "4x8"}, (4, 8)),
        ({"size": "4x8", "val_size": "6x9"}, (6, 9)),
        ({"size": "4x8", "fit": "crop"}, None),
        ({"size": "4x8", "fit": "crop", "val_size": "6x9"}, (6, 9)),
    ],
)
def test_eval_size(settings, size):
    assert Data(records="somewhere", **settings).eval_size == size
