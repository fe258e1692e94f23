# One bucket, two keys, one policy a process: what the product needs of AWS and nothing about where it runs. Machines,
# networks, PostgreSQL and the state's backend belong to whoever includes this module. docs/production.md says more.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}
