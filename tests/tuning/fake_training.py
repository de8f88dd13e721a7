"""Stands for a training in test_search.py and test_repeat.py.

It learns best with a learning rate of 0.01, and fails with blur, or if the file fail-SEED is there. An epoch takes
train.save_minutes, as seconds; once it is resumed, none. Of the 100 pixels of flat in each of two images, seed 0 finds
50, and each other 10 more than the one before.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from tfseg.config.parse import load_config, save_config
from tfseg.io.atomic import write_json, write_whole
from tfseg.runs import run_dir
from tfseg.tuning.trial import stop_with_parent

stop_with_parent()
config = load_config(sys.argv[2])
run_dir.check_run(config)
run = Path(config.run_dir)
for folder in ("checkpoints", "saved_model"):
    (run / folder).mkdir(parents=True, exist_ok=True)
save_config(config, run / run_dir.CONFIG)
print("started", flush=True)
seed = config.train.seed or 0
if Path(f"fail-{seed}").exists():
    sys.exit(f"no room for seed {seed}")
if config.augment.blur:
    sys.exit(f"{run}: no memory for the blur")
(run / run_dir.BEST_WEIGHTS).touch()
history = run / run_dir.HISTORY
resumed = history.exists()
lines = history.read_text().splitlines() if resumed else ["epoch,val_mean_iou"]
for epoch in range(len(lines), config.train.epochs + 1):
    time.sleep(0 if resumed else config.train.save_minutes)
    lines.append(f"{epoch},{0.5 + 0.01 * epoch - 10 * abs(config.optimizer.learning_rate - 0.01)}")
    with write_whole(history) as unfinished:  # it may be stopped at any moment
        unfinished.write_text("\n".join([*lines, ""]))
scores = {"classes": ["void", "flat", "sky"], "resize": [], "inference": {"flip": False}}
(run / "scores-val.json").write_text(json.dumps(scores))
matrix = [[0, 0, 0], [50 - 10 * seed, 50 + 10 * seed, 0], [0, 0, 100]]
np.savez_compressed(run / "matrices-val.npz", ids=["a", "b"], matrices=np.array([matrix, matrix]))
validation = {"size": "192x256", "epoch": 1, "mean_iou": float(lines[-1].split(",")[1])}
write_json({"mean_iou": 0.123, "epoch": 1, "validation": validation}, run / run_dir.METRICS)
