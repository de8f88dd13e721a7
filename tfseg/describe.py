"""Says what network a training has: weights, multiply-adds, receptive field, memory, and, if asked, speed."""

from tfseg.diagnostics.model_summary import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
