output "bucket" {
  description = "RESTARTIX_S3_BUCKET"
  value       = aws_s3_bucket.telemetry.id
}

output "objects_key_arn" {
  description = "RESTARTIX_S3_KMS_KEY_ID, with RESTARTIX_S3_ENCRYPTION=aws:kms"
  value       = aws_kms_key.objects.arn
}

output "columns_key_arn" {
  description = "RESTARTIX_KMS_KEY_ID of the Core API"
  value       = aws_kms_key.columns.arn
}

output "policy_arns" {
  description = "The policy of each process, by its name."
  value       = { for process, policy in aws_iam_policy.process : process => policy.arn }
}
