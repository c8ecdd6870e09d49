//! TLS to the broker, by rustls with ring: whom to trust, and what to show.

use std::path::Path;
use std::sync::Arc;

use lapin::tcp::RustlsConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use seam_core::{Endpoint, Error, Result};

/// What makes connections of `endpoint` to TLS. Reads the files it names at each call, so that they may be renewed.
///
/// # Errors
///
/// [`Error::NotFound`] for a file that cannot be read, [`Error::InvalidEndpoint`] for one that holds something else.
pub(crate) fn connector(endpoint: &Endpoint) -> Result<RustlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("this build of TLS", &error.to_string()))?
        .with_root_certificates(roots(endpoint)?);
    let config = match (endpoint.path("cert"), endpoint.path("key")) {
        (Some(cert), Some(key)) => {
            let chain = certificates("cert", cert)?;
            let key = private_key(key)?;
            let with_key = config.with_client_auth_cert(chain, key);
            with_key.map_err(|error| wrong("`cert` with `key`", &error.to_string()))?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(RustlsConnector::from(config))
}

fn roots(endpoint: &Endpoint) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match endpoint.path("ca") {
        Some(ca) => {
            for certificate in certificates("ca", ca)? {
                roots.add(certificate).map_err(|error| wrong("`ca`", &error.to_string()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs().certs;
            roots.add_parsable_certificates(found);
            if roots.is_empty() {
                let reason = "the platform has no authorities to trust; give one by `ca=`";
                return Err(Error::invalid_endpoint(reason));
            }
        }
    }
    Ok(roots)
}

fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(name, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong(&format!("`{name}`"), "it holds no certificate in PEM")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let bytes = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| wrong("`key`", "it holds no private key in PEM that is not encrypted"))
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::NotFound {
        what: format!("the file of `{name}`"),
        remedy: format!("see whether {} is there and may be read ({error})", path.display()),
    })
}

fn wrong(what: &str, reason: &str) -> Error {
    Error::invalid_endpoint(format!("{what} cannot be used: {reason}"))
}
