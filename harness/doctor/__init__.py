"""Find faults of this machine or installation, and their remedies."""
