"""HTTP in and out: one module a group of routes. A resource authorises, reads the body, opens the tenant's transaction,
calls what does the work, and answers.
"""
