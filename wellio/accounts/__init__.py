"""Who may come in: practices, users, passwords, tokens and the devices they are signed in on."""
