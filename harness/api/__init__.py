"""What a script or a notebook calls, and the command line too: recipes, runs, and what runs left. `import harness`."""
