"""S3 behind the ports: AWS in production, any S3 service that keeps versions and conditions elsewhere."""
