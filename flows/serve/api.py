"""The server's paths: /predict, /generate, /health, /openapi.json, and a page about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from flows.serve.batcher import Batcher, BusyError
from flows.serve.page import page
from flows.serve.questions import MOST_BYTES, ToClassify, ToContinue, ToWrite, openapi, question
from flows.serve.served import LOOK_SECONDS, Served
from flows.web.guard import Guard
from pipelines.errors import FolioError, UsageError

Answer = tuple[dict[str, Any], int]  # a row, and the version that it is from


def app(served: Served) -> Guard:
    """The ASGI app that answers with `served`, for this machine's own clients and pages."""
    api = Api(served)
    routes = [
        Route("/", api.page),
        Route("/health", api.health),
        Route("/openapi.json", api.openapi),
        Route("/predict", _answered(api.predict), methods=["POST"]),
        Route("/generate", _answered(api.generate), methods=["POST"]),
    ]
    handlers = {HTTPException: _refused, Exception: _failed}
    return Guard(Starlette(routes=routes, lifespan=api.lifespan, exception_handlers=handlers))


class Api:
    def __init__(self, served: Served) -> None:
        self.served = served
        self.batcher: Batcher[Answer] = Batcher(self._classified)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(self._look())
        yield
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.served.look)

    async def predict(self, body: bytes) -> dict[str, Any]:
        if self.served.loaded.predictor.kind == "classifier":
            answers = await self.batcher.ask(question(ToClassify, body).texts)
            version = answers[0][1] if answers else self.served.loaded.version
            return self._said(version, predictions=[row for row, _ in answers])
        asked: ToContinue = question(ToContinue, body)
        rows, version = await self.batcher.compute(lambda: self._continued(asked))
        return self._said(version, predictions=rows)

    async def generate(self, body: bytes) -> dict[str, Any]:
        asked: ToWrite = question(ToWrite, body)
        rows, version = await self.batcher.compute(lambda: self._written(asked))
        return self._said(version, texts=rows)

    def _said(self, version: int, **answer: Any) -> dict[str, Any]:
        return {"pipeline": self.served.name, "version": version, **answer}

    def _classified(self, texts: list[str]) -> list[Answer]:
        loaded = self.served.loaded
        rows = loaded.predictor.predict(texts)
        return [({k: v for k, v in row.items() if k != "text"}, loaded.version) for row in rows]

    def _continued(self, asked: ToContinue) -> tuple[list[dict[str, Any]], int]:
        loaded = self.served.loaded
        options = asked.top, asked.replace_unknown
        rows = [{"next": loaded.predictor.next_tokens(text, *options)} for text in asked.texts]
        return rows, loaded.version

    def _written(self, asked: ToWrite) -> tuple[list[dict[str, Any]], int]:
        loaded = self.served.loaded
        return loaded.predictor.generate(**asked.model_dump()), loaded.version

    async def health(self, request: Request) -> Response:
        return JSONResponse(self.served.health())

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self._described())

    async def page(self, request: Request) -> Response:
        address = str(request.base_url).rstrip("/")
        return HTMLResponse(page(address, self.served.health(), self._described()))

    def _described(self) -> dict[str, Any]:
        return openapi(self.served.name, self.served.loaded.predictor.kind)


def _answered(
    answer: Callable[[bytes], Awaitable[dict[str, Any]]],
) -> Callable[[Request], Awaitable[Response]]:
    """As JSON; an error is one line, with the status that says whose it is."""

    async def respond(request: Request) -> Response:
        try:
            return JSONResponse(await answer(await _body(request)))
        except BusyError as error:
            return _detail(503, error)
        except FolioError as error:
            return _detail(422, error)

    return respond


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise UsageError(f"the request has more than {MOST_BYTES:,} bytes; send fewer texts")
    return b"".join(parts)


def _detail(status: int, error: object) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status)


def _refused(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.url.path}"
    return _detail(error.status_code, f"{asked}: {error.detail.lower()}; see / for what there is")


def _failed(request: Request, error: Exception) -> Response:
    return _detail(500, f"an error in Folio ({type(error).__name__}); the server's output has it")
