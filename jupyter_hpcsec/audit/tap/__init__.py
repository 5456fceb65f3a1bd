"""The tap: what passes between browser and session, followed byte by byte and told as events. Bytes in, values out."""
