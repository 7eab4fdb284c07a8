"""A trained model as ONNX graphs, each measured against the model before it is published."""
