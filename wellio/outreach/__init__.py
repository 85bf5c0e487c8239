"""What reaches people outside a conversation: notifications."""
