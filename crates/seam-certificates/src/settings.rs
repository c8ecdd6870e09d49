//! What the parameters of an endpoint say of certificates, and the configurations of rustls that come of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ConfigBuilder, ConfigSide, RootCertStore, ServerConfig, SupportedProtocolVersion,
    WantsVerifier, version,
};
use seam_core::{Endpoint, Error, Kind, Parameter, Result, parameters};

use crate::{Reloaded, files};

/// The parameters of certificates, for the [`Scheme`](seam_core::Scheme) of a transport.
pub const PARAMETERS: [Parameter; 6] = [
    parameters::CA,
    parameters::CLIENT_CA,
    parameters::CERT,
    parameters::KEY,
    parameters::SERVER_NAME,
    Parameter::new("crl", Kind::Path)
        .with_about("PEM file of revocation lists, one of each authority; who is on none of them or on one that has expired is refused"),
];

/// `tls`: the lowest version of TLS, where there is a choice.
pub const LOWEST_VERSION: Parameter = Parameter::new("tls", Kind::Choice(&["1.2", "1.3"]))
    .with_default("1.3")
    .with_about("the lowest version of TLS that is spoken");

/// What the parameters of an endpoint say of certificates. Its files are read when a configuration is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    ca: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    own: Option<(PathBuf, PathBuf)>,
    crl: Option<PathBuf>,
    server_name: Option<String>,
    lowest: Lowest,
}

/// The lowest version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lowest {
    Two,
    Three,
}

