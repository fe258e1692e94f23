"""HTTP/1.1 for the worker: reading requests strictly, calling a WSGI application, writing its answers.

Belongs here: the protocol. Does not belong here: gunicorn's life cycle (``ingest_service.worker``), and anything the
service itself says or decides. Any WSGI application runs on it.
"""
