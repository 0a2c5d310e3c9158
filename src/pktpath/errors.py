"""What went wrong, in a form that every command prints as one line.

`BadInput` is a fault of a file or an argument (exit 1), `Refused` the word of the kernel or of
another program (exit 2). The message names the file, the offset and the field where there are any.
"""


class BadInput(Exception):  # noqa: N818  it names the thing that is bad
    """Bytes or words that cannot be what they claim; the message is one line without a full stop."""


class Refused(Exception):  # noqa: N818  it says what happened
    """The kernel or another program refused; the message names what is missing."""
