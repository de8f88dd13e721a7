"""Files, images, processes and commands: what every room needs of the machine."""
