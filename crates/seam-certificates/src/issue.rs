//! A certificate authority of one's own, for development and tests.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use seam_core::{Error, Result};

/// A certificate authority whose key lives in memory.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What is asked of an [`Authority`].
#[derive(Clone, Debug)]
pub struct Wish {
    /// The common name of the subject.
    pub subject: String,
    /// The names it is for: a DNS name, an IP address or a URI each.
    pub names: Vec<String>,
    /// What it is made for.
    pub purpose: Purpose,
    /// Since when it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// Its number, by which it can be revoked.
    pub serial: Option<u64>,
}

/// What a certificate is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A listener.
    Server,
    /// Whoever dials.
    Client,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Wish {
    /// One for these names, valid from a minute ago for `valid`.
    #[must_use]
    pub fn new(purpose: Purpose, names: Vec<String>, valid: Duration) -> Self {
        let now = SystemTime::now();
        Self {
            subject: names.first().cloned().unwrap_or_default(),
            names,
            purpose,
            not_before: now - CLOCKS_DIFFER,
            not_after: now + valid,
            serial: None,
        }
    }
}

/// How far the clock of another machine may be behind.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

impl Authority {
    /// A new one of this name, valid from a minute ago for `valid`.
    ///
    /// # Errors
    ///
    /// Those of the cryptography.
    pub fn new(name: &str, valid: Duration) -> Result<Self> {
        let mut params = params(name, SystemTime::now() - CLOCKS_DIFFER, SystemTime::now() + valid);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        CertifiedIssuer::self_signed(params, key).map(Self).map_err(|error| failed(&error))
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name that no certificate can have.
    pub fn issue(&self, wish: &Wish) -> Result<Issued> {
        let mut params = params(&wish.subject, wish.not_before, wish.not_after);
        params.subject_alt_names =
            wish.names.iter().map(|name| san(name)).collect::<Result<_>>()?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match wish.purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.serial_number = wish.serial.map(SerialNumber::from);
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let signed = params.signed_by(&key, &self.0).map_err(|error| failed(&error))?;
        Ok(Issued { certificate: signed.pem(), key: key.serialize_pem() })
    }

    /// A list of revoked certificates, by their numbers, valid for `valid`; in PEM.
    ///
    /// # Errors
    ///
    /// Those of the cryptography.
    pub fn revoke(&self, serials: &[u64], since: SystemTime, until: SystemTime) -> Result<String> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: since.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: since.into(),
            next_update: until.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).and_then(|list| list.pem()).map_err(|error| failed(&error))
    }
}

/// Makes an authority, a certificate for a listener at `hosts` and one for a client named `client`, and writes them to the
/// folder `out`, which is made where it is missing: `ca.pem`, `ca.key`, `server.pem`, `server.key`, `client.pem`,
/// `client.key`. Keys are for their owner's eyes. Gives the files back.
///
/// # Errors
///
/// [`Error::Misuse`] where one of the files is there already: nothing is overwritten. [`Error::Invalid`] for a name that no
/// certificate can have.
pub fn write_new(
    out: &Path,
    hosts: &[String],
    client: &str,
    valid: Duration,
) -> Result<Vec<PathBuf>> {
    let authority = Authority::new("Seam development", valid)?;
    let server = authority.issue(&Wish::new(Purpose::Server, hosts.to_vec(), valid))?;
    let client = authority.issue(&Wish::new(Purpose::Client, vec![client.to_owned()], valid))?;
    let files = [
        ("ca.pem", authority.pem()),
        ("ca.key", authority.0.key().serialize_pem()),
        ("server.pem", server.certificate),
        ("server.key", server.key),
        ("client.pem", client.certificate),
        ("client.key", client.key),
    ];
    let files = files.map(|(name, text)| (out.join(name), text));
    if let Some((there, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(Error::invalid(
            "folder",
            format!("{} is there already; choose another, or remove it", there.display()),
        ));
    }
    let unwritten = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| {
            Error::invalid("folder", format!("{path} cannot be written: {error}"))
        }
    };
    fs::create_dir_all(out).map_err(unwritten(out))?;
    for (path, text) in &files {
        write(path, text).map_err(unwritten(path))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if path.extension().is_some_and(|kind| kind == "key") {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.open(path)?.write_all(text.as_bytes())
}

fn params(subject: &str, not_before: SystemTime, not_after: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    (params.not_before, params.not_after) = (not_before.into(), not_after.into());
    params
}

fn san(name: &str) -> Result<SanType> {
    let text = |name: &str| {
        name.try_into()
            .map_err(|_| Error::invalid("name", format!("`{name}` is no name of a certificate")))
    };
    Ok(match name.parse::<IpAddr>() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) if name.contains("://") => SanType::URI(text(name)?),
        Err(_) => SanType::DnsName(text(name)?),
    })
}

fn failed(error: &rcgen::Error) -> Error {
    Error::invalid("certificate", error.to_string())
}
