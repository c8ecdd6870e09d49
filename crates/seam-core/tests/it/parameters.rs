//! The parameters common to all: complete, with defaults that hold, and the same by every way.

use proptest::prelude::*;
use seam_core::{Capability, Endpoint, Kind, Parameter, Scheme, Shape, Uri, parameters};

#[test]
fn the_list_is_complete() {
    let names: Vec<&str> = parameters::ALL.iter().map(|parameter| parameter.name).collect();
    let wanted = "group private from declare role wire confirm lost credit credit_bytes \
                  send_timeout connect_timeout retry dead_letter reply token_file insecure ca \
                  client_ca cert key server_name password_file password_env address overflow \
                  session_expiry reply_any keep_alive sasl max_message";
    assert_eq!(names, wanted.split_whitespace().collect::<Vec<_>>());
    assert_eq!(parameters::RESERVED, ["journal", "retry_order"]);
    for parameter in parameters::ALL {
        assert!(!parameter.about.is_empty() && !parameter.about.contains('\n'), "{parameter:?}");
    }
}

#[test]
fn every_default_is_what_the_documents_promise() {
    let endpoint = resolve("every://h:1/x");
    assert_eq!(endpoint.text("declare"), Some("missing"));
    assert_eq!(endpoint.text("wire"), Some("session"));
    assert_eq!(endpoint.text("lost"), Some("redeliver"));
    assert_eq!(endpoint.text("overflow"), Some("wait"));
    assert_eq!(endpoint.count("credit"), Some(4096));
    assert_eq!(endpoint.bytes("credit_bytes"), Some(1 << 20));
    assert_eq!(endpoint.duration("send_timeout").unwrap().as_secs(), 30);
    assert_eq!(endpoint.duration("connect_timeout").unwrap().as_secs(), 10);
    assert_eq!(endpoint.duration("session_expiry").unwrap().as_secs(), 300);
    let defaults = parameters::ALL.iter().filter(|parameter| parameter.default.is_some());
    assert_eq!(defaults.count(), 9);
}

#[test]
fn what_needs_a_capability_says_so() {
    let needs = |wanted: Capability| -> Vec<&str> {
        let those = parameters::ALL.iter().filter(|parameter| parameter.requires == Some(wanted));
        those.map(|parameter| parameter.name).collect()
    };
    assert_eq!(needs(Capability::Groups), ["group", "overflow"]);
    assert_eq!(needs(Capability::Private), ["private"]);
    assert_eq!(needs(Capability::Replay), ["from"]);
    assert_eq!(needs(Capability::Redelivery), ["retry", "dead_letter"]);
    assert_eq!(needs(Capability::Reply), ["reply", "reply_any"]);
}

proptest! {
    #[test]
    fn builder_configuration_and_text_set_the_same(values in any_values()) {
        let mut builder = Uri::builder("every").host("h", 1).address("x");
        let mut map = serde_json::json!({ "scheme": "every", "hosts": ["h:1"], "path": "x" });
        let mut text = "every://h:1/x".to_owned();
        for (index, (parameter, value)) in values.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            if matches!(parameter.kind, Kind::Flag) {
                builder = builder.flag(parameter.name);
                map[parameter.name] = true.into();
                text.push_str(&format!("{separator}{}", parameter.name));
            } else {
                builder = builder.set(parameter.name, value);
                // A text such as `007` is no number, and would not come back as one.
                let number = value.parse::<u64>().ok().filter(|n| n.to_string() == *value);
                let number = number.map(Into::into);
                map[parameter.name] = number.unwrap_or_else(|| value.as_str().into());
                text.push_str(&format!("{separator}{}={}", parameter.name, escape(value)));
            }
        }
        let built = Endpoint::resolve(&builder.build().unwrap(), &EVERY).unwrap();
        let configured = Endpoint::resolve(&serde_json::from_value(map).unwrap(), &EVERY).unwrap();
        let parsed = Endpoint::resolve(&text.parse().unwrap(), &EVERY).unwrap();
        for parameter in parameters::ALL {
            let wanted = values.iter().find(|(given, _)| given.name == parameter.name);
            let wanted = wanted.map(|(_, value)| value.as_str()).or(plain_default(parameter));
            for endpoint in [&built, &configured, &parsed] {
                check_setting(endpoint, parameter, wanted);
            }
        }
    }
}

