//! URIs as text: what is refused, what is shown, and that nothing is lost on the way.

use proptest::prelude::*;
use seam_core::{Error, Secret, Uri};

#[test]
fn each_part_is_told_apart() {
    let uri: Uri =
        "TCP://ann:p%40ss@h1:1,h2:2/a%2Fb?credit=5&private&group=a+b%20c".parse().unwrap();
    assert_eq!(uri.scheme(), "tcp");
    assert_eq!(uri.user(), Some("ann"));
    assert_eq!(uri.password(), Some(&Secret::from("p@ss")));
    assert_eq!(uri.authority(), "h1:1,h2:2");
    assert_eq!(uri.path(), Some("/a%2Fb"));
    let parameters: Vec<_> = uri.parameters().collect();
    assert_eq!(parameters, [("credit", "5"), ("private", "true"), ("group", "a+b c")]);
    let bare: Uri = "memory://orders".parse().unwrap();
    assert_eq!((bare.user(), bare.password(), bare.path()), (None, None, None));
}

#[test]
fn a_malformed_uri_is_refused_in_one_line() {
    check_refused("orders", "no scheme; begin with one, such as memory://orders");
    check_refused("", "no scheme; begin with one, such as memory://orders");
    let scheme = "what stands before `://` is no scheme; \
                  use a letter, then letters, digits, `+`, `-` or `.`";
    check_refused("://orders", scheme);
    check_refused("9p://orders", scheme);
    check_refused("tc_p://orders", scheme);
    check_refused("memory://a#b", "a fragment means nothing here; write `#` as %23");
    let character = "a space, a control character or one beyond ASCII; \
                     escape its UTF-8, a space as %20";
    check_refused("memory://a b", character);
    check_refused("memory://a\nb", character);
    check_refused("memory://größe", character);
    check_refused(
        "tcp://h:1/x?credit=1&group=a&credit=2",
        "parameter `credit` is given twice; leave one out",
    );
    let name = "a parameter without a proper name; \
                write `?name=value&name=value`, and `&` in a value as %26";
    check_refused("memory://a?", name);
    check_refused("memory://a?credit=1&&private", name);
    check_refused("memory://a?=1", name);
    check_refused("memory://a?cre%64it=1", name);
}

#[test]
fn a_broken_escape_is_refused_wherever_it_stands() {
    let digits = "has a `%` without two hexadecimal digits; write `%` itself as %25";
    check_refused("tcp://a%zz@h:1/x", &format!("the user {digits}"));
    check_refused("tcp://a:%4@h:1/x", &format!("the password {digits}"));
    check_refused("tcp://h%:1/x", &format!("the authority {digits}"));
    check_refused("tcp://h:1/100%", &format!("the path {digits}"));
    check_refused("tcp://h:1/x?group=%+1", &format!("parameter `group` {digits}"));
    check_refused(
        "tcp://h:1/x?group=%FF",
        "parameter `group` is not UTF-8 once its escapes are read; escape the bytes of UTF-8 text",
    );
}

#[test]
fn an_unescaped_password_is_refused_and_not_shown() {
    let at = "an `@` that does not end the user and password; \
              write it as %40, and in a password `/` as %2F and `?` as %3F";
    check_refused("tcp://ann:hunter@2@h:1/x", at);
    check_refused("tcp://ann:hunter/2@h:1/x", at);
    check_refused("tcp://ann:hunter?2@h:1/x", at);
    check_refused("tcp://ann:hunter?x=2@h:1/x", at);
    check_refused("tcp://ann:hunter#2@h:1/x", "a fragment means nothing here; write `#` as %23");
    check_refused("ann:hunter@h:1", "no scheme; begin with one, such as memory://orders");
}

#[test]
fn no_secret_is_shown_wherever_it_stands() {
    check_shown("tcp://ann:hunter2@h:1/x", "tcp://***@h:1/x");
    check_shown("tcp://:hunter2@h:1/x", "tcp://***@h:1/x");
    check_shown("sqs+http://hunter2@h:1/x", "sqs+http://***@h:1/x");
    check_shown("tcp://h:1/x?passwrod=hunter2&credit=5", "tcp://h:1/x?passwrod=***&credit=5");
    check_shown("tcp://h:1/x?hunter=hunter2&private", "tcp://h:1/x?hunter=***&private");
    check_shown(
        "tcp://h:1/x?dead_letter=tcp%3A%2F%2Fann%3Ahunter2%40h%3A1%2Fdead%3Fpin%3Dhunter2",
        "tcp://h:1/x?dead_letter=tcp://***%40h:1/dead%3Fpin%3D***",
    );
    check_shown("tcp://h:1/x?dead_letter=ann%3Ahunter2", "tcp://h:1/x?dead_letter=***");
    check_shown("tcp://h:1/x?reply=hunter2", "tcp://h:1/x?reply=***");
    check_shown("kafka://h:1/x?reply=a://b:hunter2%40c", "kafka://h:1/x?reply=a://***%40c");
}

