"""Numbers of things in words: "1 frame is", "2 frames are"."""


def count_of(count: int, noun: str) -> str:
    """Writes a number of things: "1 image", "1,200 images"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def are(count: int) -> str:
    """Writes "is" after 1 thing, and "are" after another number of them."""
    return "is" if count == 1 else "are"