impl Settings {
    /// What `endpoint` says. No I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] for values that do not fit together.
    pub fn new(endpoint: &Endpoint) -> Result<Self> {
        let path = |name: &str| endpoint.path(name).map(Path::to_owned);
        let own = match (path("cert"), path("key")) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(Error::invalid_endpoint("`cert` needs its `key`")),
            (None, Some(_)) => return Err(Error::invalid_endpoint("`key` needs its `cert`")),
        };
        let settings = Self {
            ca: path("ca"),
            client_ca: path("client_ca"),
            own,
            crl: path("crl"),
            server_name: endpoint.text("server_name").map(str::to_owned),
            lowest: Lowest::Three,
        };
        if let Some(name) = &settings.server_name {
            settings.name_of(name)?;
        }
        Ok(settings)
    }

    /// With [`LOWEST_VERSION`] as well, of an endpoint whose scheme takes it.
    #[must_use]
    pub fn with_lowest_version(mut self, endpoint: &Endpoint) -> Self {
        self.lowest = match endpoint.text(LOWEST_VERSION.name) {
            Some("1.2") => Lowest::Two,
            _ => Lowest::Three,
        };
        self
    }

    /// Whether a listener lets nobody in but clients with a certificate.
    #[must_use]
    pub fn wants_clients_proof(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Whether there is something for a listener to show.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] where there is not.
    pub fn check_listener(&self) -> Result<()> {
        self.own().map(drop)
    }

    /// Every file that is read, to see when one changes.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let own = self.own.iter().flat_map(|(cert, key)| [cert, key]);
        own.chain(&self.ca).chain(&self.client_ca).chain(&self.crl).cloned().collect()
    }

    /// The name that the certificate of a listener at `host` must have.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] where that is neither a name nor an address.
    pub fn name_of(&self, host: &str) -> Result<ServerName<'static>> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        ServerName::try_from(bare.to_owned()).map_err(|_| {
            Error::invalid_endpoint(format!(
                "`{name}` is no name that a certificate can have; give one by `server_name=`"
            ))
        })
    }

    /// What a dialler shows and trusts, as its files say now.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] or [`Error::InvalidEndpoint`], with the file and what is wrong with it.
    pub fn client(&self, protocols: &[&[u8]]) -> Result<ClientConfig> {
        let roots = match &self.ca {
            Some(ca) => files::authorities("ca", ca)?,
            None => files::platform()?,
        };
        let mut verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crate::provider());
        if let Some(crl) = &self.crl {
            let lists = files::revocation_lists(crl)?;
            verifier = verifier.with_crls(lists).enforce_revocation_expiration();
        }
        let verifier = verifier.build().map_err(|error| self.wrong_list(&error))?;
        let builder = builder(self.lowest, ClientConfig::builder_with_provider(crate::provider()))?;
        let builder = builder.with_webpki_verifier(verifier);
        let mut config = match &self.own {
            Some((cert, key)) => {
                let chain = files::certificates("cert", cert)?;
                let made = builder.with_client_auth_cert(chain, files::private_key(key)?);
                made.map_err(|error| unfit(cert, key, &error))?
            }
            None => builder.with_no_client_auth(),
        };
        // A session that is resumed is one whose certificate nobody looks at again.
        config.resumption = Resumption::disabled();
        config.require_ems = true;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// What a listener shows and trusts, as its files say now.
    ///
    /// # Errors
    ///
    /// As [`client`](Self::client).
    pub fn server(&self, protocols: &[&[u8]]) -> Result<ServerConfig> {
        let (cert, key) = self.own()?;
        let builder = builder(self.lowest, ServerConfig::builder_with_provider(crate::provider()))?;
        let builder = match &self.client_ca {
            Some(ca) => builder.with_client_cert_verifier({
                let roots: Arc<RootCertStore> = Arc::new(files::authorities("client_ca", ca)?);
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, crate::provider());
                if let Some(crl) = &self.crl {
                    let lists = files::revocation_lists(crl)?;
                    verifier = verifier.with_crls(lists).enforce_revocation_expiration();
                }
                verifier.build().map_err(|error| self.wrong_list(&error))?
            }),
            None => builder.with_no_client_auth(),
        };
        let chain = files::certificates("cert", cert)?;
        let made = builder.with_single_cert(chain, files::private_key(key)?);
        let mut config = made.map_err(|error| unfit(cert, key, &error))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.require_ems = true;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// The same as long as it listens: what these files say, read again when one changes, or what is `given` instead.
    ///
    /// # Errors
    ///
    /// As [`client`](Self::client).
    pub fn listener(
        self,
        given: Option<&ServerConfig>,
        protocols: &'static [&'static [u8]],
    ) -> Result<Reloaded<ServerConfig>> {
        let Some(given) = given else {
            return Reloaded::new(self.files(), move || self.server(protocols));
        };
        let mut given = given.clone();
        given.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Reloaded::new(Vec::new(), move || Ok(given.clone()))
    }

    fn own(&self) -> Result<&(PathBuf, PathBuf)> {
        self.own.as_ref().ok_or_else(|| {
            Error::invalid_endpoint(
                "a listener needs a certificate: give `cert=` and `key=`; `seam certs new` makes some to try with",
            )
        })
    }

    fn wrong_list(&self, error: &impl std::fmt::Display) -> Error {
        match &self.crl {
            Some(crl) => files::wrong("crl", crl, &format!("is of no use: {error}")),
            None => Error::invalid_endpoint(format!("the authorities are of no use: {error}")),
        }
    }
}

fn builder<S: ConfigSide>(
    lowest: Lowest,
    builder: ConfigBuilder<S, rustls::WantsVersions>,
) -> Result<ConfigBuilder<S, WantsVerifier>> {
    let versions: &[&SupportedProtocolVersion] = match lowest {
        Lowest::Two => &[&version::TLS13, &version::TLS12],
        Lowest::Three => &[&version::TLS13],
    };
    builder
        .with_protocol_versions(versions)
        .map_err(|error| Error::invalid_endpoint(format!("this build speaks no such TLS: {error}")))
}

fn unfit(cert: &Path, key: &Path, error: &rustls::Error) -> Error {
    let (cert, key) = (cert.display(), key.display());
    Error::invalid_endpoint(match error {
        rustls::Error::InconsistentKeys(_) => {
            format!(
                "the key of {key} is not that of the certificate of {cert}; give both of one pair"
            )
        }
        other => format!("the certificate of {cert} with the key of {key} cannot be used: {other}"),
    })
}
