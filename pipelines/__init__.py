"""The library below every process, and the finaliser: from landed bytes to aggregates and a sealed replay blob.

``pose`` and ``media`` are pure (bytes and arrays in, values out). ``ports`` say what a store promises, ``adapters``
keep the promise. Not here: HTTP surfaces and process composition.
"""
