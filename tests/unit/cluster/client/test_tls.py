"""The clients' TLS: verified, and prepared once."""

from __future__ import annotations

import ssl

from cluster.client.httpx_adapter import client_arguments


def test_clients_of_a_process_share_a_context_that_verifies_the_server() -> None:
    context = client_arguments("https://a.example", None)["verify"]
    assert client_arguments("https://b.example", 1.0)["verify"] is context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] > 0
