"""Generated from protos/isogloss/storage/v1; do not edit."""
