"""One behavioural suite, sync and async, for the database that DBTESTCASE_DATABASE names."""
