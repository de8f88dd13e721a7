"""Stands for a training in test_search.py: it learns best with a learning rate of 0.01, and fails with blur.

An epoch takes train.save_minutes, as seconds; once it is resumed, none.
"""

import sys
import time
from pathlib import Path

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
validation = {"size": "192x256", "mean_iou": float(lines[-1].split(",")[1])}
write_json({"mean_iou": 0.123, "validation": validation}, run / run_dir.METRICS)
