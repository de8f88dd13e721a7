"""The settings of a run: dataclasses, YAML and command line."""
