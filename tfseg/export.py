"""Exports a trained network: SavedModel + labels.json, and other formats beside them."""

from tfseg.exporters.exporter import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
