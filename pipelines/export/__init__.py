"""A patient's data as one archive: JSON, CSV, Parquet and FHIR."""
