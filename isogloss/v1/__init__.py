"""Generated from protos/isogloss/v1; do not edit."""
