"""The tests of dbtestcase: they mirror the package; ``suite`` is what every backend must do."""
