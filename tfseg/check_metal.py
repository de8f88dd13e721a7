"""Says which operations of a train step would leave the GPU of Apple Silicon, without a Mac."""

from tfseg.diagnostics.metal import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
