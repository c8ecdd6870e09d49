//! A URI that a scheme has accepted: everything is checked once, and asking cannot fail after.

mod place;
mod scheme;
mod setting;

use std::fmt;
use std::path::Path;
use std::time::Duration;

pub use place::Host;
use place::Place;
pub use scheme::{Kind, Parameter, Scheme, Shape, Side};
use setting::Setting;
pub use setting::Start;

use crate::uri::Redacted;
use crate::{Capabilities, Error, Result, Secret, Support, Uri, parameters};

/// A [`Uri`] resolved against a [`Scheme`]: hosts, address and every parameter, read and checked.
///
/// A getter such as [`count`](Endpoint::count) gives what the URI says, else the default that the
/// scheme declares, else `None`. `Display` and `Debug` are the URI without its secrets.
///
/// ```
/// use seam_core::{Endpoint, Scheme, Shape, Uri, parameters};
///
/// static PIGEON: Scheme =
///     Scheme::new("pigeon", Shape::Hosts, &[parameters::CREDIT, parameters::SEND_TIMEOUT]);
///
/// let uri: Uri = "pigeon://[::1]:2549/orders?credit=3".parse()?;
/// let endpoint = Endpoint::resolve(&uri, &PIGEON)?;
/// assert_eq!(endpoint.hosts()[0].port, 2549);
/// assert_eq!(endpoint.address(), "orders");
/// assert_eq!(endpoint.count("credit"), Some(3));
/// assert_eq!(endpoint.duration("send_timeout").unwrap().as_secs(), 30);
///
/// let uri: Uri = "pigeon://[::1]:2549/orders?cerdit=3".parse()?;
/// assert_eq!(
///     Endpoint::resolve(&uri, &PIGEON).unwrap_err().to_string(),
///     "invalid endpoint: unknown parameter `cerdit` for `pigeon`; did you mean `credit`?",
/// );
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Endpoint {
    uri: Uri,
    scheme: &'static Scheme,
    place: Place,
    /// One for each parameter of the scheme, in its order.
    settings: Box<[Option<Setting>]>,
}

impl Endpoint {
    /// Reads and checks every part of `uri` as `scheme` declares it. No I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], one line that names the first thing wrong and what is right.
    pub fn resolve(uri: &Uri, scheme: &'static Scheme) -> Result<Self> {
        if uri.scheme() != scheme.name {
            let (given, wanted) = (uri.scheme(), scheme.name);
            return Err(Error::invalid_endpoint(format!(
                "the scheme is `{given}`, not `{wanted}`"
            )));
        }
        uri.parameters().try_for_each(|(name, _)| parameters::check_name(name, scheme))?;
        let settings = scheme.parameters.iter().map(|parameter| read_setting(uri, parameter));
        let settings = settings.collect::<Result<_>>()?;
        check_exclusive(uri)?;
        let place = Place::read(uri, scheme)?;
        let uri = match scheme.shape {
            // `memory://orders` and `memory:///orders` are one; what is printed is the short form.
            Shape::Address => place::with_address(uri, &place, scheme.shape, &place.address),
            _ => uri.clone(),
        };
        Ok(Self { uri, scheme, place, settings })
    }

    /// The same endpoint with another address: hosts, credentials and parameters stay.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] where `address` is empty or holds control characters.
    pub fn with_address(&self, address: &str) -> Result<Self> {
        let uri = place::with_address(&self.uri, &self.place, self.scheme.shape, address);
        Self::resolve(&uri, self.scheme)
    }

