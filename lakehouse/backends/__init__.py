"""Where a lake's rows are: the open file, a file that is only read, and what is common to all of them."""
