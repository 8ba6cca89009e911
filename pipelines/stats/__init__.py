"""Pure mathematics: bootstrap, paired and two-sample tests, calibration."""
