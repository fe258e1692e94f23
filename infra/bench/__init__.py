"""`make bench`: what the product costs, measured as ratios in one run on one machine.

Belongs here: bringing contestants up, driving load at them, reading what they used, writing a report. Does not belong
here: a verdict (a slow machine is no failure, so nothing here fails a build), nor the contestants written for the
comparison (`benchmarks/`).
"""
