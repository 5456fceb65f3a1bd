"""The ``hpcsec`` command: argument parsing only, no logic."""
