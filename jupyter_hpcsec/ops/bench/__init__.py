"""``hpcsec bench``: what this project costs, as ratios to an alternative within one run on one machine.

A benchmark here starts everything that it needs on the loopback address, takes its measures in turns (so that whatever
else the machine does falls on all alternatives alike), and ends what it started. It may not touch a deployment.
"""