    /// The URI it was made from, `memory:///orders` being written `memory://orders`.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The name of the scheme.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme.name
    }

    /// The hosts, in the order given; empty where the scheme has none, or a region instead.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.place.hosts
    }

    /// The address, decoded; empty only where the scheme allows that (`wire=connect`).
    #[must_use]
    pub fn address(&self) -> &str {
        &self.place.address
    }

    /// The region, where the shape is [`Shape::Scope`] and no host is given.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.place.region.as_deref()
    }

    /// The account, decoded, where the shape is [`Shape::Scope`] and the path has one.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.place.account.as_deref()
    }

    /// The virtual host, decoded, where the shape is [`Shape::Vhost`]; `/` if there is no path.
    #[must_use]
    pub fn virtual_host(&self) -> Option<&str> {
        self.place.virtual_host.as_deref()
    }

    /// The absolute path, decoded, where the shape is [`Shape::File`].
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.place.file.as_deref()
    }

    /// The user, decoded.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.uri.user()
    }

    /// The password in the URI itself; [`Endpoint::load_password`] also reads variable and file.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.uri.password()
    }

    /// The password: from the URI, the variable `password_env`, or the file `password_file`, whose
    /// last line break is left out.
    ///
    /// Reads at each call, and blocks on the file, so that a password can be changed while running.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the variable or the file is absent or is not UTF-8 text.
    pub fn load_password(&self) -> Result<Option<Secret>> {
        if let Some(password) = self.password() {
            return Ok(Some(password.clone()));
        }
        if let Some(Setting::Text(name)) = self.find(parameters::PASSWORD_ENV.name) {
            return read_variable(name).map(Some);
        }
        if let Some(Setting::Path(path)) = self.find(parameters::PASSWORD_FILE.name) {
            return read_password(path).map(Some);
        }
        Ok(None)
    }

    /// Whether the URI itself has this parameter, even if with its default value.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.uri.parameter(name).is_some()
    }

    /// Whether a flag is given.
    ///
    /// # Panics
    ///
    /// If the scheme declares no flag of this name: that is an error in the transport.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        match self.setting(name) {
            (Kind::Flag, setting) => setting.is_some(),
            (kind, _) => mistaken(name, kind),
        }
    }

    /// A number.
    ///
    /// # Panics
    ///
    /// If the scheme declares no number of this name: that is an error in the transport.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<usize> {
        match self.setting(name) {
            (Kind::Count { .. }, Some(Setting::Count(count))) => Some(*count),
            (Kind::Count { .. }, _) => None,
            (kind, _) => mistaken(name, kind),
        }
    }

    /// A size, in bytes.
    ///
    /// # Panics
    ///
    /// If the scheme declares no size of this name: that is an error in the transport.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<usize> {
        match self.setting(name) {
            (Kind::Bytes, Some(Setting::Bytes(bytes))) => Some(*bytes),
            (Kind::Bytes, _) => None,
            (kind, _) => mistaken(name, kind),
        }
    }

    /// A time span.
    ///
    /// # Panics
    ///
    /// If the scheme declares no duration of this name: that is an error in the transport.
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.setting(name) {
            (Kind::Duration, Some(Setting::Duration(duration))) => Some(*duration),
            (Kind::Duration, _) => None,
            (kind, _) => mistaken(name, kind),
        }
    }

    /// A text, or the word of a choice; never empty.
    ///
    /// # Panics
    ///
    /// If the scheme declares no text or choice of this name: that is an error in the transport.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.setting(name) {
            (Kind::Text | Kind::Choice(_), Some(Setting::Text(text))) => Some(text),
            (Kind::Text | Kind::Choice(_), _) => None,
            (kind, _) => mistaken(name, kind),
        }
    }

    /// A path in the file system.
    ///
    /// # Panics
    ///
    /// If the scheme declares no path of this name: that is an error in the transport.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&Path> {
        match self.setting(name) {
            (Kind::Path, Some(Setting::Path(path))) => Some(path),
            (Kind::Path, _) => None,
            (kind, _) => mistaken(name, kind),
        }
    }

    /// Another URI, such as that of `dead_letter`.
    ///
    /// # Panics
    ///
    /// If the scheme declares no URI of this name: that is an error in the transport.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&Uri> {
        match self.setting(name) {
            (Kind::Uri, Some(Setting::Uri(uri))) => Some(uri),
            (Kind::Uri, _) => None,
            (kind, _) => mistaken(name, kind),
        }
    }

    /// Where to begin, such as `from`.
    ///
    /// # Panics
    ///
    /// If the scheme declares no start of this name: that is an error in the transport.
    #[must_use]
    pub fn start(&self, name: &str) -> Option<Start> {
        match self.setting(name) {
            (Kind::Start, Some(Setting::Start(start))) => Some(*start),
            (Kind::Start, _) => None,
            (kind, _) => mistaken(name, kind),
        }
    }

    /// Each setting for the native client, its name without the prefix of [`Scheme::with_native`], and its value,
    /// which may be a secret.
    pub fn native(&self) -> impl Iterator<Item = (&str, &str)> {
        let prefix = self.scheme.native;
        self.uri
            .parameters()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix?)?, value)))
    }

    /// Whether the scheme takes a parameter of that name.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        self.scheme.parameter(name).is_some()
    }

    /// When a datagram without receipt comes back: `send_timeout`, 30 s where the scheme leaves it out.
    #[must_use]
    pub fn send_timeout(&self) -> Duration {
        self.common_duration("send_timeout", Duration::from_secs(30))
    }

    /// When opening fails: `connect_timeout`, 10 s where the scheme leaves it out.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.common_duration("connect_timeout", Duration::from_secs(10))
    }

    /// Attempts after which a datagram is dead-lettered: `retry`.
    #[must_use]
    pub fn attempts(&self) -> Option<u32> {
        let count = if self.takes("retry") { self.count("retry") } else { None };
        count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Where dead letters go: `dead_letter`.
    #[must_use]
    pub fn dead_letter(&self) -> Option<&Uri> {
        if self.takes("dead_letter") { self.other("dead_letter") } else { None }
    }

    fn common_duration(&self, name: &str, default: Duration) -> Duration {
        let given = if self.takes(name) { self.duration(name) } else { None };
        given.unwrap_or(default)
    }

    /// Refuses a parameter that needs a capability which is [`Support::No`] here.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for the first such parameter; it says what to do instead.
    pub fn check_capabilities(&self, capabilities: &Capabilities) -> Result<()> {
        for parameter in self.scheme.parameters {
            let Some(capability) = parameter.requires else { continue };
            if self.is_given(parameter.name) && capabilities.support(capability) == Support::No {
                let (name, remedy) = (parameter.name, capability.remedy());
                return Err(Error::Unsupported {
                    endpoint: self.to_string(),
                    capability,
                    remedy: format!("`{name}` needs it: {remedy}"),
                });
            }
        }
        Ok(())
    }

    fn setting(&self, name: &str) -> (Kind, Option<&Setting>) {
        match self.scheme.parameters.iter().zip(&self.settings).find(|(p, _)| p.name == name) {
            Some((parameter, setting)) => (parameter.kind, setting.as_ref()),
            None => panic!("scheme `{}` declares no parameter `{name}`", self.scheme.name),
        }
    }

    fn find(&self, name: &str) -> Option<&Setting> {
        self.scheme.parameter(name).and_then(|parameter| self.setting(parameter.name).1)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Redacted::new(&self.uri, &|name| self.scheme.parameter(name)), f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&format_args!("{self}")).finish()
    }
}

