"""Requests that wait: for their prompt to be described, then for a place."""

import heapq
from collections import deque
from collections.abc import Iterator

from mulo_sd.engines.service.request import Request


class Waiting:
    """The two queues of a session. Whoever asked first is first in both; the session's lock guards them.

    Prompts are described no further ahead than the session has places, so that a long queue holds few conditions.
    """

    def __init__(self, size: int) -> None:
        """Make them empty, for a session of so many places."""
        self.size = size
        self.prompts: deque[Request] = deque()
        self.ready: list[tuple[int, Request]] = []  # a heap
        self.ahead = 0  # prompts that are being described, or are and wait for a place

    def __iter__(self) -> Iterator[Request]:
        """Go through all of them."""
        yield from self.prompts
        yield from (request for _, request in self.ready)

    def add(self, request: Request) -> None:
        """Take a new request; a condition in numbers needs nobody to describe it."""
        if isinstance(request._order.prompt, str):
            self.prompts.append(request)
        else:
            heapq.heappush(self.ready, (request.number, request))

    def next_to_describe(self) -> Request | None:
        """Take the prompt that is described next; None: there is none, or enough of them are."""
        if not self.prompts or self.ahead == self.size:
            return None
        self.ahead += 1
        return self.prompts.popleft()

    def add_described(self, request: Request) -> None:
        """Let one whose prompt is described wait for a place."""
        heapq.heappush(self.ready, (request.number, request))

    def forget_described(self) -> None:
        """Count one prompt less: it could not be described."""
        self.ahead -= 1

    def next_to_decode(self) -> Request | None:
        """Take the request that gets the next place; None: none is ready."""
        if not self.ready:
            return None
        _, request = heapq.heappop(self.ready)
        self.ahead -= request._prepared is not None
        return request

    def remove(self, request: Request) -> bool:
        """Take a request out; return whether it was here."""
        if request in self.prompts:
            self.prompts.remove(request)
            return True
        if all(other is not request for _, other in self.ready):
            return False
        self.ready = [item for item in self.ready if item[1] is not request]
        heapq.heapify(self.ready)
        self.ahead -= request._prepared is not None
        return True
