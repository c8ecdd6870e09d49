//! Endpoints: each shape of a URI, each thing that is refused with its line, and no secret shown.

use proptest::prelude::*;
use seam_core::{
    Capabilities, Capability, Endpoint, Error, Kind, Parameter, Scheme, Shape, Support, Uri,
    parameters,
};

#[test]
fn hosts_are_read_with_names_ipv4_ipv6_and_default_ports() {
    let endpoint = resolve("nsq://b1,127.0.0.1:9,[::1]:7420,[fe80::1%25eth0]/a%2Fb");
    let hosts: Vec<_> = endpoint.hosts().iter().map(|host| (&*host.name, host.port)).collect();
    assert_eq!(hosts, [("b1", 4150), ("127.0.0.1", 9), ("::1", 7420), ("fe80::1%eth0", 4150)]);
    let shown: Vec<_> = endpoint.hosts().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["b1:4150", "127.0.0.1:9", "[::1]:7420", "[fe80::1%25eth0]:4150"]);
    assert_eq!(endpoint.address(), "a/b");
    assert_eq!(endpoint.scheme(), "nsq");
}

#[test]
fn a_wrong_host_or_port_is_refused() {
    let missing = "a host is missing; write tcp://host:port/address";
    check_refused("tcp:///orders", missing);
    check_refused("tcp://:7420/orders", missing);
    check_refused("tcp://h:1,/orders", missing);
    check_refused(
        "tcp://orders",
        "host `orders` has no port, and `tcp` no default; write tcp://host:port/address",
    );
    for port in ["", "65536", "-1", "+1", "http", "99999999999999999999"] {
        let port = format!("tcp://127.0.0.1:{port}/orders");
        check_refused(&port, "the port of host `127.0.0.1` is no number from 0 to 65535");
    }
    check_refused("tcp://[::1]:x/o", "the port of host `::1` is no number from 0 to 65535");
    let several = "a host has several `:`; an IPv6 address stands in brackets, as [::1]:7420";
    check_refused("tcp://::1:7420/orders", several);
    let brackets = "what `[` begins is no IPv6 address; write it as [::1]:7420";
    for host in ["[::1", "[::g]:1", "[1.2.3.4]:1", "[::1]7420", "[fe80::1%25]:1", "[]:1"] {
        check_refused(&format!("tcp://{host}/orders"), brackets);
    }
    let character =
        "a host holds a character that no host name has; use letters, digits, `-`, `.` and `_`";
    check_refused("tcp://a*b:1/orders", character);
    check_refused("tcp://a%20b:1/orders", character);
}

#[test]
fn an_empty_address_is_refused_in_every_shape() {
    check_refused("tcp://h:1", "the address is empty; write tcp://host:port/address");
    check_refused("tcp://h:1/", "the address is empty; write tcp://host:port/address");
    check_refused("nsq://h/?group=a", "the address is empty; write nsq://host[:port]/address");
    check_refused("memory://", "the address is empty; write memory://address");
    check_refused("memory:///", "the address is empty; write memory://address");
    check_refused("unix:///s", "the address is empty; write unix:///path?address=name");
    check_refused("unix:///s?address=", "`address` is empty; give it a value, or leave it out");
    check_refused("sqs://eu-west-1/", "the address is empty; write sqs://region/[account/]address");
    check_refused(
        "sqs://eu-west-1/1/",
        "the address is empty; write sqs://region/[account/]address",
    );
    check_refused("amqp://h?address=", "`address` is empty; give it a value, or leave it out");
    check_refused(
        "memory://a%0Ab",
        "the address holds a control character; use letters, digits and punctuation",
    );
}

#[test]
fn only_the_plain_wire_goes_without_an_address() {
    assert_eq!(resolve("tcp://h:1?wire=connect").address(), "");
    check_refused("tcp://h:1?wire=any", "the address is empty; write tcp://host:port/address");
}

