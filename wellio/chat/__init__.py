"""Conversations between people of a practice: members, messages, receipts, and the log that clients catch up from."""
