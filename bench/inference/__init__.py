"""What serving reaches, beside peers and beside bare ONNX Runtime: `python -m bench.inference`.

Every contender is a process of its own that answers a line of JSON with a line of JSON. The
service is spoken to over its public API alone.
"""