#[test]
fn a_host_has_one_segment_below_it() {
    let reason =
        "the address is one segment, its `/` written as %2F; write tcp://host:port/address";
    check_refused("tcp://h:1/a/b", reason);
    check_refused("tcp://h:1/a/", reason);
}

#[test]
fn memory_takes_the_whole_rest_as_address() {
    assert_eq!(resolve("memory://orders").address(), "orders");
    assert_eq!(resolve("memory://a:1/b/c%20d").address(), "a:1/b/c d");
    let endpoint = resolve("memory:///orders?credit=1");
    assert_eq!(endpoint.address(), "orders");
    assert_eq!(endpoint.to_string(), "memory://orders?credit=1");
    assert_eq!(resolve("memory:////orders").address(), "/orders");
    check_refused(
        "memory://ann:hunter2@orders",
        "`memory` takes no user and no password; write memory://address",
    );
}

#[test]
fn unix_takes_a_path_and_its_address_as_parameter() {
    let endpoint = resolve("unix:///run/s%201.sock?address=orders");
    assert_eq!(endpoint.file().unwrap().to_str(), Some("/run/s 1.sock"));
    assert_eq!(endpoint.address(), "orders");
    assert!(endpoint.hosts().is_empty());
    let absolute = "`unix` needs an absolute path; write unix:///path?address=name";
    check_refused("unix://run/s.sock?address=orders", absolute);
    check_refused("unix:///?address=orders", absolute);
    check_refused("unix://?address=orders", absolute);
}

#[test]
fn sqs_takes_a_region_or_the_host_of_an_emulator() {
    let endpoint = resolve("sqs://eu-west-1/123/orders.fifo");
    assert_eq!(endpoint.region(), Some("eu-west-1"));
    assert_eq!(endpoint.account(), Some("123"));
    assert_eq!(endpoint.address(), "orders.fifo");
    let emulator = resolve("sqs://localhost:4566/orders");
    assert_eq!((emulator.region(), emulator.account()), (None, None));
    assert_eq!(emulator.hosts()[0].to_string(), "localhost:4566");
    let region = "`sqs` needs a region, or host:port; write sqs://region/[account/]address";
    check_refused("sqs:///orders", region);
    check_refused("sqs://sqs.eu-west-1.amazonaws.com/orders", region);
    let path = "the path is an address, or an account and an address; \
                write sqs://region/[account/]address";
    check_refused("sqs://eu-west-1/1/2/orders", path);
    check_refused("sqs://eu-west-1//orders", path);
}

#[test]
fn the_path_of_amqp_is_a_virtual_host() {
    let endpoint = resolve("amqp://ann@h/sales?address=orders");
    assert_eq!(endpoint.virtual_host(), Some("sales"));
    assert_eq!(endpoint.address(), "orders");
    assert_eq!(endpoint.user(), Some("ann"));
    assert_eq!(resolve("amqp://h?address=orders").virtual_host(), Some("/"));
    assert_eq!(resolve("amqp://h/?address=orders").virtual_host(), Some(""));
    assert_eq!(resolve("amqp://h/%2F?address=orders").virtual_host(), Some("/"));
    check_refused(
        "amqp://h/orders",
        "the path of `amqp` is a virtual host, and there is no address; write \
         amqp://host/vhost?address=orders or rabbitmq://host/orders?vhost=..",
    );
    check_refused(
        "amqps://h/orders",
        "the path of `amqps` is a virtual host, and there is no address; write \
         amqps://host/vhost?address=orders or rabbitmq+tls://host/orders?vhost=..",
    );
}

