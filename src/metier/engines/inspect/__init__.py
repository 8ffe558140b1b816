"""Looking inside: what a decoder's residual stream holds, and what its answer becomes when that is changed for one run."""
