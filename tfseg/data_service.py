"""python -m tfseg.data_service dispatcher | worker: feeds a training from other machines."""

from tfseg.io import command
from tfseg.pipeline.service import main

if __name__ == "__main__":
    command.run(main)
