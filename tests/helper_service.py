"""The service of a model that classifies by red, without a process of its own."""

import threading
import time

import numpy as np
from helper_models import MODEL_COLORS, MODEL_NAMES

from tfseg.serving.batching import Batcher
from tfseg.serving.metrics import Metrics
from tfseg.serving.service import Service

COLORS = np.array(MODEL_COLORS, np.uint8)


def by_red(images, sizes):
    """Class 0 for red 0..63, 1 for 64..127, 2 for 128..191, 3 above."""
    return images[..., 0] // 64


def make_service(work=by_red, **options):
    """A service whose model runs in a thread of its own; without `work`, it does not."""
    metrics = Metrics()
    batcher = Batcher(options.pop("max_batch", 4), 1000, 0, options.pop("queue", 4), metrics.on_batch)
    service = Service("city-1", MODEL_NAMES, COLORS, batcher, metrics, **options)
    if work:
        threading.Thread(target=batcher.work, args=(work,), daemon=True).start()
        while not batcher.running:
            time.sleep(0.001)
    return service
