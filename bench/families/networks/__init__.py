"""Networks by what they have in common, one module each. families.py imports all of them."""
