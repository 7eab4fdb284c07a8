"""The object store: one Protocol, a directory and S3. Must not know what is stored."""
