"""What can go wrong. Each message is one sentence: what, where, and what was expected."""


class Error(Exception):
    """All errors of onsight. Ctrl-C is KeyboardInterrupt, as everywhere."""


class InputError(Error, ValueError):
    """A picture, a video, a model or an argument that cannot be used."""


class OutOfMemoryError(Error, MemoryError):
    """The model, or an answer of it, needs more memory than is free."""


class BusyError(Error):
    """Too many answers are waited for at once; later it may go."""
