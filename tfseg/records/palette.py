"""Colours for classes that have none: distinct, and distinguishable by the colour-blind as far as that goes."""

from collections.abc import Iterator, Mapping

from tfseg.records.labels import Color

# The palette of Masataka Okabe and Kei Ito, "Color Universal Design" (2008), without its black, which is left to void.
OKABE_ITO: tuple[Color, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
)
_GREYS = [(0, 0, 0), (255, 255, 255), *((level, level, level) for level in range(254, 0, -1))]


def choose_colors(classes: Mapping[str, Color | None]) -> dict[str, Color]:
    """Gives a colour to each class that has none; those that are given stay.

    Args:
        classes: name -> RGB colour in 0..255, or None; up to 255.

    Returns:
        The same with a colour each, in the same order. Those that were chosen differ from all others. Void gets black,
        or if a class has that, another grey.

    Example:
        choose_colors({"void": None, "road": None, "sky": (70, 130, 180)})
        # {"void": (0, 0, 0), "road": (230, 159, 0), "sky": (70, 130, 180)}
    """
    taken = {color for color in classes.values() if color is not None}
    colors = dict(classes)
    if colors.get("void", ()) is None:
        colors["void"] = next(grey for grey in _GREYS if grey not in taken)
    taken |= {_GREYS[0], *(color for color in colors.values() if color is not None)}
    unused = (color for color in list_colors() if color not in taken)
    return {name: next(unused) if color is None else color for name, color in colors.items()}


def list_colors() -> Iterator[Color]:
    """Yields colours: the palette itself, then lighter and darker ones by turns, ever finer steps between.

    The step n mixes the palette with white (n odd) or black (n even), with 1/2, 3/4, 1/4, 7/8, 5/8 ... of it: the
    first steps lie far from each other, so that a few classes more than the palette has are still easy to distinguish.
    """
    yield from OKABE_ITO
    seen = {*OKABE_ITO}
    for parts in (2, 4, 8, 16, 32):
        for share in range(parts - 1, 0, -2):
            for other in (255, 0):
                for color in OKABE_ITO:
                    mixed = tuple(round(part + (other - part) * share / parts) for part in color)
                    found = mixed[0], mixed[1], mixed[2]
                    if found not in seen:
                        seen.add(found)
                        yield found
