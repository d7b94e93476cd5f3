"""The teacher scores, one file each: a module that exports `SCORE` is a score."""
