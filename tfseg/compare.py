"""python -m tfseg.compare BASELINE RUN ... [--out DIR]"""

from tfseg.evaluation.comparison import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
