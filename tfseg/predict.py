"""Pictures in, class masks out: all that is known of the network is its SavedModel and the labels.json inside."""

from tfseg.inference.predictor import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
