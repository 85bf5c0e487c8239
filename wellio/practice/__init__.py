"""What a coach works with: clients, sessions, payments."""
