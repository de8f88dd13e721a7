"""python -m tfseg.train --config configs/X.yaml [--data.records DIR] [--train.epochs 3] ..."""

from tfseg.io import command
from tfseg.training.loop import main

if __name__ == "__main__":
    command.run(main)
