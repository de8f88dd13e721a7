"""Stands for a training in test_search.py: it learns the better the nearer its rate is to 0.01, and fails with blur.

An epoch takes train.save_minutes, as seconds; once it goes on after a stop, none.
"""

import sys
import time
from pathlib import Path

from tfseg.config.parse import load_config, save_config
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
goes_on = history.exists()
lines = history.read_text().splitlines() if goes_on else ["epoch,val_mean_iou"]
for epoch in range(len(lines), config.train.epochs + 1):
    time.sleep(0 if goes_on else config.train.save_minutes)
    lines.append(f"{epoch},{0.5 + 0.01 * epoch - 10 * abs(config.optimizer.learning_rate - 0.01)}")
    with run_dir.replacing(history) as unfinished:  # it may be stopped at any moment
        unfinished.write_text("\n".join([*lines, ""]))
run_dir.write_json({"mean_iou": float(lines[-1].split(",")[1])}, run / run_dir.METRICS)
