variable "bucket_name" {
  description = "The bucket of replay blobs and media events; RESTARTIX_S3_BUCKET of every process."
  type        = string
  default     = "restartix-telemetry"
}

variable "viewer_origins" {
  description = "Origins of the pages that read replays by presigned URL, such as https://clinic.example."
  type        = list(string)

  validation {
    condition     = alltrue([for origin in var.viewer_origins : can(regex("^https://[^/*]+$", origin))])
    error_message = "Each origin is https://host, without a path or a wildcard."
  }
}

variable "key_deletion_days" {
  description = "Days between the deletion of a key and its end; until then it can be taken back."
  type        = number
  default     = 30
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
