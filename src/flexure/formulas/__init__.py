"""What a quantity means: pure formulas that a loss and a probe may both need. Imports nothing by itself."""
