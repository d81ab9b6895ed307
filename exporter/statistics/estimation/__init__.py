"""Performance without labels: calibration, and what calibrated scores say that labels will say."""
