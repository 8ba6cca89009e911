"""The command that answers over HTTP."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Annotated

import typer

from flows.cli.app import app
from flows.cli.options import ModelVersion, Name, settings
from pipelines.errors import FolioError


@app.command()
def serve(
    name: Name,
    version: ModelVersion = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 8900,
    host: Annotated[
        str, typer.Option(help="the address to listen on; 0.0.0.0 lets other machines ask")
    ] = "127.0.0.1",
) -> None:
    """Answer over HTTP with the champion.

    POST /predict and /generate take and return JSON; / describes them. A new champion answers as
    soon as there is one. Ctrl-C stops the server.

    \b
    Examples:
      folio serve imdb
      curl -s http://127.0.0.1:8900/predict -d '{"texts": ["A film to remember."]}'
      folio serve shakespeare --port 8901 --version 3
    """
    import uvicorn

    from flows.serve.api import app as asgi
    from flows.serve.served import Served
    from pipelines.declaration.reading.declared import pipeline_name

    listening = _listening(host, port)
    served = Served(settings().home, pipeline_name(name), version)
    config = uvicorn.Config(asgi(served), log_level="error", access_log=False)
    address = f"http://{host}:{listening.getsockname()[1]}"
    print(f"{served.name} version {served.loaded.version}: {address}  (Ctrl-C stops)", flush=True)
    with suppress(KeyboardInterrupt):  # the way to stop it
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise FolioError(
            f"{host}:{port}: {(error.strerror or str(error)).lower()}; choose another --port"
        ) from error
