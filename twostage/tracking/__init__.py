"""A run shown elsewhere while it trains: TensorBoard, MLflow. Each has its extra and is imported late."""
