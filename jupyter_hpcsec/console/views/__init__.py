"""From events and answers to what the templates show: frozen values, no I/O, no clock."""
