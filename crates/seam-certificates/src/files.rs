//! PEM files, and the one line that says what is wrong with one.

use std::io::ErrorKind;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use seam_core::{Error, Result};

/// The certificates of the file that the parameter `name` gives; at least one.
pub(crate) fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    all(name, path, "certificate")
}

/// The revocation lists of a file; at least one.
pub(crate) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    all("crl", path, "revocation list")
}

/// The authorities of a file.
pub(crate) fn authorities(name: &str, path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(name, path)? {
        let added = roots.add(certificate);
        added.map_err(|error| wrong(name, path, &format!("holds no authority: {error}")))?;
    }
    Ok(roots)
}

/// The authorities that the platform trusts.
pub(crate) fn platform() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let reason = "the platform has no authorities to trust; give one by `ca=`";
        return Err(Error::invalid_endpoint(reason));
    }
    Ok(roots)
}

/// The private key of a file that nobody but its owner and group may read.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let bytes = read("key", path)?;
    if is_open_to_all(path) {
        let remedy =
            format!("may be read by every user of this machine; `chmod 600 {}`", path.display());
        return Err(wrong("key", path, &remedy));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let text = String::from_utf8_lossy(&bytes);
        let reason = match text.contains("ENCRYPTED") {
            true => "is encrypted, and there is no place for its password; give one that is not (`openssl pkey`)",
            false => "holds no private key in PEM",
        };
        wrong("key", path, reason)
    })
}

/// What is wrong with the file of a parameter, or with one that was named by itself.
pub(crate) fn wrong(name: &str, path: &Path, reason: &str) -> Error {
    let path = path.display();
    match name {
        NOBODYS => Error::invalid("file", format!("{path} {reason}")),
        name => Error::invalid_endpoint(format!("the file of `{name}`, {path}, {reason}")),
    }
}

/// The name of a file that no parameter gives.
pub(crate) const NOBODYS: &str = "";

/// Everything of one kind in a file; at least one.
fn all<T: PemObject>(name: &str, path: &Path, what: &str) -> Result<Vec<T>> {
    let bytes = read(name, path)?;
    let found: Result<Vec<T>, _> = T::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(name, path, &format!("holds no {what} in PEM"))),
        Err(error) => Err(wrong(name, path, &format!("is damaged: {error}"))),
    }
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::NotFound {
            what: match name {
                NOBODYS => path.display().to_string(),
                name => format!("{}, the file of `{name}`,", path.display()),
            },
            remedy: "create it, or give another; `seam certs new` makes some to try with"
                .to_owned(),
        },
        _ => wrong(name, path, &format!("cannot be read: {error}")),
    })
}

#[cfg(unix)]
fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_open_to_all(_: &Path) -> bool {
    false
}
