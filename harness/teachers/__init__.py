"""Teacher scores (CAR and its rivals), the leaderboard, and their validation against what students achieved."""
