"""python tools/make_tfrecords.py ...: the same as `python -m tfseg.convert ...`."""

from tfseg.convert import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
