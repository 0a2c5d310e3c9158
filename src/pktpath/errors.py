"""What went wrong, in a form that every command prints as one line.

`BadInput` is a fault of a file or an argument (exit 1), `Refused` the word of the kernel or of
another program (exit 2). Both say where: the file, the offset in bytes and the field.
"""


class BadInput(ValueError):  # noqa: N818  it names the thing that is bad
    """Bytes or words that cannot be what they claim.

    Args:
        problem: the field and what is wrong with it, without a full stop.
        source: file name, `-` for standard input, or None for an argument.
        offset: where in the file, in bytes.

    """

    def __init__(self, problem: str, source: str | None = None, offset: int | None = None) -> None:
        self.problem, self.source, self.offset = problem, source, offset
        where = [] if source is None else ["standard input" if source == "-" else source]
        if offset is not None:
            where.append(f"offset {offset}")
        super().__init__(": ".join([*where, problem]))


class Refused(Exception):  # noqa: N818  it says who did what
    """The kernel or another program refused; the message names what is missing."""
