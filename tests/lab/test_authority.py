"""Lab certificates: accepted by strict verifiers that know nothing of the lab, SCTs verified by hand."""

import ssl
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import crypto

from stubresolver.lab.authority import SCT_LIST_OID, LabAuthority, octet_string
from stubresolver.lab.logs import LabLog, sct_list

X509_V_FLAG_X509_STRICT = 0x20
LOGS = (LabLog("Alder", "Alder 1"), LabLog("Birch", "Birch 1", "static-ct"))


def issue(authority, now, **changes):
    arguments = {
        "names": ["dns.lab"],
        "addresses": [ip_address("127.0.0.1"), ip_address("::1")],
        "logs": [(log, now - timedelta(days=1)) for log in LOGS],
        "not_before": now - timedelta(days=1),
        "not_after": now + timedelta(days=89),
    }
    return authority.issue(**(arguments | changes))


def loaded(credential):
    return [x509.load_der_x509_certificate(der) for der in credential.chain]


@pytest.fixture(scope="module")
def credential(authority, now):
    return issue(authority, now)


def verify(authority, credential, now, subject):
    leaf, *intermediates = loaded(credential)
    verifier = PolicyBuilder().store(Store([authority.root])).time(now).build_server_verifier(subject)
    return verifier.verify(leaf, intermediates)


@pytest.mark.parametrize(
    "subject",
    [x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1")), x509.DNSName("dns.lab")],
)
@pytest.mark.parametrize("under_root", [False, True])
def test_chain_is_valid_for_the_strict_web_profile(authority, now, subject, under_root):
    """The verifier of `cryptography` accepts the chain for each name and address that was asked for."""
    chain = verify(authority, issue(authority, now, under_root=under_root), now, subject)
    assert [authority.anchor] == [chain[-1].public_bytes(Encoding.DER)]
    assert len(chain) == (2 if under_root else 3)


def test_chain_is_refused_for_another_address(authority, credential, now):
    """The certificate vouches for no more than it was asked for."""
    with pytest.raises(VerificationError):
        verify(authority, credential, now, x509.IPAddress(ip_address("127.0.0.2")))


@pytest.mark.parametrize("under_root", [False, True])
def test_chain_is_valid_for_openssl_in_strict_mode(authority, now, under_root):
    """OpenSSL with X509_V_FLAG_X509_STRICT accepts the same chain at the same time."""
    leaf, *intermediates = loaded(issue(authority, now, under_root=under_root))
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(authority.root))
    store.set_flags(X509_V_FLAG_X509_STRICT)
    store.set_time(now)
    untrusted = [crypto.X509.from_cryptography(each) for each in intermediates]
    crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), untrusted).verify_certificate()


def test_embedded_scts_verify(authority, credential, now):
    """Each embedded SCT is its log's signature over what `tbs_precertificate_bytes` and the issuer's key say."""
    leaf = credential.leaf
    spki = authority.intermediate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    scts = list(leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value)
    assert [sct.log_id for sct in scts] == [log.log_id for log in LOGS]
    assert [len(sct.extension_bytes) for sct in scts] == [0, 8]
    for log, sct in zip(LOGS, scts, strict=True):
        assert sct.timestamp.replace(tzinfo=now.tzinfo) == now - timedelta(days=1)
        tbs = leaf.tbs_precertificate_bytes
        signed = b"".join(
            [
                b"\0\0",
                round((now - timedelta(days=1)).timestamp() * 1000).to_bytes(8, "big"),
                b"\0\1",
                sha256(spki).digest(),
                len(tbs).to_bytes(3, "big"),
                tbs,
                len(sct.extension_bytes).to_bytes(2, "big"),
                sct.extension_bytes,
            ]
        )
        log.key.public_key().verify(sct.signature, signed, ec.ECDSA(hashes.SHA256()))


def test_logs_sign_what_the_certificate_keeps(authority, now):
    """The octets shown to the logs are the certificate's own without the list, with the hash of the signing key."""
    shown = []

    def stamp(issuer_key_hash, tbs):
        shown.append((issuer_key_hash, tbs))
        return octet_string(sct_list([LOGS[0].sign(issuer_key_hash, tbs, 0)]))

    leaf = issue(authority, now, logs=stamp, under_root=True).leaf
    assert shown == [(bytes.fromhex(authority.root_spki_sha256), leaf.tbs_precertificate_bytes)]


@pytest.mark.parametrize("logs", [(), lambda _hash, _tbs: None])
def test_no_logs_no_list(authority, now, logs):
    """A certificate that no log signed has no list, rather than an empty one."""
    oids = {extension.oid for extension in issue(authority, now, logs=logs).leaf.extensions}
    assert SCT_LIST_OID not in oids


@pytest.mark.parametrize("octets", [b"", b"\x05\x00", b"\x04\x03\x00\x01\x00", octet_string(b"\xff" * 9)])
def test_stamper_writes_the_extension_as_it_likes(authority, now, octets):
    """Junk goes into the certificate unchanged, so that readers can be tried on it."""
    assert octets in issue(authority, now, logs=lambda _hash, _tbs: octets).chain[0]


def test_common_name_is_as_given(authority, now):
    """A subject may claim what the SAN does not."""
    leaf = issue(authority, now, common_name="127.0.0.1", addresses=[]).leaf
    assert leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == "127.0.0.1"
    alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(alternatives) == [x509.DNSName("dns.lab")]


def test_key_hashes_are_of_the_spki(authority):
    """The hashes that an allow-list holds are SHA-256 over the SubjectPublicKeyInfo."""
    for certificate, digest in (
        (authority.root, authority.root_spki_sha256),
        (authority.intermediate, authority.intermediate_spki_sha256),
    ):
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert digest == sha256(spki).hexdigest()


def test_two_authorities_share_nothing(authority, now):
    """Another authority of the same name is another authority."""
    other = LabAuthority("Test", now=now)
    assert other.root_spki_sha256 != authority.root_spki_sha256


def test_pem_holds_the_same_as_der(credential):
    """The PEM forms are the chain leaf first and the key of the leaf."""
    certificates = x509.load_pem_x509_certificates(credential.chain_pem)
    assert tuple(each.public_bytes(Encoding.DER) for each in certificates) == credential.chain
    key = load_pem_private_key(credential.key_pem, None)
    assert key.public_key() == credential.leaf.public_key()


@given(st.integers(0, 70_000))
def test_octet_string_is_der(size):
    """The length is in the shortest form (X.690 s10.1), or OpenSSL would not read it back."""
    data = octet_string(bytes(size))
    header = len(data) - size
    assert data[0] == 0x04
    assert header == (2 if size < 128 else 3 if size < 256 else 4 if size < 65536 else 5)
    assert int.from_bytes(data[2:header] or data[1:2], "big") == size


def test_stdlib_accepts_the_credential(credential, tmp_path):
    """The interpreter's own TLS, another OpenSSL, loads chain and key as a pair."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(credential.chain_pem)
    key.write_bytes(credential.key_pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
