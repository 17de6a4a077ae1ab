"""The quality guard: measures what compression does to answers, and steps it down where they get worse."""