#[test]
fn settings_of_a_native_client_pass_and_never_show_their_values() {
    static LOG: Scheme = Scheme::new("log", Shape::Hosts, &[]).with_native("liblog.");
    let uri: Uri = "log://h:1/x?liblog.fetch=9&liblog.secret=hunter2".parse().unwrap();
    let endpoint = Endpoint::resolve(&uri, &LOG).unwrap();
    let native: Vec<_> = endpoint.native().collect();
    assert_eq!(native, [("fetch", "9"), ("secret", "hunter2")]);
    assert_eq!(endpoint.to_string(), "log://h:1/x?liblog.fetch=***&liblog.secret=***");
    for unknown in ["liblog.", "liblog", "fetch"] {
        let uri: Uri = format!("log://h:1/x?{unknown}=9").parse().unwrap();
        Endpoint::resolve(&uri, &LOG).unwrap_err();
    }
}

#[test]
fn an_unknown_parameter_names_the_nearest_or_all() {
    check_refused(
        "tcp://h:1/x?crdit=1",
        "unknown parameter `crdit` for `tcp`; did you mean `credit`?",
    );
    check_refused(
        "tcp://h:1/x?sendtimeout=1s",
        "unknown parameter `sendtimeout` for `tcp`; did you mean `send_timeout`?",
    );
    check_refused(
        "tcp://h:1/x?Group=1",
        "unknown parameter `Group` for `tcp`; did you mean `group`?",
    );
    check_refused(
        "nsq://h/x?compression=on",
        "unknown parameter `compression` for `nsq`; it takes group, credit",
    );
    check_refused("bare://x?zeal=1", "unknown parameter `zeal` for `bare`; it takes none");
    check_refused(
        "amqp://h/x?adress=1",
        "unknown parameter `adress` for `amqp`; did you mean `address`?",
    );
}

#[test]
fn a_common_parameter_without_use_and_a_reserved_one_are_refused() {
    check_refused("nsq://h/x?role=dial", "`nsq` has no use for parameter `role`; leave it out");
    check_refused(
        "tcp://h:1/x?journal=a",
        "parameter `journal` is reserved for a later version; leave it out",
    );
    check_refused(
        "tcp://h:1/x?retry_order=hold",
        "parameter `retry_order` is reserved for a later version; leave it out",
    );
}

#[test]
fn wrong_units_and_words_are_refused_with_the_right_ones() {
    check_refused(
        "tcp://h:1/x?send_timeout=30",
        "`send_timeout` must be a whole number with ms, s, m, h or d, such as 30s",
    );
    check_refused(
        "tcp://h:1/x?credit_bytes=64KB",
        "`credit_bytes` must be a whole number with B, KiB, MiB or GiB, such as 64KiB",
    );
    check_refused("tcp://h:1/x?credit=0", "`credit` must be a whole number of at least 1");
    check_refused("tcp://h:1/x?wire=conect", "`wire` must be session, connect or any");
    check_refused("tcp://h:1/x?private=1", "`private` is a flag; write `private`, or leave it out");
    check_refused(
        "tcp://h:1/x?group=a&private",
        "`group` and `private` exclude each other; keep one",
    );
    check_refused(
        "tcp://ann:hunter2@h:1/x?password_env=A",
        "`password_env` and the password before the host exclude each other; keep one",
    );
    check_refused(
        "tcp://h:1/x?dead_letter=hunter2",
        "`dead_letter` is not a URI: no scheme; begin with one, such as memory://orders",
    );
}

#[test]
fn a_parameter_of_a_missing_capability_is_unsupported() {
    let endpoint = resolve("tcp://ann:hunter2@h:1/x?group=billing&credit=5");
    let error = endpoint.check_capabilities(&Capabilities::none()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tcp://***@h:1/x?group=billing&credit=5 does not support Groups; \
         `group` needs it: give each service an address of its own"
    );
    assert!(matches!(error, Error::Unsupported { capability: Capability::Groups, .. }));
    for support in [Support::Native, Support::Emulated, Support::AtOpen] {
        let capabilities = Capabilities::none().with(Capability::Groups, support);
        endpoint.check_capabilities(&capabilities).unwrap();
    }
    // A default is no wish: only what is given can be refused.
    resolve("tcp://h:1/x").check_capabilities(&Capabilities::none()).unwrap();
}

