"""CORS for the portal, which is another origin: on every answer, with a long preflight cache."""

from __future__ import annotations

import falcon

_ALLOWED_HEADERS = "Authorization, Content-Type, Batch-Seq"
_EXPOSED_HEADERS = "Retry-After"


class CorsMiddleware:
    """Falcon middleware. Origins that are not configured get no CORS headers, so their browsers refuse the answer."""

    def __init__(self, origins: frozenset[str], preflight_max_age_s: int) -> None:
        self._origins = origins
        self._max_age = str(preflight_max_age_s)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        origin = req.env.get("HTTP_ORIGIN")
        if origin is None:
            return
        resp.set_header("Vary", "Origin")
        if origin not in self._origins:
            return
        resp.set_header("Access-Control-Allow-Origin", origin)
        resp.set_header("Access-Control-Expose-Headers", _EXPOSED_HEADERS)
        if req.method == "OPTIONS" and req.env.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
            resp.set_header("Access-Control-Allow-Methods", "POST")
            resp.set_header("Access-Control-Allow-Headers", _ALLOWED_HEADERS)
            resp.set_header("Access-Control-Max-Age", self._max_age)
            resp.status = falcon.HTTP_204
            resp.complete = True
