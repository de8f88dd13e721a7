"""What a run is told: dataclasses, YAML and command line."""
