"""What every room stands on: settings, errors, seeds, canonical JSON, synced lines. Imports nothing of ours."""