fn read_setting(uri: &Uri, parameter: &Parameter) -> Result<Option<Setting>> {
    let text = uri.parameter(parameter.name).or(parameter.default);
    text.map(|text| Setting::parse(parameter, text)).transpose()
}

fn check_exclusive(uri: &Uri) -> Result<()> {
    let given = |names: &[&str]| -> Vec<String> {
        let given = names.iter().filter(|name| uri.parameter(name).is_some());
        given.map(|name| format!("`{name}`")).collect()
    };
    let groups = given(&[parameters::GROUP.name, parameters::PRIVATE.name]);
    let mut passwords = given(&[parameters::PASSWORD_ENV.name, parameters::PASSWORD_FILE.name]);
    if uri.password().is_some() {
        passwords.push("the password before the host".to_owned());
    }
    match [groups, passwords].into_iter().find(|together| together.len() > 1) {
        None => Ok(()),
        Some(together) => Err(Error::invalid_endpoint(format!(
            "{} exclude each other; keep one",
            together.join(" and ")
        ))),
    }
}

// The name is not shown: it may be the password itself, given in the wrong place.
fn read_variable(name: &str) -> Result<Secret> {
    std::env::var(name).map(Secret::from).map_err(|_| Error::NotFound {
        what: "the variable that `password_env` names".to_owned(),
        remedy: "set it to the password".to_owned(),
    })
}

fn read_password(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::NotFound {
        what: "a readable file that `password_file` names".to_owned(),
        remedy: format!("put the password there ({error})"),
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).into())
}

fn mistaken(name: &str, kind: Kind) -> ! {
    panic!("parameter `{name}` is declared as {kind}, and asked for as something else")
}
