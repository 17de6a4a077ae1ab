"""`laconic tune`: recorded requests in, the policy that saves most at the quality that was asked for out."""


class TuneError(Exception):
    """What was asked cannot be done; the message says why, and where."""
