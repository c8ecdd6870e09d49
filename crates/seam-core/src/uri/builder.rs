//! A URI from its parts, with the names that its text has.

use std::fmt;

use super::{Uri, escape};
use crate::{Error, Result, Secret};

/// Builds a [`Uri`]; made by [`Uri::builder`]. Every text is given plainly and escaped here.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct UriBuilder(Uri);

impl UriBuilder {
    pub(super) fn new(scheme: &str) -> Self {
        Self(Uri {
            scheme: scheme.to_ascii_lowercase(),
            user: None,
            password: None,
            authority: String::new(),
            path: None,
            parameters: Vec::new(),
        })
    }

    /// Adds a host with its port. An IPv6 address is given without brackets.
    pub fn host(self, name: &str, port: u16) -> Self {
        if name.contains(':') {
            let name = name.replace('%', "%25");
            self.append_host(&format!("[{name}]:{port}"))
        } else {
            self.append_host(&format!("{name}:{port}"))
        }
    }

    /// Adds what a URI has there: `host`, `host:port`, `[::1]:port`, or a region.
    pub fn authority(self, text: &str) -> Self {
        self.append_host(text)
    }

    fn append_host(mut self, text: &str) -> Self {
        if !self.0.authority.is_empty() {
            self.0.authority.push(',');
        }
        self.0.authority.push_str(text);
        self
    }

    /// Sets the path to this one segment; a `/` in it is escaped.
    pub fn address(mut self, address: &str) -> Self {
        self.0 = self.0.with_segments(&[address]);
        self
    }

    /// Sets the path to these segments, separated by `/`; a leading `/` may be left out.
    pub fn path(mut self, path: &str) -> Self {
        let path = escape::encode(path.strip_prefix('/').unwrap_or(path), escape::PATH);
        self.0.path = Some(format!("/{path}"));
        self
    }

    /// Sets the user. Empty is none.
    pub fn user(mut self, user: &str) -> Self {
        self.0.user = (!user.is_empty()).then(|| user.to_owned());
        self
    }

    /// Sets the password.
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.0.password = Some(password.into());
        self
    }

    /// Adds a parameter, its value as the URI has it: `100`, `"30s"`, `"64KiB"`.
    pub fn set(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.parameters.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a parameter that is only a name.
    pub fn flag(self, name: &str) -> Self {
        self.set(name, super::FLAG)
    }

    /// Checks the whole as its text would be.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], as parsing the text.
    pub fn build(self) -> Result<Uri> {
        // One parser decides what is valid; what it reads differently would have been another URI.
        let parsed: Uri = self.0.expose().parse()?;
        if parsed == self.0 {
            return Ok(parsed);
        }
        Err(Error::invalid_endpoint(
            "the scheme, a host or a parameter name holds a character that ends it, \
             such as `/`, `?`, `=` or `&`",
        ))
    }
}

/// Shows the scheme only: nothing else has been checked for where its secrets stand.
impl fmt::Debug for UriBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UriBuilder").field("scheme", &self.0.scheme).finish_non_exhaustive()
    }
}
