# One policy a process, from policies/<process>.json; a test compares each with the calls its process makes. The ingest
# service and the subscriber have none: neither reaches S3 or KMS. Attach each to the role its process runs under.

locals {
  processes = toset([for file in fileset("${path.module}/policies", "*.json") : trimsuffix(file, ".json")])
}

resource "aws_iam_policy" "process" {
  for_each = local.processes

  name = "restartix-${each.key}"
  tags = var.tags
  policy = templatefile("${path.module}/policies/${each.key}.json", {
    bucket_arn      = aws_s3_bucket.telemetry.arn
    objects_key_arn = aws_kms_key.objects.arn
    columns_key_arn = aws_kms_key.columns.arn
  })
}
