"""The executors: stages done on this machine or a cluster, and how far they are."""
