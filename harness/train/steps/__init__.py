"""The training steps, one module each."""
