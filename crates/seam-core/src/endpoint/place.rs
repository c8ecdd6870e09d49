//! Authority and path, read by the [`Shape`] of a scheme.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::scheme::{Scheme, Shape};
use crate::uri::decode;
use crate::{Error, Result, Uri, parameters};

/// A host of an endpoint. `Display` is `name:port`, with brackets around an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// A name or an IP address; an IPv6 address stands here without brackets.
    pub name: Box<str>,
    /// The port, given or the scheme's default; 0 lets a listener take any that is free.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name.replace('%', "%25"), self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) hosts: Box<[Host]>,
    pub(super) address: Box<str>,
    pub(super) region: Option<Box<str>>,
    pub(super) account: Option<Box<str>>,
    pub(super) virtual_host: Option<Box<str>>,
    pub(super) file: Option<PathBuf>,
}

impl Place {
    pub(super) fn read(uri: &Uri, scheme: &Scheme) -> Result<Self> {
        let place = match scheme.shape {
            Shape::Hosts => Self::read_hosts(uri, scheme),
            Shape::Address => Self::read_address(uri, scheme),
            Shape::File => Self::read_file(uri, scheme),
            Shape::Scope => Self::read_scope(uri, scheme),
            Shape::Vhost => Self::read_virtual_host(uri, scheme),
        }?;
        if place.address.is_empty() && !may_lack_address(uri, scheme) {
            return Err(refuse(scheme, "the address is empty"));
        }
        if place.address.chars().any(char::is_control) {
            return Err(Error::invalid_endpoint(
                "the address holds a control character; use letters, digits and punctuation",
            ));
        }
        Ok(place)
    }

    fn read_hosts(uri: &Uri, scheme: &Scheme) -> Result<Self> {
        let hosts = parse_hosts(uri.authority(), scheme)?;
        let segment = below_root(uri);
        if segment.contains('/') {
            return Err(refuse(scheme, "the address is one segment, its `/` written as %2F"));
        }
        Ok(Self { hosts, address: decode("the address", segment)?.into(), ..Self::default() })
    }

    fn read_address(uri: &Uri, scheme: &Scheme) -> Result<Self> {
        refuse_user(uri, scheme)?;
        let rest = match uri.authority() {
            "" => below_root(uri).to_owned(),
            first => format!("{first}{}", uri.path().unwrap_or_default()),
        };
        Ok(Self { address: decode("the address", &rest)?.into(), ..Self::default() })
    }

    fn read_file(uri: &Uri, scheme: &Scheme) -> Result<Self> {
        refuse_user(uri, scheme)?;
        let path = decode("the path", uri.path().unwrap_or_default())?;
        if !uri.authority().is_empty() || path.len() < 2 {
            return Err(refuse(scheme, &format!("`{}` needs an absolute path", scheme.name)));
        }
        Ok(Self { file: Some(path.into()), address: address_parameter(uri), ..Self::default() })
    }

    fn read_scope(uri: &Uri, scheme: &Scheme) -> Result<Self> {
        let authority = uri.authority();
        let mut place = Self::default();
        if scheme.default_port.is_some() || authority.contains(':') {
            place.hosts = parse_hosts(authority, scheme)?;
        } else if is_region(authority) {
            place.region = Some(authority.into());
        } else {
            return Err(refuse(scheme, &format!("`{}` needs a region, or host:port", scheme.name)));
        }
        let path = below_root(uri);
        let (account, address) = match path.split_once('/') {
            Some((account, address)) => (Some(account), address),
            None => (None, path),
        };
        if account == Some("") || address.contains('/') {
            return Err(refuse(scheme, "the path is an address, or an account and an address"));
        }
        place.account =
            account.map(|account| decode("the account", account)).transpose()?.map(Into::into);
        place.address = decode("the address", address)?.into();
        Ok(place)
    }

    fn read_virtual_host(uri: &Uri, scheme: &Scheme) -> Result<Self> {
        let hosts = parse_hosts(uri.authority(), scheme)?;
        if uri.parameter(parameters::ADDRESS.name).is_none() {
            let name = scheme.name;
            let native = if name.ends_with('s') { "rabbitmq+tls" } else { "rabbitmq" };
            return Err(Error::invalid_endpoint(format!(
                "the path of `{name}` is a virtual host, and there is no address; \
                 write {name}://host/vhost?address=orders or {native}://host/orders?vhost=.."
            )));
        }
        let virtual_host = match uri.path() {
            Some(_) => decode("the virtual host", below_root(uri))?,
            // What the AMQP specification says of a URI without path.
            None => "/".to_owned(),
        };
        let virtual_host = Some(virtual_host.into());
        Ok(Self { hosts, virtual_host, address: address_parameter(uri), ..Self::default() })
    }
}

