"""Between the wire (and the manifests) and the domain. Pure: knows no store and no database."""
