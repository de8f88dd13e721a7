"""Serves a SavedModel over HTTP: pictures in, class masks, overlays or class shares out."""

from tfseg.io import command
from tfseg.serving.serve import main

if __name__ == "__main__":
    command.run(main)
