"""A web page that shows what a model sees in a picture."""

from tfseg.io import command
from tfseg.serving.web_app import main

if __name__ == "__main__":
    command.run(main)
