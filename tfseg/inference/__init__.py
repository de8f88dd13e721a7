"""An exported model and an image -> a mask."""
