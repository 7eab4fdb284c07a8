"""What every server process needs. Must not know any one service."""
