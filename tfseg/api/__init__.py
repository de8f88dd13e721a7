"""What `import tfseg` gives beyond single rooms: records as datasets, and runs. The commands call it too."""
