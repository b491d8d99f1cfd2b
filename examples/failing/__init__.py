"""The operations of the failure table, room by room: `../failure_table.py` prints it."""