#[test]
fn another_address_keeps_everything_else() {
    for (text, derived) in [
        ("tcp://ann:pw@h:1,[::1]:2/x?credit=5", "tcp://ann:pw@h:1,[::1]:2/a%2Fb?credit=5"),
        ("memory://x/y?credit=5", "memory://a/b?credit=5"),
        ("unix:///run/s.sock?address=x&credit=5", "unix:///run/s.sock?address=a/b&credit=5"),
        ("sqs://eu-west-1/1/x", "sqs://eu-west-1/1/a%2Fb"),
        ("sqs://eu-west-1/x", "sqs://eu-west-1/a%2Fb"),
        ("amqp://h/v?address=x", "amqp://h/v?address=a/b"),
    ] {
        let endpoint = resolve(text).with_address("a/b").unwrap();
        assert_eq!(endpoint.address(), "a/b");
        assert_eq!(endpoint.uri().expose(), derived);
        assert!(endpoint.with_address("").is_err());
    }
}

#[test]
fn a_password_is_found_wherever_it_was_put() {
    let path = std::env::temp_dir().join(format!("seam-password-{}", std::process::id()));
    std::fs::write(&path, "hunter2\r\n").unwrap();
    let file = Uri::builder("tcp").host("h", 1).address("x");
    let file = file.set("password_file", path.display()).build().unwrap();
    let file = Endpoint::resolve(&file, scheme("tcp")).unwrap();
    assert_eq!(file.load_password().unwrap().unwrap().expose(), "hunter2");
    std::fs::remove_file(&path).unwrap();
    let error = file.load_password().unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    let line =
        "a readable file that `password_file` names does not exist; put the password there (";
    assert!(error.to_string().starts_with(line), "{error}");

    let given = resolve("tcp://ann:hunter2@h:1/x");
    assert_eq!(given.load_password().unwrap().unwrap().expose(), "hunter2");
    assert!(resolve("tcp://h:1/x").load_password().unwrap().is_none());
    assert!(resolve("tcp://h:1/x?password_env=PATH").load_password().unwrap().is_some());
    let error = resolve("tcp://h:1/x?password_env=SEAM_NOT_SET").load_password().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the variable that `password_env` names does not exist; set it to the password"
    );
}

#[test]
fn an_endpoint_shows_its_own_parameters_but_no_secret() {
    let endpoint = resolve(
        "tcp://ann:hunter2@h:1/x?pin=hunter2&tag=hello&dead_letter=tcp://a:hunter2%40h:1/x%3Fpin=1",
    );
    let shown = "tcp://***@h:1/x?pin=***&tag=hello&dead_letter=tcp://***%40h:1/x%3Fpin%3D***";
    assert_eq!(endpoint.to_string(), shown);
    assert_eq!(format!("{endpoint:?}"), format!("Endpoint({shown})"));
    assert_eq!(endpoint.text("pin"), Some("hunter2"));
    assert_eq!(endpoint.other("dead_letter").unwrap().password().unwrap().expose(), "hunter2");
}

