"""A report of a run: report.html, a page that needs no other file, and its figures as PNGs."""

from tfseg.evaluation.run_report import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
