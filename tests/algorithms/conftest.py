"""Here so that the tests of every room can import the scenes beside this file."""
