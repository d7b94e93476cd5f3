"""What is wrong with this machine or installation, and the remedy."""
