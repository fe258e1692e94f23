"""What the Core API does to clinical truth. Each function works inside one tenant's transaction, audits itself there,
and takes the time and randomness it needs as arguments. Not here: HTTP.
"""
