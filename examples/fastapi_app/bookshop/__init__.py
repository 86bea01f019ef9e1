"""A bookshop: its catalogue is served by sync routes, its orders by async ones."""