/// `uri` with its address replaced; where the rest is one address, in its shortest form.
pub(super) fn with_address(uri: &Uri, place: &Place, shape: Shape, address: &str) -> Uri {
    match (shape, &place.account) {
        (Shape::Address, _) => uri.with_rest(address),
        (Shape::File | Shape::Vhost, _) => uri.with_parameter(parameters::ADDRESS.name, address),
        (Shape::Scope, Some(account)) => uri.with_segments(&[account, address]),
        (Shape::Hosts | Shape::Scope, _) => uri.with_segments(&[address]),
    }
}

fn parse_hosts(authority: &str, scheme: &Scheme) -> Result<Box<[Host]>> {
    authority.split(',').map(|text| parse_host(text, scheme)).collect()
}

fn parse_host(text: &str, scheme: &Scheme) -> Result<Host> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => split_ipv6(rest)?,
        None => match text.split_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        },
    };
    if !text.starts_with('[') {
        check_host_name(&name, port)?;
    }
    if name.is_empty() {
        return Err(refuse(scheme, "a host is missing"));
    }
    let port = match port {
        Some(port) => parse_port(&name, port)?,
        None => scheme.default_port.ok_or_else(|| {
            refuse(scheme, &format!("host `{name}` has no port, and `{}` no default", scheme.name))
        })?,
    };
    Ok(Host { name: name.into(), port })
}

fn split_ipv6(rest: &str) -> Result<(String, Option<&str>)> {
    let wrong =
        || Error::invalid_endpoint("what `[` begins is no IPv6 address; write it as [::1]:7420");
    let (inside, after) = rest.split_once(']').ok_or_else(wrong)?;
    let name = decode("the host", inside)?;
    let (number, zone) = name.split_once('%').unwrap_or((&name, "any"));
    let zone_is_name = !zone.is_empty() && zone.chars().all(is_host_character);
    if number.parse::<Ipv6Addr>().is_err() || !zone_is_name {
        return Err(wrong());
    }
    match after.strip_prefix(':') {
        Some(port) => Ok((name, Some(port))),
        None if after.is_empty() => Ok((name, None)),
        None => Err(wrong()),
    }
}

fn check_host_name(name: &str, port: Option<&str>) -> Result<()> {
    if port.is_some_and(|port| port.contains(':')) {
        return Err(Error::invalid_endpoint(
            "a host has several `:`; an IPv6 address stands in brackets, as [::1]:7420",
        ));
    }
    if name.chars().all(is_host_character) {
        return Ok(());
    }
    Err(Error::invalid_endpoint(
        "a host holds a character that no host name has; use letters, digits, `-`, `.` and `_`",
    ))
}

fn is_host_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._".contains(character)
}

fn parse_port(host: &str, text: &str) -> Result<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        Error::invalid_endpoint(format!("the port of host `{host}` is no number from 0 to 65535"))
    })
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn refuse_user(uri: &Uri, scheme: &Scheme) -> Result<()> {
    if uri.user().is_some() || uri.password().is_some() {
        return Err(refuse(scheme, &format!("`{}` takes no user and no password", scheme.name)));
    }
    Ok(())
}

fn refuse(scheme: &Scheme, reason: &str) -> Error {
    Error::invalid_endpoint(format!("{reason}; write {}", scheme.form()))
}

/// The path without the `/` it begins with; empty where there is none.
fn below_root(uri: &Uri) -> &str {
    let path = uri.path().unwrap_or_default();
    path.strip_prefix('/').unwrap_or(path)
}

fn address_parameter(uri: &Uri) -> Box<str> {
    uri.parameter(parameters::ADDRESS.name).unwrap_or_default().into()
}

fn may_lack_address(uri: &Uri, scheme: &Scheme) -> bool {
    scheme.without_address.is_some_and(|(name, value)| uri.parameter(name) == Some(value))
}
