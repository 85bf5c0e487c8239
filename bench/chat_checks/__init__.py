"""The checks of bench/chat_faults.py, by what they are about."""
