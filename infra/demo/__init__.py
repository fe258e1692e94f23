"""The demonstration: a week of three patients through the running stack, and every number reconciled.

``scenario`` (who does what) -> ``play`` (over HTTP only) -> ``stored`` (what the stores hold) -> ``reckoning`` (does it
add up) -> ``dashboards`` (what people see). Not here: any shortcut into a service.
"""
