//! A URI in configuration: its text, or a map with the names of its parts.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Uri;

impl Serialize for Uri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.expose())
    }
}

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A binary format cannot tell what comes, and what we write is a text.
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(UriVisitor)
        } else {
            deserializer.deserialize_str(UriVisitor)
        }
    }
}

struct UriVisitor;

impl<'de> Visitor<'de> for UriVisitor {
    type Value = Uri;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URI, or a map with `scheme`, `hosts`, `path` and parameters")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uri, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Uri, A::Error> {
        let mut scheme: Option<Scalar> = None;
        let mut user: Option<Scalar> = None;
        let mut password: Option<Scalar> = None;
        let mut hosts: Option<Hosts> = None;
        let mut path: Option<Scalar> = None;
        let mut parameters: Vec<(String, Scalar)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "scheme" => once(&mut scheme, "scheme", map.next_value()?)?,
                "user" => once(&mut user, "user", map.next_value()?)?,
                "password" => once(&mut password, "password", map.next_value()?)?,
                "hosts" => once(&mut hosts, "hosts", map.next_value()?)?,
                "path" => once(&mut path, "path", map.next_value()?)?,
                _ => parameters.push((key, map.next_value()?)),
            }
        }
        let scheme = scheme.ok_or_else(|| A::Error::missing_field("scheme"))?;
        let mut builder = Uri::builder(&scheme.0);
        builder = user.into_iter().fold(builder, |builder, user| builder.user(&user.0));
        builder = password.into_iter().fold(builder, |builder, secret| builder.password(secret.0));
        builder = hosts
            .map_or_else(Vec::new, Hosts::into_list)
            .iter()
            .fold(builder, |builder, host| builder.authority(host));
        builder = path.into_iter().fold(builder, |builder, path| builder.path(&path.0));
        builder =
            parameters.iter().fold(builder, |builder, (name, value)| builder.set(name, &value.0));
        builder.build().map_err(A::Error::custom)
    }
}

fn once<T, E: serde::de::Error>(
    slot: &mut Option<T>,
    name: &'static str,
    value: T,
) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

/// What `hosts` may be: one, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Hosts {
    One(String),
    Many(Vec<String>),
}

impl Hosts {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(host) => vec![host],
            Self::Many(hosts) => hosts,
        }
    }
}

/// A text, number or truth value, in the text that a URI has for it.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or true")
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }
}
