"""The training that a machine is examined with, as small as it may be."""

import pytest

from tfseg.config.schema import Augment, Config, Data, Loss, Model, Optimizer, Train


@pytest.fixture
def policy():
    """Takes back the precision that a test chose."""
    import keras

    yield
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.fixture
def config(tmp_path, policy):
    return Config(
        Data(str(tmp_path / "records"), size="32x32"),
        run_dir="none",
        augment=Augment(flip=0.5, rotation=10.0, contrast=0.2),
        model=Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8)),
        loss=Loss(1.0, 1.0),
        optimizer=Optimizer("adamw", weight_decay=0.01),
        train=Train(batch_size=2),
    )