/// Any of the common parameters, each with a value of its kind in the shortest text.
fn any_values() -> impl Strategy<Value = Vec<(&'static Parameter, String)>> {
    let each: Vec<_> = parameters::ALL
        .iter()
        .map(|parameter| proptest::option::of(any_value(parameter)))
        .collect();
    each.prop_map(|values| {
        let given = parameters::ALL.iter().zip(values);
        let mut given: Vec<_> = given.filter_map(|(p, value)| Some((p, value?))).collect();
        // These exclude another that may be among them.
        let has = |given: &[(&Parameter, String)], name| given.iter().any(|(p, _)| p.name == name);
        for (one, other) in [("private", "group"), ("password_env", "password_file")] {
            if has(&given, one) {
                given.retain(|(parameter, _)| parameter.name != other);
            }
        }
        given
    })
}

fn any_value(parameter: &'static Parameter) -> BoxedStrategy<String> {
    match parameter.kind {
        Kind::Flag => Just("true".to_owned()).boxed(),
        Kind::Count { min } => (min..100_000).prop_map(|count| count.to_string()).boxed(),
        Kind::Bytes => (1..1_000_000_usize).prop_map(|bytes| bytes.to_string()).boxed(),
        Kind::Duration => (0..1_000_000_u64).prop_map(|millis| format!("{millis}ms")).boxed(),
        Kind::Choice(words) => proptest::sample::select(words).prop_map(str::to_owned).boxed(),
        Kind::Start => {
            proptest::sample::select(&["earliest", "latest", "2026-01-31T12:00:00Z"][..])
                .prop_map(str::to_owned)
                .boxed()
        }
        Kind::Uri => {
            "[a-z]{1,5}".prop_map(|name| format!("memory://{name}?credit=1&private")).boxed()
        }
        // Texts that a parser could take for a number or a flag are as good as any.
        _ => ".{1,12}".boxed(),
    }
}

#[track_caller]
fn check_setting(endpoint: &Endpoint, parameter: &Parameter, wanted: Option<&str>) {
    let name = parameter.name;
    let found = match parameter.kind {
        Kind::Flag => endpoint.flag(name).then(|| "true".to_owned()),
        Kind::Count { .. } => endpoint.count(name).map(|count| count.to_string()),
        Kind::Bytes => endpoint.bytes(name).map(|bytes| bytes.to_string()),
        Kind::Duration => endpoint.duration(name).map(|time| format!("{}ms", time.as_millis())),
        Kind::Start => endpoint.start(name).map(|start| start.to_string()),
        Kind::Uri => endpoint.other(name).map(Uri::expose),
        Kind::Path => endpoint.path(name).map(|path| path.to_str().unwrap().to_owned()),
        _ => endpoint.text(name).map(str::to_owned),
    };
    assert_eq!(found.as_deref(), wanted, "{name} of {endpoint:?}");
}

/// The default in the unit that values are generated in.
fn plain_default(parameter: &Parameter) -> Option<&'static str> {
    match parameter.default? {
        "1MiB" => Some("1048576"),
        "30s" => Some("30000ms"),
        "10s" => Some("10000ms"),
        "5m" => Some("300000ms"),
        other => Some(other),
    }
}

fn escape(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn resolve(text: &str) -> Endpoint {
    Endpoint::resolve(&text.parse().unwrap(), &EVERY).unwrap()
}

static EVERY: Scheme = Scheme::new("every", Shape::Hosts, parameters::ALL);
