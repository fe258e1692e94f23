# Two keys, so that who may read objects and who may read names and free text are different questions.

resource "aws_kms_key" "objects" {
  description             = "RestartiX: replay blobs and media events (RESTARTIX_S3_KMS_KEY_ID)"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_days
  tags                    = var.tags

  lifecycle {
    prevent_destroy = true
  }
}

# Lost, this key takes every name, contact and free text with it: in back-ups too.
resource "aws_kms_key" "columns" {
  description             = "RestartiX: data keys of column encryption (RESTARTIX_KMS_KEY_ID)"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_days
  tags                    = var.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "objects" {
  name          = "alias/restartix-objects"
  target_key_id = aws_kms_key.objects.key_id
}

resource "aws_kms_alias" "columns" {
  name          = "alias/restartix-columns"
  target_key_id = aws_kms_key.columns.key_id
}
