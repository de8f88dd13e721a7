"""The losses of one device and of two that share each batch; test_distribution.py starts it in processes of their own.

none and mirrored come from one process with two logical devices; multiworker from two, each with TF_CONFIG.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from tfseg.config.schema import Accelerator, Config, Data, Loss, Model, Optimizer, Train
from tfseg.device import choose_device
from tfseg.metrics.confusion import Scorer, score
from tfseg.training import assembly
from tfseg.training.distribution import distribute
from tfseg.training.learner import finish_epoch

SIZE, STEPS = 32, 6


def run(strategy: str, images, masks) -> dict:
    """Takes three steps by `fit` and three by `finish_epoch`; then scores. A worker takes its rows of each batch."""
    keras.utils.set_random_seed(0)
    config = Config(
        Data("none"),
        "none",
        model=Model(encoder="tiny", weights=None, decoder_channels=(8, 8, 8, 8, 8)),
        loss=Loss(dice=1.0, cross_entropy=1.0, auxiliary=0.4),
        optimizer=Optimizer(learning_rate=1e-3, clip_norm=0.5, ema_momentum=0.9),
        train=Train(batch_size=4),
        accelerator=Accelerator(kind="cpu", strategy=strategy),
    )
    device = choose_device("cpu", "float32", strategy=strategy)
    team = distribute(device)
    learner = assembly.build_learner(config, device, STEPS, num_classes=8)
    losses = []
    keep = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    rows = slice(team.index * 4 // team.workers, (team.index + 1) * 4 // team.workers)
    data = tf.data.Dataset.from_tensor_slices({"image": images[:, rows], "mask": masks[:, rows]}).repeat()
    learner.fit(team.spread(data), steps_per_epoch=3, shuffle=False, verbose=0, callbacks=[keep])
    rest = iter(team.spread(data.skip(3)))
    finish_epoch(learner, rest, 0, 3, [], {"epochs": 1, "steps": STEPS})
    losses.append(float(learner.get_metrics_result()["loss"]))
    last = tf.data.Dataset.from_tensor_slices({"image": images[0], "mask": masks[0]}).batch(3)
    scores = score(Scorer(learner.network, learner.loss_function), last)
    averages = learner.optimizer._model_variables_moving_average
    return {
        "device": str(device),
        "gathered": team.gather([team.index, 7]).tolist(),
        "any": team.any(team.index == 1, False),
        "losses": losses,
        "steps": int(keras.ops.convert_to_numpy(learner.steps)),
        "val_loss": scores["loss"],
        "matrix": scores["confusion_matrix"],
        "averages": float(sum(np.abs(keras.ops.convert_to_numpy(average)).sum() for average in averages)),
    }


if __name__ == "__main__":
    kinds = sys.argv[1:]
    if "mirrored" in kinds:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (STEPS, 4, SIZE, SIZE, 3), np.uint8)
    masks = (images[..., 0] // 32 * (images[..., :1, 1] > 128)).astype(np.uint8)  # void and classes in uneven parts
    print(json.dumps([run(kind, images, masks) for kind in kinds]))
