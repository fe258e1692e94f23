"""CORS for the portal, which is another origin: on every answer, with a long preflight cache."""

from __future__ import annotations

import falcon

_ALLOWED_HEADERS = "Authorization, Content-Type, Batch-Seq"
_VARY = ("vary", "Origin")
_EXPOSE = ("access-control-expose-headers", "Retry-After")


class CorsMiddleware:
    """Falcon middleware. Origins that are not configured get no CORS headers, so their browsers refuse the answer."""

    def __init__(self, origins: frozenset[str], preflight_max_age_s: int) -> None:
        self._origins = origins
        self._max_age = str(preflight_max_age_s)

    def headers(self, origin: str | None) -> list[tuple[str, str]]:
        """What an answer to a request of this ``Origin`` says, whatever it answers."""
        if origin is None:
            return []
        if origin not in self._origins:
            return [_VARY]
        return [_VARY, ("access-control-allow-origin", origin), _EXPOSE]

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        origin = req.env.get("HTTP_ORIGIN")
        for name, value in self.headers(origin):
            resp.set_header(name, value)
        if origin not in self._origins:
            return
        if req.method == "OPTIONS" and req.env.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
            resp.set_header("Access-Control-Allow-Methods", "POST")
            resp.set_header("Access-Control-Allow-Headers", _ALLOWED_HEADERS)
            resp.set_header("Access-Control-Max-Age", self._max_age)
            resp.status = falcon.HTTP_204
            resp.complete = True
