"""What annotation tools write -> masks: polygons, run lengths and bitmaps, drawn as the tools themselves draw them."""
