"""Binary files of trackers, read from their documented layout, without the trackers."""
