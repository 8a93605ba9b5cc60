"""Authentication, sign-in and security headers."""
