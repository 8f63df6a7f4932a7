"""The two kinds of failure a caller can act on. Everything else is a defect and shows its traceback."""


class ReguaError(Exception):
    """What is wrong, where, and what to do about it, in one message meant for the person at the screen."""


class InputError(ReguaError):
    """Data or configuration is wrong: running again gives the same answer until somebody changes it."""


class BusyError(ReguaError):
    """Something else holds what this needs: running again later may succeed."""
