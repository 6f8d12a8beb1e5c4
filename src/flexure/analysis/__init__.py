"""Results in, results out: many measured networks compared with one another and with theory."""
