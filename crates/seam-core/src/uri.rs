//! The syntactic form of a URI: its parts, before any transport says what they mean.
//!
//! The parser is our own because a host may be a list with ports, a `+` is a plus, and nothing may
//! be rewritten. What the parts mean is decided by [`Endpoint`](crate::Endpoint).

mod builder;
mod escape;
mod serialized;

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

pub use builder::UriBuilder;
pub(crate) use escape::decode;

use crate::secret::HIDDEN;
use crate::{Error, Parameter, Result, Secret, parameters};

/// `scheme://[user[:password]@]authority[/path][?name[=value]&...]`, taken apart and checked.
///
/// - Escapes are those of RFC 3986: `%XX`, together UTF-8; a `+` is a plus.
/// - A parameter `name` alone is the flag `name=true`; no name comes twice.
/// - A fragment, and an unescaped `@` anywhere but behind the user, is an error: it is most often
///   an unescaped part of a password.
///
/// `Display` and `Debug` show no secret: user and password are `***`, and so is the value of each
/// parameter that is not in [`parameters`]. [`Uri::expose`] gives the full text.
///
/// In configuration a `Uri` is its text, or a map of the same names: the parameters, `scheme`,
/// `user`, `password`, `hosts` (a list of `host:port`) and `path`. Serialising writes the full text
/// **with its password**, because a configuration that is written back needs it.
///
/// ```
/// use seam_core::Uri;
///
/// let uri: Uri = "tcp://ann:hunter2@127.0.0.1:7420/orders?credit=100&private".parse()?;
/// assert_eq!(uri.parameter("private"), Some("true"));
/// assert_eq!(uri.to_string(), "tcp://***@127.0.0.1:7420/orders?credit=100&private");
///
/// let built = Uri::builder("tcp")
///     .user("ann")
///     .password("hunter2")
///     .host("127.0.0.1", 7420)
///     .address("orders")
///     .set("credit", 100)
///     .flag("private")
///     .build()?;
/// assert_eq!(built, uri);
/// # Ok::<(), seam_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    scheme: String,
    user: Option<String>,
    password: Option<Secret>,
    authority: String,
    path: Option<String>,
    parameters: Vec<(String, String)>,
}

impl Uri {
    /// Starts a URI of this scheme from its parts.
    pub fn builder(scheme: &str) -> UriBuilder {
        UriBuilder::new(scheme)
    }

    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The user, decoded.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, decoded.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// What stands between user and path, as written; may be empty.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path with its leading `/`, as written; `None` where there is no `/`.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Each parameter with its decoded value, in the order written.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The decoded value of this parameter; a flag has `true`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// The full text, **with its secrets**; parsing it gives this value again.
    #[must_use]
    pub fn expose(&self) -> String {
        let userinfo = match (&self.user, &self.password) {
            (None, None) => String::new(),
            (user, password) => {
                let user = escape::encode(user.as_deref().unwrap_or_default(), escape::USERINFO);
                let password = password.as_ref().map_or_else(String::new, |password| {
                    format!(":{}", escape::encode(password.expose(), escape::USERINFO))
                });
                format!("{user}{password}@")
            }
        };
        let mut text = format!("{}://{userinfo}{}", self.scheme, self.authority);
        text.push_str(self.path().unwrap_or_default());
        for (index, (name, value)) in self.parameters().enumerate() {
            text.push(separator(index));
            text.push_str(name);
            if value != FLAG {
                text.push('=');
                text.push_str(&escape::encode(value, escape::VALUE));
            }
        }
        text
    }

    /// This URI with these segments as its path, a `/` in one of them escaped.
    pub(crate) fn with_segments(&self, segments: &[&str]) -> Self {
        let encode = |segment: &&str| format!("/{}", escape::encode(segment, escape::SEGMENT));
        Self { path: Some(segments.iter().map(encode).collect()), ..self.clone() }
    }

    /// This URI with its whole rest, authority and path, standing for `address`.
    pub(crate) fn with_rest(&self, address: &str) -> Self {
        let (authority, path) = match address.split_once('/') {
            // One `/` ends the empty authority; the other begins the address.
            Some(("", _)) => ("", Some(format!("/{}", escape::encode(address, escape::PATH)))),
            Some((first, rest)) => {
                (first, Some(format!("/{}", escape::encode(rest, escape::PATH))))
            }
            None => (address, None),
        };
        Self { authority: escape::encode(authority, escape::SEGMENT), path, ..self.clone() }
    }

    /// This URI with `name` set to `value`, in place of what it had.
    pub(crate) fn with_parameter(&self, name: &str, value: &str) -> Self {
        let mut uri = self.clone();
        match uri.parameters.iter_mut().find(|(given, _)| given == name) {
            Some((_, old)) => value.clone_into(old),
            None => uri.parameters.push((name.to_owned(), value.to_owned())),
        }
        uri
    }
}

