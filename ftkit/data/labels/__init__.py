"""Labels: how they become ids, how they are written as text, and which scheme tags follow."""