#[test]
fn a_uri_in_a_uri_cannot_exhaust_the_stack() {
    let text = "a://b?dead_letter=".repeat(100_000) + "a://b";
    let shown = text.parse::<Uri>().unwrap().to_string();
    assert!(shown.ends_with("***") && shown.len() < 1000, "{shown}");
}

#[test]
fn a_function_takes_a_uri_in_any_form() {
    fn scheme<U: TryInto<Uri>>(uri: U) -> Result<String, Error>
    where
        Error: From<U::Error>,
    {
        Ok(uri.try_into()?.scheme().to_owned())
    }
    let text = "memory://orders".to_owned();
    let uri: Uri = text.parse().unwrap();
    assert_eq!(scheme("memory://orders").unwrap(), "memory");
    assert_eq!(scheme(&text).unwrap(), "memory");
    assert_eq!(scheme(text).unwrap(), "memory");
    assert_eq!(scheme(&uri).unwrap(), "memory");
    assert_eq!(scheme(uri).unwrap(), "memory");
}

#[test]
fn a_builder_escapes_what_it_is_given() {
    let uri = Uri::builder("tcp")
        .user("a:b")
        .password("p@/?#%")
        .host("::1", 7420)
        .host("fe80::1%eth0", 7420)
        .address("a/b c")
        .set("group", "x&y=z")
        .flag("private")
        .build()
        .unwrap();
    let text = "tcp://a%3Ab:p%40%2F%3F%23%25@[::1]:7420,[fe80::1%25eth0]:7420/a%2Fb%20c\
                ?group=x%26y%3Dz&private";
    assert_eq!(uri.expose(), text);
    assert_eq!(
        uri.to_string(),
        "tcp://***@[::1]:7420,[fe80::1%25eth0]:7420/a%2Fb%20c?group=x%26y%3Dz&private"
    );
    let file = Uri::builder("unix").path("/run/s 1.sock").set("address", "orders").build().unwrap();
    assert_eq!(file.expose(), "unix:///run/s%201.sock?address=orders");
}

#[test]
fn a_builder_refuses_what_would_become_another_uri() {
    let injected = "invalid endpoint: the scheme, a host or a parameter name holds a character \
                    that ends it, such as `/`, `?`, `=` or `&`";
    for builder in [
        Uri::builder("tcp").host("h/x", 1),
        Uri::builder("tcp").authority("ann:hunter2@h:1"),
        Uri::builder("tcp").host("h", 1).set("a=b", "c"),
        Uri::builder("tcp").host("h", 1).set("a&b", "c"),
        Uri::builder("tcp://h"),
    ] {
        assert!(!format!("{builder:?}").contains("hunter2"));
        assert_eq!(builder.build().unwrap_err().to_string(), injected);
    }
    let twice = Uri::builder("tcp").host("h", 1).flag("private").flag("private").build();
    assert_eq!(
        twice.unwrap_err().to_string(),
        "invalid endpoint: parameter `private` is given twice; leave one out"
    );
}

