//! What a certificate says, for whoever reads it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use seam_core::{Result, Timestamp};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::files;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// Whose it is: a distinguished name such as `CN=shop`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names it is for, each with its kind in front: `dns:`, `ip:`, `uri:`, `email:`.
    pub names: Vec<String>,
    /// Since when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// What it is made for: `server`, `client`, or neither, where it does not say.
    pub purposes: Vec<&'static str>,
    /// `sha256:` and the digest of all of it, in hexadecimal digits.
    pub fingerprint: String,
}

impl Certificate {
    /// Reads a certificate in DER; `None` where it is none.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|found| &found.value.general_names).filter_map(name);
        let usage = parsed.extended_key_usage().ok().flatten();
        let made_for = |is: fn(&x509_parser::extensions::ExtendedKeyUsage<'_>) -> bool| {
            usage.as_ref().is_some_and(|usage| is(usage.value))
        };
        let purposes = [
            ("server", made_for(|usage| usage.server_auth)),
            ("client", made_for(|usage| usage.client_auth)),
        ];
        let digest = Sha256::digest(der);
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self {
            subject: plain(&parsed.subject().to_string()),
            issuer: plain(&parsed.issuer().to_string()),
            names: names.collect(),
            not_before: timestamp(parsed.validity().not_before)?,
            not_after: timestamp(parsed.validity().not_after)?,
            is_authority: parsed.is_ca(),
            purposes: purposes.into_iter().filter_map(|(name, is)| is.then_some(name)).collect(),
            fingerprint: format!("sha256:{digits}"),
        })
    }

    /// Who has proved to be there: the first `uri:`, which is what meshes give to programs, else the first other name, else
    /// `subject:` and the distinguished name.
    #[must_use]
    pub fn identity(&self) -> String {
        let uri = self.names.iter().find(|name| name.starts_with("uri:"));
        let name = uri.or_else(|| self.names.first());
        name.cloned().unwrap_or_else(|| format!("subject:{}", self.subject))
    }

    /// What is told of a peer beside its identity: `subject`, a `name` for each, `fingerprint`, `not_after`.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, String)> {
        let subject = std::iter::once(("subject", self.subject.clone()));
        let names = self.names.iter().map(|name| ("name", name.clone()));
        let rest =
            [("fingerprint", self.fingerprint.clone()), ("not_after", self.not_after.to_string())];
        subject.chain(names).chain(rest)
    }
}

/// The certificates of a PEM file, in their order.
///
/// # Errors
///
/// What is wrong with the file.
pub fn read_file(path: &Path) -> Result<Vec<Certificate>> {
    let found = files::certificates(files::NOBODYS, path)?;
    let read = found.iter().map(|der| Certificate::read(der));
    read.collect::<Option<_>>()
        .ok_or_else(|| files::wrong(files::NOBODYS, path, "holds something that is no certificate"))
}

fn name(found: &GeneralName<'_>) -> Option<String> {
    match found {
        GeneralName::DNSName(name) => Some(format!("dns:{}", plain(name))),
        GeneralName::URI(uri) => Some(format!("uri:{}", plain(uri))),
        GeneralName::RFC822Name(address) => Some(format!("email:{}", plain(address))),
        GeneralName::IPAddress(bytes) => {
            match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(four), _) => Some(format!("ip:{}", Ipv4Addr::from(four))),
                (_, Ok(sixteen)) => Some(format!("ip:{}", Ipv6Addr::from(sixteen))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Text of somebody else, as it may be printed: whatever moves a cursor or ends a line is escaped.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for each in text.chars() {
        match each.is_control() {
            true => plain.extend(each.escape_default()),
            false => plain.push(each),
        }
    }
    plain
}

fn timestamp(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_millis(time.timestamp().checked_mul(1000)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_calls_itself_stays_on_its_line() {
        assert_eq!(plain("till-7\n\u{1b}[2Jgrüße"), "till-7\\n\\u{1b}[2Jgrüße");
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert_eq!(Certificate::read(b""), None);
        assert_eq!(Certificate::read(b"\x30\x03\x02\x01\x01"), None);
    }
}
