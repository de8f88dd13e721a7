"""Draws street scenes of invented cities, in the exact files and folders of Cityscapes."""

from tfseg.io import command
from tfseg.synthetic.sample_city import main

if __name__ == "__main__":
    command.run(main)
