# The lifecycle rules are in lifecycle.tf.json, which is generated from the retention policy.

resource "aws_s3_bucket" "telemetry" {
  bucket = var.bucket_name
  tags   = var.tags

  lifecycle {
    prevent_destroy = true
  }
}

# The finaliser's conditional PUTs, pinned replay URLs and a day's grace after a mistake all rest on versions.
resource "aws_s3_bucket_versioning" "telemetry" {
  bucket = aws_s3_bucket.telemetry.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "telemetry" {
  bucket = aws_s3_bucket.telemetry.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.objects.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "telemetry" {
  bucket = aws_s3_bucket.telemetry.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# The replay viewer fetches one repetition by range and has to see which bytes it got.
resource "aws_s3_bucket_cors_configuration" "telemetry" {
  bucket = aws_s3_bucket.telemetry.id

  cors_rule {
    allowed_methods = ["GET", "HEAD"]
    allowed_origins = var.viewer_origins
    allowed_headers = ["*"]
    expose_headers  = ["Content-Range", "Content-Length", "ETag"]
    max_age_seconds = 3600
  }
}

# Whoever may write: never in the clear, never under another key.
resource "aws_s3_bucket_policy" "telemetry" {
  bucket = aws_s3_bucket.telemetry.id
  policy = templatefile("${path.module}/bucket-policy.json", {
    bucket_arn      = aws_s3_bucket.telemetry.arn
    objects_key_arn = aws_kms_key.objects.arn
  })

  depends_on = [aws_s3_bucket_public_access_block.telemetry]
}
