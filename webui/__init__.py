"""The web page: a client of the REST API like any other, so it imports no other room."""
