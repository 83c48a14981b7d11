"""Running SQL: statement by statement, stoppable, and only reading where that is wanted."""
