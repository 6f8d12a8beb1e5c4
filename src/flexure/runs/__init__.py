"""One run: what was asked for, the folder it is written to, and the loop over the probes. Imports nothing by itself."""
