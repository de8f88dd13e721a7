from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfseg.records.labels import CATEGORY_COLORS
from tfseg.training.panels import Panels, draw_panel


@pytest.mark.parametrize(("shape", "small"), [((4, 6), (4, 18)), ((512, 512), (512, 1536)), ((600, 1025), (200, 1026))])
def test_panels_are_bounded_and_hold_colours_of_classes(shape, small):
    image, truth, prediction = np.full((*shape, 3), 9, np.uint8), np.full(shape, 1), np.full(shape, 7)
    panel = draw_panel(image, truth, prediction, CATEGORY_COLORS)
    assert (panel.shape, panel.dtype) == ((*small, 3), np.uint8)
    left, middle, right = np.hsplit(panel, 3)
    assert (left == 9).all() and (middle == CATEGORY_COLORS[1]).all() and (right == CATEGORY_COLORS[7]).all()


def test_an_epoch_leaves_its_images_by_averaged_weights_and_the_others_where_they_were(tmp_path):
    pixels = keras.Input((None, None, 3))
    network = keras.Model(pixels, keras.layers.Dense(8, kernel_initializer="zeros")(pixels))
    optimizer = keras.optimizers.SGD(use_ema=True)
    optimizer.build(network.trainable_variables)
    bias = network.layers[-1].bias
    bias.assign(np.eye(8)[1])
    for variable, average in zip(network.trainable_variables, optimizer._model_variables_moving_average, strict=True):
        average.assign(np.eye(8)[2] if variable is bias else variable)
    example = {"id": b"a", "image": np.zeros((2, 2, 3), np.uint8), "mask": np.ones((2, 2), np.uint8)}
    panels = Panels(tmp_path, [example], CATEGORY_COLORS)
    panels.set_model(SimpleNamespace(network=network, optimizer=optimizer))
    panels.on_epoch_end(2, {"loss": 1.0})
    assert not [*tmp_path.iterdir()], "epoch 2 was not validated"
    panels.on_epoch_end(3, {"loss": 1.0, "val_loss": 1.0})
    events = EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Tensors("a")
    image = tf.io.decode_png(event.tensor_proto.string_val[2]).numpy()
    assert event.step == 3
    black, truth, prediction = [0, 0, 0], CATEGORY_COLORS[1].tolist(), CATEGORY_COLORS[2].tolist()
    assert image[0].tolist() == [black, black, truth, truth, prediction, prediction]
    assert keras.ops.convert_to_numpy(bias).tolist() == np.eye(8)[1].tolist()
