"""A provider that costs next to nothing: fixed answers from raw sockets on uvloop, for measuring what stands in front.

A chat request with `"stream":true` gets 64 server-sent events, one every 2 ms, each with the time at which it was sent
(`time.perf_counter_ns`, the same clock in every process of the machine); any other request gets one JSON answer.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

EVENTS = 64
GAP_SECONDS = 0.002
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _answer() -> bytes:
    message = {"role": "assistant", "content": "The invoice is due on the fourteenth of March. " * 8}
    usage = {"prompt_tokens": 2000, "completion_tokens": 80, "total_tokens": 2080}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    document = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    body = json.dumps({**document, "choices": choices, "usage": usage}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_1\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


ANSWER = _answer()


class Provider(asyncio.Protocol):
    """Reads up to the content length, answers, again."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is none
        self.data = b""
        self.missing = 0

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.missing:
            self.missing -= len(data)
        else:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self.missing = end + 4 + length - len(self.data)
        if self.missing == 0:
            stream = b'"stream":true' in self.data[-200:]
            self.data = b""
            if stream:
                self.sending = asyncio.get_running_loop().create_task(self.stream())
            else:
                self.transport.write(ANSWER)

    async def stream(self) -> None:
        self.transport.write(STREAM_HEAD)
        for _ in range(EVENTS):
            event = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}],"at":%d}\n\n' % time.perf_counter_ns()
            self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(GAP_SECONDS)
        self.transport.write(b"0\r\n\r\n")


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
