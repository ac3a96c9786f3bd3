"""Trust anchors: certifi's own, a PEM file, or the system's store, each only where it was asked for."""

from pathlib import Path

import certifi

from stubresolver.config.files import read_file
from stubresolver.config.settings import Settings
from stubresolver.errors import ConfigError
from stubresolver.verify import UnreadableCertificate, certificates_from_pem
from stubresolver.verify.certificate import read_certificate

# Where distributions keep the system's store as one file, the places that Go's crypto/x509 looks at (root_linux.go).
SYSTEM_STORES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Arch, Gentoo: update-ca-certificates(8)
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, RHEL: update-ca-trust(8)
    Path("/etc/ssl/ca-bundle.pem"),  # openSUSE
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),  # CentOS, RHEL
    Path("/etc/ssl/cert.pem"),  # Alpine
)


def certifi_file(name: str, key: str) -> Path:
    """The file that ships inside certifi; raises `ConfigError` where somebody has put the system's store in its place.

    Debian's and Fedora's packages of certifi do that, and so do add-ons like pip-system-certs and certifi-linux.
    """
    file = Path(certifi.where()).resolve()
    if file.parent != Path(certifi.__file__).resolve().parent:
        problem = f"this machine's certifi points to {file}, which is not Mozilla's roots as certifi ships them"
        raise ConfigError(name, key, f"{problem}: install certifi from PyPI, or name a PEM file")
    return file


def web_anchors(settings: Settings, given: Path | None = None) -> Path:
    """The PEM file with the roots by whose word the logs' web servers are known; raises `ConfigError`.

    The one that is given, else the configuration's, else certifi's own: by the system's store an inspecting proxy could
    answer for every log.
    """
    key = "" if given is not None else "audit.anchors"
    file = given or settings.audit_anchors
    if file is None:
        return certifi_file(settings.source, key)
    read_anchors(file, str(file) if given is not None else settings.source, key)
    return file


def read_anchors(path: Path, name: str, key: str) -> tuple[bytes, ...]:
    """The certificates of a PEM file; raises `ConfigError`."""
    try:
        anchors = certificates_from_pem(read_file(path, key))
        for der in anchors:
            read_certificate(der)  # the judge reads more strictly than PEM is read: told now, with the file's name
    except UnreadableCertificate as error:
        raise ConfigError(name, key, f"{path}: {error}" if key else str(error)) from None
    return anchors


def system_store(name: str) -> Path:
    """The file that holds the system's store; raises `ConfigError` where there is none."""
    for file in SYSTEM_STORES:
        if file.is_file():
            return file
    places = ", ".join(map(str, SYSTEM_STORES))
    raise ConfigError(name, "anchors.source", f"the system's store is not there, none of {places}: name a PEM file")
