"""Pictures, tables and the live view; computes nothing but pixels."""
