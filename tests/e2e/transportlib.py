"""What tests of transports share: captures of many flows, a pitot that runs beside the test, certificates."""
import os
import struct
import subprocess
from pathlib import Path

import e2elib as e


def write_pcap(path, flows, first=0):
    """flows UDP packets, a flow each: 10.0.0.0/8 to 192.0.2.1, and the port tells them apart, too."""
    with open(path, "wb") as f:
        f.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        for i in range(first, first + flows):
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, struct.pack("!I", 0x0a000000 + i),
                             bytes([192, 0, 2, 1]))
            packet = ip + struct.pack("!HHHH", 1024 + i % 60000, 53, 8, 0)
            f.write(struct.pack("=IIII", 1700000000 + i // 1000, i % 1000 * 1000, len(packet), len(packet)) + packet)


def start(*arguments):
    return subprocess.Popen([e.PITOT, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(what, process, status=0, timeout=60):
    try:
        _, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
        e.check(False, f"{what}: did not end: {err!r}")
        return err
    e.check(process.returncode == status, f"{what}: status {process.returncode}: {err!r}")
    e.check(not e.sanitizer(err), f"{what}: {err.decode(errors='replace')}")
    return err


def openssl(*arguments, cwd):
    subprocess.run([e.find("openssl"), *arguments], cwd=cwd, check=True, capture_output=True, timeout=30)


def make_certificate(d, name, san, authority="ca", days=2):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.csr", "-subj", f"/CN={name}", "-addext", f"subjectAltName={san}", cwd=d)
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-days", str(days), "-copy_extensions", "copy", "-out", f"{name}.pem", cwd=d)
    os.chmod(f"{d}/{name}.key", 0o600)


def make_certificates(d):
    for ca in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                f"{ca}.key", "-out", f"{ca}.pem", "-days", "2", "-subj", f"/CN={ca}", cwd=d)
    here = "DNS:localhost,IP:127.0.0.1"
    make_certificate(d, "good", here)
    make_certificate(d, "client", "DNS:exporter")
    make_certificate(d, "wrong", "DNS:elsewhere.example,IP:192.0.2.1")
    make_certificate(d, "stranger", here, authority="other")
    make_certificate(d, "expired", here, days=-1)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            "self.key", "-out", "self.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
            f"subjectAltName={here}", cwd=d)


def make_crl(d, name, *revoked, arguments=("-crldays", "2")):
    """A list of the authority ca's in name.pem, behind its certificate."""
    Path(f"{d}/{name}.cnf").write_text(
        f"[ca]\ndefault_ca = c\n[c]\ndatabase = {d}/{name}.index\ncertificate = {d}/ca.pem\nprivate_key = {d}/ca.key\n"
        f"default_md = sha256\n")
    Path(f"{d}/{name}.index").touch()
    for certificate in revoked:
        openssl("ca", "-config", f"{name}.cnf", "-revoke", f"{certificate}.pem", cwd=d)
    openssl("ca", "-config", f"{name}.cnf", "-gencrl", *arguments, "-out", f"{name}.crl", cwd=d)
    Path(f"{d}/{name}.pem").write_bytes(Path(f"{d}/ca.pem").read_bytes() + Path(f"{d}/{name}.crl").read_bytes())