#[test]
fn no_error_shows_a_value() {
    for parameter in parameters::ALL {
        let text = format!("every://h:1/x?{}=%0A", parameter.name);
        let hidden = text.replace("%0A", "hunter2");
        for text in [text, hidden] {
            let uri: Uri = text.parse().unwrap();
            if let Err(error) = Endpoint::resolve(&uri, &EVERY) {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("hunter2") && !error.to_string().contains('\n'), "{shown}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "scheme `tcp` declares no parameter `brightness`")]
fn asking_for_an_undeclared_parameter_is_a_bug() {
    let _ = resolve("tcp://h:1/x").count("brightness");
}

#[test]
#[should_panic(expected = "parameter `credit` is declared as number from 1")]
fn asking_for_another_kind_is_a_bug() {
    let _ = resolve("tcp://h:1/x").bytes("credit");
}

#[test]
fn another_scheme_is_refused() {
    let uri: Uri = "udp://h:1/x".parse().unwrap();
    assert_eq!(
        Endpoint::resolve(&uri, scheme("tcp")).unwrap_err().to_string(),
        "invalid endpoint: the scheme is `udp`, not `tcp`"
    );
}

proptest! {
    #[test]
    fn nothing_that_parses_makes_resolving_panic(
        index in 0..SCHEMES.len(),
        rest in "[a-z0-9%:@/\\[\\],.]{0,20}(\\?(address|credit|group|from)=[a-z0-9%:/]{0,8})?",
    ) {
        let text = format!("{}://{rest}", SCHEMES[index].name);
        let resolved = text.parse().and_then(|uri| Endpoint::resolve(&uri, &SCHEMES[index]));
        if let Ok(endpoint) = resolved {
            let again = Endpoint::resolve(endpoint.uri(), &SCHEMES[index]).unwrap();
            prop_assert_eq!(again.uri(), endpoint.uri());
            prop_assert_eq!(again.address(), endpoint.address());
        }
    }

    #[test]
    fn every_address_comes_back_from_every_shape(address in "[^\\pC]{1,12}") {
        for text in ["tcp://h:1/x", "memory://x", "unix:///s?address=x", "sqs://r/1/x", "amqp://h?address=x"] {
            let endpoint = resolve(text).with_address(&address).unwrap();
            prop_assert_eq!(endpoint.address(), &address);
            let again = endpoint.uri().expose().parse::<Uri>().unwrap();
            let again = Endpoint::resolve(&again, scheme(endpoint.scheme())).unwrap();
            prop_assert_eq!(again.address(), &address);
        }
    }
}

fn scheme(name: &str) -> &'static Scheme {
    SCHEMES.iter().find(|scheme| scheme.name == name).unwrap()
}

#[track_caller]
fn resolve(text: &str) -> Endpoint {
    let uri: Uri = text.parse().unwrap();
    Endpoint::resolve(&uri, scheme(uri.scheme())).unwrap()
}

#[track_caller]
fn check_refused(text: &str, reason: &str) {
    let uri: Uri = text.parse().unwrap();
    let error = Endpoint::resolve(&uri, scheme(uri.scheme())).unwrap_err();
    assert_eq!(error.to_string(), format!("invalid endpoint: {reason}"), "{text}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

static EVERY: Scheme = Scheme::new("every", Shape::Hosts, parameters::ALL);

static SCHEMES: [Scheme; 8] = [
    Scheme::new("tcp", Shape::Hosts, TCP).with_optional_address("wire", "connect"),
    Scheme::new("nsq", Shape::Hosts, FEW).with_default_port(4150),
    Scheme::new("memory", Shape::Address, FEW),
    Scheme::new("bare", Shape::Address, &[]),
    Scheme::new("unix", Shape::File, BY_PARAMETER),
    Scheme::new("sqs", Shape::Scope, FEW),
    Scheme::new("amqp", Shape::Vhost, BY_PARAMETER).with_default_port(5672),
    Scheme::new("amqps", Shape::Vhost, BY_PARAMETER).with_default_port(5671),
];

const FEW: &[Parameter] = &[parameters::GROUP, parameters::CREDIT];
const BY_PARAMETER: &[Parameter] = &[parameters::ADDRESS, parameters::CREDIT];
const TCP: &[Parameter] = &[
    parameters::GROUP,
    parameters::PRIVATE,
    parameters::CREDIT,
    parameters::CREDIT_BYTES,
    parameters::SEND_TIMEOUT,
    parameters::WIRE,
    parameters::OVERFLOW,
    parameters::DEAD_LETTER,
    parameters::PASSWORD_ENV,
    parameters::PASSWORD_FILE,
    Parameter::new("pin", Kind::Text).with_secret(),
    Parameter::new("tag", Kind::Text),
];
