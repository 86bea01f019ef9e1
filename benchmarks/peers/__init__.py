"""What others offer for tests with a database, each as tests that pytest runs and times."""
