"""Clinical definitions: adherence, plan weeks, streaks, pain change, rounding. Pure: values in, values out, no clock.

Each module's docstring is the definition. Unknown is None, never 0.
"""