impl FromStr for Uri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        check_characters(text)?;
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            Error::invalid_endpoint("no scheme; begin with one, such as memory://orders")
        })?;
        let scheme = parse_scheme(scheme)?;
        let (before, query) = match rest.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = before.split_at(before.find('/').unwrap_or(before.len()));
        let (userinfo, authority) = authority.split_once('@').unwrap_or(("", authority));
        refuse_stray_at([authority, path, query.unwrap_or_default()])?;
        let (user, password) = parse_userinfo(userinfo)?;
        decode("the authority", authority)?;
        decode("the path", path)?;
        Ok(Self {
            scheme,
            user,
            password,
            authority: authority.to_owned(),
            path: (!path.is_empty()).then(|| path.to_owned()),
            parameters: query.map_or_else(|| Ok(Vec::new()), parse_query)?,
        })
    }
}

impl TryFrom<&str> for Uri {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<String> for Uri {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<&String> for Uri {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self> {
        text.parse()
    }
}

impl From<&Uri> for Uri {
    fn from(uri: &Uri) -> Self {
        uri.clone()
    }
}

/// Lets a function take `impl TryInto<Uri>` where the value is a [`Uri`] already.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Redacted::new(self, &parameters::common), f)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Uri").field(&format_args!("{self}")).finish()
    }
}

/// Prints a URI without secrets: only the values of parameters that `known` finds are shown.
pub(crate) struct Redacted<'a> {
    uri: &'a Uri,
    known: &'a dyn Fn(&str) -> Option<&'static Parameter>,
    nesting: u8,
}

impl<'a> Redacted<'a> {
    pub(crate) fn new(uri: &'a Uri, known: &'a dyn Fn(&str) -> Option<&'static Parameter>) -> Self {
        Self { uri, known, nesting: 0 }
    }

    fn value(&self, parameter: &Parameter, value: &str) -> String {
        if parameter.secret {
            return HIDDEN.to_owned();
        }
        if !parameter.may_hold_uri() {
            return escape::encode(value, escape::VALUE);
        }
        // A URI in a URI in a URI ... must not decide how deep the stack goes.
        match value.parse::<Uri>() {
            Ok(uri) if self.nesting < 4 => {
                let inner =
                    Redacted { uri: &uri, known: &parameters::common, nesting: self.nesting + 1 };
                escape::encode(&inner.to_string(), escape::VALUE)
            }
            _ => HIDDEN.to_owned(),
        }
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.uri;
        write!(f, "{}://", uri.scheme)?;
        if uri.user.is_some() || uri.password.is_some() {
            write!(f, "{HIDDEN}@")?;
        }
        write!(f, "{}{}", uri.authority, uri.path().unwrap_or_default())?;
        for (index, (name, value)) in uri.parameters().enumerate() {
            write!(f, "{}{name}", separator(index))?;
            match (self.known)(name) {
                Some(parameter) if parameter.is_flag() && value == FLAG => {}
                Some(parameter) => write!(f, "={}", self.value(parameter, value))?,
                None => write!(f, "={HIDDEN}")?,
            }
        }
        Ok(())
    }
}

fn check_characters(text: &str) -> Result<()> {
    if text.contains('#') {
        return Err(Error::invalid_endpoint("a fragment means nothing here; write `#` as %23"));
    }
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::invalid_endpoint(
        "a space, a control character or one beyond ASCII; escape its UTF-8, a space as %20",
    ))
}

fn parse_scheme(text: &str) -> Result<String> {
    let valid = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if valid {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Error::invalid_endpoint(
        "what stands before `://` is no scheme; \
         use a letter, then letters, digits, `+`, `-` or `.`",
    ))
}

fn refuse_stray_at(parts: [&str; 3]) -> Result<()> {
    if parts.iter().any(|part| part.contains('@')) {
        return Err(Error::invalid_endpoint(
            "an `@` that does not end the user and password; \
             write it as %40, and in a password `/` as %2F and `?` as %3F",
        ));
    }
    Ok(())
}

fn parse_userinfo(text: &str) -> Result<(Option<String>, Option<Secret>)> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    let user = decode("the user", user)?;
    let password = password.map(|text| decode("the password", text)).transpose()?;
    Ok(((!user.is_empty()).then_some(user), password.map(Secret::from)))
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for piece in query.split('&') {
        let (name, value) = piece.split_once('=').unwrap_or((piece, FLAG));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        {
            return Err(Error::invalid_endpoint(
                "a parameter without a proper name; \
                 write `?name=value&name=value`, and `&` in a value as %26",
            ));
        }
        if parameters.iter().any(|(given, _)| given == name) {
            return Err(Error::invalid_endpoint(format!(
                "parameter `{name}` is given twice; leave one out"
            )));
        }
        parameters.push((name.to_owned(), decode(&format!("parameter `{name}`"), value)?));
    }
    Ok(parameters)
}

fn separator(index: usize) -> char {
    if index == 0 { '?' } else { '&' }
}

/// The value of a parameter that is only a name.
const FLAG: &str = "true";
