"""Who may ask the server: the bearer token, and the certificate of its ports."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def carries_token(authorizations: Sequence[bytes], token: str) -> bool:
    """Whether the headers ``Authorization`` of a request are one, with the token; ``Bearer`` may be of any case."""
    if len(authorizations) != 1:
        return False
    scheme, _, given = authorizations[0].partition(b" ")
    return hmac.compare_digest(given.lstrip(b" "), token.encode()) and scheme.lower() == b"bearer"


@dataclass(frozen=True)
class Access:
    """What a client has to bring along.

    Attributes:
        token: Sent as ``Authorization: Bearer …``, over gRPC as metadata; None lets everybody in.
        certificate_file: PEM file with the chain of the server's certificate; with it, both ports speak TLS only.
        key_file: PEM file of its private key, without a password.

    Raises:
        ValueError: If one of them cannot be.
    """

    token: str | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        token = self.token
        if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
            raise ValueError("token: expected printable ASCII characters without blanks; received something else.")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file, key_file: expected both or none; received one of them.")
        self.ssl_context()

    @property
    def encrypted(self) -> bool:
        """Whether the ports speak TLS."""
        return self.certificate_file is not None

    def ssl_context(self) -> ssl.SSLContext | None:
        """For the REST port."""
        if self.certificate_file is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # A password that is asked for on the terminal would stop a server that starts in the background.
            context.load_cert_chain(self.certificate_file, self.key_file, password=lambda: "")
        except OSError as error:  # ssl.SSLError is one.
            raise ValueError(
                "certificate_file, key_file: expected PEM files of a certificate and its private key without a "
                f"password; received {self.certificate_file} and {self.key_file} ({error})."
            ) from error
        return context

    def certificate(self) -> tuple[bytes, bytes] | None:
        """Chain and key, for the gRPC port."""
        if self.certificate_file is None or self.key_file is None:
            return None
        return self.certificate_file.read_bytes(), self.key_file.read_bytes()
