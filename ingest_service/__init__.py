"""The hot path: pose batches, media events and session ends come in over HTTP and are on disk before the answer.

Here: HTTP parsing, token and consent checks, limits, and the hand-over to the ``landing`` port.
Not here: anything computed from a frame, any S3 call, any Postgres call per request.
"""
