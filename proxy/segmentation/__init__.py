"""Cuts the texts of a request into segments by the part they play: instruction, question, context, history, ...

`segment` is pure. `marks` finds the explicit tags that the pipeline removes before sending.
"""

from proxy.segmentation.marks import marks
from proxy.segmentation.turns import segment

__all__ = ["marks", "segment"]
