//! The parameters of `tls://`.

use seam_certificates::{Protocols, SESSION};
use seam_core::{Endpoint, Error, Parameter, Result, Scheme, Shape, parameters};
use seam_link::tcp;

pub(crate) static SCHEMES: [Scheme; 1] = [Scheme::new("tls", Shape::Hosts, &PARAMETERS)
    .with_default_port(7421)
    .with_optional_address("wire", "connect")
    .with_about("TLS over TCP: sessions between ends that prove who they are, or the plain wire of `connect`")];

static PARAMETERS: [Parameter; 29] = seam_link::parameters_with(MORE);

const MORE: [Parameter; 10] = parameters::join(tcp::PARAMETERS, TLS);

const TLS: [Parameter; 7] =
    parameters::join(seam_certificates::PARAMETERS, [seam_certificates::LOWEST_VERSION]);

/// What is said and wanted of the protocol spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Speaks {
    /// A session, which has a name.
    Session,
    /// The wire of `connect`, which has none.
    Connect,
    /// Either.
    Any,
}

impl Speaks {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        match endpoint.text("wire") {
            Some("connect") => Self::Connect,
            Some("any") => Self::Any,
            _ => Self::Session,
        }
    }

    pub(crate) fn protocols(self) -> Protocols {
        match self {
            Self::Session | Self::Any => &[SESSION],
            Self::Connect => &[],
        }
    }

    /// What is wrong where the ends settled for `protocol`. An end that says nothing agrees with everything, so that an
    /// agreement on a session is looked for.
    pub(crate) fn check(self, endpoint: &str, protocol: Option<&[u8]>) -> Result<()> {
        if self != Self::Session || protocol == Some(SESSION) {
            return Ok(());
        }
        Err(Error::Protocol {
            endpoint: endpoint.to_owned(),
            reason: "the other end did not say that it speaks `seam/2` (ALPN); for the wire of `connect` say `wire=connect`".to_owned(),
        })
    }
}
