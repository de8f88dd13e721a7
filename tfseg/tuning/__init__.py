"""Several trainings as processes: a search for settings, and one training with several seeds."""
