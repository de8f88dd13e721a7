"""python -m tfseg.evaluate --run DIR | --model DIR --records DIR [--split val]"""

from tfseg.evaluation.evaluator import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
