"""``hpcsec doctor``: which hop is broken, and how to mend it.

``hub`` and ``node`` put the checks together, ``world`` asks the outside, ``finding`` prints. The other modules
judge one hop each: facts in, findings out. The doctor changes nothing and needs no secret.
"""
