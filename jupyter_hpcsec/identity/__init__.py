"""Who is who: job tokens, per-job certificates, attestation, and the steps of an enrolment."""
