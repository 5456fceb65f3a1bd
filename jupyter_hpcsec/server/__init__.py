"""The jupyter_server extension that runs beside the notebooks."""
