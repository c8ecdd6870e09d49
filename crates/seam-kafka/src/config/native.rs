//! Settings of librdkafka: those that every client of an endpoint has, and which a URI may set.

use std::path::Path;

use rdkafka::ClientConfig;
use seam_core::{Endpoint, Error, Result};

use super::NATIVE;

/// What every client of an endpoint is set to: where, who, and the native settings of the URI. Reads files, so it
/// blocks.
pub(crate) fn native(endpoint: &Endpoint) -> Result<ClientConfig> {
    let mut native = ClientConfig::new();
    let hosts: Vec<String> = endpoint.hosts().iter().map(ToString::to_string).collect();
    native
        .set("bootstrap.servers", hosts.join(","))
        .set("client.id", endpoint.text("client_id").unwrap_or("seam"))
        .set("allow.auto.create.topics", "false")
        .set("log_level", "0");
    for (name, value) in endpoint.native() {
        native.set(name, value);
    }
    // A broker that is back is found within a second; librdkafka's ten are most of an outage.
    default(&mut native, "reconnect.backoff.max.ms", &"1000");
    let password = endpoint.load_password()?;
    let tls = endpoint.scheme() == "kafka+tls";
    if let (Some(user), Some(password)) = (endpoint.user(), &password) {
        native
            .set("security.protocol", if tls { "sasl_ssl" } else { "sasl_plaintext" })
            .set("sasl.mechanism", endpoint.text("sasl").unwrap_or("plain").to_uppercase())
            .set("sasl.username", user)
            .set("sasl.password", password.expose());
    } else if endpoint.user().is_some() || password.is_some() || endpoint.text("sasl").is_some() {
        let reason = "user and password go together: `kafka://user:password@host/topic`, or `password_file=`";
        return Err(Error::invalid_endpoint(reason));
    } else {
        native.set("security.protocol", if tls { "ssl" } else { "plaintext" });
    }
    for (ours, theirs) in FILES {
        if let Some(path) = endpoint.path(ours) {
            native.set(theirs, pem(ours, path)?);
        }
    }
    Ok(native)
}

/// Our names of files for TLS, and librdkafka's.
pub(crate) const FILES: [(&str, &str); 3] =
    [("ca", "ssl.ca.location"), ("cert", "ssl.certificate.location"), ("key", "ssl.key.location")];

/// The path of a file that holds what `name` asks for, as far as can be told without OpenSSL, whose words for it
/// help nobody.
fn pem(name: &str, path: &Path) -> Result<String> {
    let shown = path.display();
    let refused = |reason: String| Err(Error::invalid_endpoint(format!("`{name}`: {reason}")));
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => return refused(format!("cannot read {shown}: {error}")),
    };
    let (mark, what) = if name == "key" {
        ("PRIVATE KEY-----", "key")
    } else {
        ("CERTIFICATE-----", "certificate")
    };
    if !text.windows(mark.len()).any(|window| window == mark.as_bytes()) {
        return refused(format!("{shown} holds no {what} in PEM, which begins with `-----BEGIN`"));
    }
    match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => refused(format!("librdkafka takes no path that is not UTF-8: {shown}")),
    }
}

/// Sets what a URI has not set.
pub(super) fn default(native: &mut ClientConfig, name: &str, value: &dyn std::fmt::Display) {
    if native.get(name).is_none() {
        native.set(name, value.to_string());
    }
}

/// Names of settings that promises of this library rest on.
const KEPT: [&str; 33] = [
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "transactional.id",
    "partitioner",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "message.max.bytes",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "retries",
    "message.send.max.retries",
    "delivery.report.only.error",
    "enable.auto.commit",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "auto.offset.reset",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "bootstrap.servers",
    "metadata.broker.list",
    "allow.auto.create.topics",
    "log_level",
    "client.id",
    "security.protocol",
    "queue.buffering.overflow.strategy",
    "statistics.interval.ms",
    "queuing.strategy",
    "isolation.level",
    "enable.gapless.guarantee",
];

/// Beginnings of names whose settings have parameters of their own, or come from a callback.
const KEPT_BEGINNINGS: [&str; 4] = ["sasl.", "ssl.ca.", "ssl.key.", "ssl.certificate."];

/// Settings that are safe although their name begins as one of those.
const FREE: [&str; 4] = [
    "sasl.kerberos.service.name",
    "sasl.kerberos.principal",
    "ssl.ca.certificate.stores",
    "sasl.kerberos.min.time.before.relogin",
];

pub(super) fn check_native(name: &str) -> Result<()> {
    let begins = KEPT_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    let callback = name.ends_with("_cb") || name == "opaque" || name == "plugin.library.paths";
    if KEPT.contains(&name) || callback || (begins && !FREE.contains(&name)) {
        return Err(Error::invalid_endpoint(format!(
            "`{NATIVE}{name}` would break what this library promises or has a parameter of its own; leave it out"
        )));
    }
    Ok(())
}

pub(super) fn check_tls(endpoint: &Endpoint) -> Result<()> {
    let tls = endpoint.scheme() == "kafka+tls";
    if !cfg!(feature = "tls") && tls {
        return Err(Error::NotCompiledIn {
            scheme: endpoint.scheme().to_owned(),
            feature: "kafka-tls",
        });
    }
    let scram = endpoint.text("sasl").is_some_and(|sasl| sasl.starts_with("scram"));
    if !cfg!(feature = "tls") && scram {
        return Err(Error::invalid_endpoint("SCRAM needs feature `kafka-tls` of seam-channel"));
    }
    let given = FILES.iter().find(|(name, _)| endpoint.path(name).is_some());
    match given {
        Some((name, _)) if !tls => Err(Error::invalid_endpoint(format!(
            "`{name}` means nothing without TLS; write kafka+tls://"
        ))),
        _ if endpoint.path("cert").is_some() != endpoint.path("key").is_some() => {
            Err(Error::invalid_endpoint("`cert` and `key` go together: give both, or none"))
        }
        _ => Ok(()),
    }
}
