"""What is wrong with a deployment, in words: the checks of `dropsweep doctor` and of `GET /api/health`."""
