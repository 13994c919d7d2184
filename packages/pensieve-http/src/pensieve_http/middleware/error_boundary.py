"""The request edge: no exception gets further out than here."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pensieve_http.errors import ClientGoneError, ErrorTranslator, error_response
from pensieve_http.record import Ending, record_of

__all__ = ["ErrorBoundary"]


class ErrorBoundary:
    """Turns an exception into its response.

    Once a response has begun nothing more can be said (streams say it in an event of their own): it is logged, and
    the server closes the connection on an incomplete response.
    """

    def __init__(self, app: ASGIApp, *, translator: ErrorTranslator) -> None:
        self._app = app
        self._translator = translator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watching_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watching_send)
        except ClientGoneError:
            record_of(scope).ending = Ending.DISCONNECTED
        except Exception as error:  # noqa: BLE001 - the request edge
            response = error_response(self._translator.translate(error, scope), scope)
            if not started:
                await response(scope, receive, send)