#[test]
fn configuration_is_a_text_or_a_map() {
    let text: Uri = serde_json::from_str(r#""tcp://ann:hunter2@127.0.0.1:7420/orders""#).unwrap();
    let map: Uri = serde_json::from_str(
        r#"{ "scheme": "tcp", "user": "ann", "password": "hunter2",
             "hosts": ["127.0.0.1:7420"], "path": "orders" }"#,
    )
    .unwrap();
    assert_eq!(map, text);
    let several: Uri = serde_json::from_str(
        r#"{ "scheme": "kafka", "hosts": ["b1:1", "b2:2"], "path": "o", "credit": 100, "private": true }"#,
    )
    .unwrap();
    assert_eq!(several.expose(), "kafka://b1:1,b2:2/o?credit=100&private");
    let one: Uri =
        serde_json::from_str(r#"{ "scheme": "sqs", "hosts": "eu-west-1", "path": "1/o" }"#)
            .unwrap();
    assert_eq!(one.expose(), "sqs://eu-west-1/1/o");
}

#[test]
fn configuration_that_is_written_back_keeps_its_password() {
    let uri: Uri = "tcp://ann:hunter2@h:1/x".parse().unwrap();
    let written = serde_json::to_string(&uri).unwrap();
    assert_eq!(written, r#""tcp://ann:hunter2@h:1/x""#);
    assert_eq!(serde_json::from_str::<Uri>(&written).unwrap(), uri);
}

#[test]
fn wrong_configuration_is_refused_without_showing_it() {
    check_configuration(r#"{ "path": "orders" }"#, "missing field `scheme`");
    check_configuration(r#"{ "scheme": "tcp", "password": ["hunter2"] }"#, "expected a text");
    check_configuration(r#"{ "scheme": "tcp", "hosts": { "a": "hunter2" } }"#, "Hosts");
    check_configuration(
        r#"{ "scheme": "tcp", "path": "a", "path": "b" }"#,
        "duplicate field `path`",
    );
    check_configuration(r#""ann:hunter2@h""#, "invalid endpoint: no scheme");
    check_configuration(
        r#"{ "scheme": "tcp", "hosts": ["h:1"], "credit": 1, "credit": 2 }"#,
        "parameter `credit` is given twice",
    );
}

proptest! {
    #[test]
    fn a_uri_survives_its_text(
        scheme in "[a-z][a-z0-9+.-]{0,8}",
        user in ".{0,8}",
        password in proptest::option::of(".{0,8}"),
        port in any::<u16>(),
        address in ".{0,12}",
        values in proptest::collection::btree_map("[a-zA-Z0-9_.-]{1,8}", ".{0,12}", 0..5),
    ) {
        let mut builder = Uri::builder(&scheme).user(&user).host("::1", port).address(&address);
        if let Some(password) = &password {
            builder = builder.password(password.as_str());
        }
        for (name, value) in &values {
            builder = builder.set(name, value);
        }
        let uri = builder.build().unwrap();
        prop_assert_eq!(uri.user().unwrap_or_default(), user);
        prop_assert_eq!(uri.password().map(Secret::expose), password.as_deref());
        for (name, value) in &values {
            prop_assert_eq!(uri.parameter(name), Some(value.as_str()));
        }
        prop_assert_eq!(&uri.expose().parse::<Uri>().unwrap(), &uri);
        let written = serde_json::to_string(&uri).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Uri>(&written).unwrap(), &uri);
    }

    #[test]
    fn whatever_parses_is_shown_without_its_secrets(
        text in "[a-z]{1,3}://([a-z]{0,3}:SECRET@)?[a-z0-9:,.]{0,8}(/[a-z%2F]{0,4})?(\\?(pin|dead_letter|reply)=[a-z:/%]{0,3}SECRET)?",
    ) {
        match text.parse::<Uri>() {
            Ok(uri) => {
                prop_assert_eq!(&uri.expose().parse::<Uri>().unwrap(), &uri);
                let shown = format!("{uri} {uri:?}");
                // What looks like a host of a nested URI is no secret.
                let nested = uri.parameters().any(|(_, value)| value.contains("://"));
                prop_assert!(nested || !shown.contains("SECRET"), "{}", shown);
            }
            Err(error) => {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains("SECRET"), "{}", shown);
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        check_total(&text);
    }

    #[test]
    fn no_text_that_is_nearly_a_uri_makes_the_parser_panic(
        text in "[a-z%:@/?&=,\\[\\]#+]{0,6}://[a-z0-9%:@/?&=,\\[\\]#+]{0,40}",
    ) {
        check_total(&text);
    }
}

fn check_total(text: &str) {
    if let Ok(uri) = text.parse::<Uri>() {
        assert_eq!(uri.expose().parse::<Uri>().unwrap(), uri);
        assert!(!uri.to_string().is_empty());
    }
}

#[track_caller]
fn check_refused(text: &str, reason: &str) {
    let error = text.parse::<Uri>().unwrap_err();
    assert_eq!(error.to_string(), format!("invalid endpoint: {reason}"), "{text}");
}

#[track_caller]
fn check_shown(text: &str, shown: &str) {
    let uri: Uri = text.parse().unwrap();
    assert_eq!(uri.to_string(), shown);
    assert_eq!(format!("{uri:?}"), format!("Uri({shown})"));
}

#[track_caller]
fn check_configuration(json: &str, complaint: &str) {
    let error = serde_json::from_str::<Uri>(json).unwrap_err().to_string();
    assert!(error.contains(complaint), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
