"""Money that many workers spend at once, and never more of it than there is."""

import asyncio


class Purse:
    """USD. What a request may cost at most is set aside before it is sent, and what it did cost is booked after."""

    def __init__(self, limit: float, spent: float = 0.0) -> None:
        self.limit = limit
        self.spent = spent
        self._aside: dict[object, float] = {}
        self._changed = asyncio.Condition()

    async def take(self, usd: float) -> object | None:
        """Sets the money aside and gives a receipt. Waits while others may yet bring some back; None: there is not
        enough, and will not be."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._has(usd) or not self._aside)
            if not self._has(usd):
                return None
            receipt = object()
            self._aside[receipt] = usd
            return receipt

    async def book(self, receipt: object, usd: float) -> None:
        """Spends this much, and brings back the rest of what was set aside."""
        async with self._changed:
            del self._aside[receipt]
            self.spent += usd
            self._changed.notify_all()

    def _has(self, usd: float) -> bool:
        return self.spent + sum(self._aside.values()) + usd <= self.limit
