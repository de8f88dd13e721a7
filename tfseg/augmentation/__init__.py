"""Image and mask changed together, on the device."""
