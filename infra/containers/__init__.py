"""The container image and its composition: what a container runs beside the product's own commands.

Belongs here: the image, the composition, preparing empty stores, a health check. Does not belong here: the local stack,
which needs no containers (``infra.stack``).
"""
