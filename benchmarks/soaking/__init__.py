"""Parts of `soak.py`: the provider, the callers, what is watched, and the verdict."""
