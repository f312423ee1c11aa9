"""A network that can be cut: between a node and its database stands a proxy that swallows all."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

__all__ = ["Network"]


class Network:
    """Forwards a port of loopback, byte for byte. While it is `cut` nothing comes through, in
    either direction, and nobody is told so; what was under way arrives when it is `heal`ed."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Network":
        self._thread.start()
        start = asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._server = self._do(start)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._whole.clear)

    def heal(self) -> None:
        self._loop.call_soon_threadsafe(self._whole.set)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._forward(reader, writer)
        except asyncio.CancelledError:
            writer.close()  # the network is gone; its server would be told of an error else

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            there, away = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # nobody listens there now
            writer.close()
            return
        try:
            await asyncio.gather(self._pump(reader, away), self._pump(there, writer))
        finally:
            writer.close()
            away.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._whole.wait()
                sink.write(data)
                await sink.drain()
            await self._whole.wait()
        except ConnectionError:
            pass
        sink.close()
