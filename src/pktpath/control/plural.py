"""Numbers of things in texts: "1 frame", "2 frames"."""


def count_of(number: int, noun: str, more: str = "") -> str:
    """Return a number of things, its thousands apart: 1234 and "frame" are "1,234 frames".

    Args:
        number: how many.
        noun: what one of them is called.
        more: what several are, where that is not the noun with an s.

    """
    return f"{number:,} {noun if number == 1 else more or noun + 's'}"
