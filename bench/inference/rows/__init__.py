"""What is measured, a module for each question; each row starts what it needs."""
