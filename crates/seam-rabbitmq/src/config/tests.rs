//! What is read from a URI, and what is refused.

use seam_core::Uri;

use super::*;

fn config(uri: &str) -> Result<Config> {
    let uri: Uri = uri.parse()?;
    let scheme = SCHEMES.iter().find(|scheme| scheme.name == uri.scheme()).unwrap();
    Config::new(&Endpoint::resolve(&uri, scheme)?)
}

#[track_caller]
fn check_refused(uri: &str, complaint: &str) {
    let error = config(uri).map(|config| config.address).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(complaint), "{text}");
    assert!(text.lines().count() == 1 && !error.is_retryable(), "{text}");
}

#[test]
fn a_plain_uri_is_a_quorum_queue_of_that_name() {
    let config = config("rabbitmq://h/orders").unwrap();
    assert_eq!(config.group, Group::Queue("orders".into()));
    assert_eq!((config.virtual_host.as_str(), config.exchange), ("/", None));
    assert!(config.declare && config.is_quorum && !config.keeps_order && !config.is_tls);
    assert_eq!((config.credit, config.credit_bytes, config.keep_alive), (4096, 1 << 20, 5));
    assert_eq!(config.limits.payload, 16 << 20);
    assert_eq!(config.limits.delay, Duration::from_secs(3600));
}

#[test]
fn what_is_given_counts() {
    let uri = "rabbitmq://h/orders?queue_type=classic&order=key&declare=no&credit=7&credit_bytes=2MiB&keep_alive=30s\
               &max_message=1KiB&reply_any";
    let config = config(uri).unwrap();
    assert!(!config.is_quorum && config.keeps_order && !config.declare && config.reply_any);
    assert_eq!((config.credit, config.credit_bytes, config.keep_alive), (7, 2 << 20, 30));
    assert_eq!(config.limits.payload, 1024);
}

#[test]
fn only_what_counts_attempts_up_to_a_limit_has_a_last_one() {
    let last = |more: &str| config(&format!("rabbitmq://h/orders?{more}")).unwrap().last_attempt();
    let retry = "retry=3&dead_letter=rabbitmq%3A%2F%2Fh%2Fparked";
    assert_eq!(last("queue_type=quorum"), None);
    assert_eq!(last(retry), Some(2));
    assert_eq!(last(&retry.replace("retry=3", "retry=1")), Some(0));
    for more in ["queue_type=classic", "order=key", "exchange=events&private"] {
        assert_eq!(last(&format!("{retry}&{more}")), None, "{more}");
    }
}

#[test]
fn a_group_is_a_queue_of_its_own() {
    let config = |more: &str| config(&format!("rabbitmq://h/orders?exchange=events{more}"));
    assert_eq!(config("").unwrap().group, Group::Queue("orders".into()));
    assert_eq!(config("&group=billing").unwrap().group, Group::Queue("orders.billing".into()));
    assert_eq!(config("&private").unwrap().group, Group::Private("orders.private".to_owned()));
    check_refused("rabbitmq://h/orders?exchange=events&private&group=billing", "private");
}

#[test]
fn without_an_exchange_a_queue_is_one_group() {
    for more in ["group=billing", "private"] {
        check_refused(&format!("rabbitmq://h/orders?{more}"), "name an `exchange`");
        let error = config(&format!("rabbitmq://h/orders?{more}")).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    }
}

#[test]
fn an_exchange_has_a_type_and_a_routing_key() {
    let config = |more: &str| config(&format!("rabbitmq://h/orders?exchange=events{more}"));
    for (more, kind) in [
        ("", lapin::ExchangeKind::Topic),
        ("&exchange_type=topic", lapin::ExchangeKind::Topic),
        ("&exchange_type=direct", lapin::ExchangeKind::Direct),
        ("&exchange_type=fanout", lapin::ExchangeKind::Fanout),
    ] {
        assert_eq!(config(more).unwrap().exchange, Some(("events".into(), kind)));
    }
    assert_eq!(config("&routing_key=kind").unwrap().routing_key, Some(Field::Kind));
    assert_eq!(config("&routing_key=key").unwrap().routing_key, Some(Field::Key));
    assert_eq!(config("").unwrap().routing_key, None);
    check_refused("rabbitmq://h/orders?exchange_type=topic", "`exchange_type` needs an `exchange`");
    check_refused("rabbitmq://h/orders?routing_key=key", "`routing_key` needs an `exchange`");
    check_refused(
        "rabbitmq://h/orders?exchange=e&exchange_type=headers",
        "topic, direct or fanout",
    );
    check_refused("rabbitmq://h/orders?exchange=e&routing_key=id", "kind or key");
}

#[test]
fn exchanges_that_every_broker_has_may_be_used_and_other_reserved_names_not() {
    for exchange in ["amq.topic", "amq.direct", "amq.fanout"] {
        config(&format!("rabbitmq://h/orders?exchange={exchange}")).unwrap();
    }
    check_refused("rabbitmq://h/orders?exchange=amq.mine", "`exchange` begins with `amq.`");
    check_refused("rabbitmq://h/amq.orders", "the address begins with `amq.`");
}

#[test]
fn names_leave_room_for_those_of_delays() {
    let name = |length| "x".repeat(length);
    config(&format!("rabbitmq://h/{}", name(239))).unwrap();
    check_refused(&format!("rabbitmq://h/{}", name(240)), "the address is longer than 239 bytes");
    // Bytes, and not characters.
    check_refused(&format!("rabbitmq://h/{}", "%C3%A4".repeat(120)), "longer than 239 bytes");
    check_refused(
        &format!("rabbitmq://h/orders?exchange={}", name(240)),
        "`exchange` is longer than 239 bytes",
    );
    check_refused(
        &format!("rabbitmq://h/{}?exchange=e&group={}", name(120), name(119)),
        "the queue of the group is longer than 239 bytes",
    );
}

#[test]
fn the_virtual_host_stands_where_each_form_has_it() {
    for (uri, expected) in [
        ("rabbitmq://h/orders", "/"),
        ("rabbitmq://h/orders?vhost=shop", "shop"),
        ("rabbitmq://h/orders?vhost=%2Fshop", "/shop"),
        ("amqp://h/shop?address=orders", "shop"),
        ("amqp://h/%2F?address=orders", "/"),
        ("amqp://h?address=orders", "/"),
        ("amqps://h/shop%2Feu?address=orders", "shop/eu"),
    ] {
        let config = config(uri).unwrap();
        assert_eq!((config.virtual_host.as_str(), config.address.as_str()), (expected, "orders"));
    }
    check_refused("amqp://h/orders", "address");
    check_refused("amqp://h/shop?address=orders&vhost=shop", "vhost");
    check_refused("rabbitmq://h/orders?address=orders", "address");
}

#[test]
fn heartbeats_are_whole_seconds() {
    for (value, seconds) in [("1s", 1), ("2m", 120), ("65535s", 65535)] {
        let config = config(&format!("rabbitmq://h/orders?keep_alive={value}")).unwrap();
        assert_eq!(config.keep_alive, seconds);
    }
    for value in ["0s", "500ms", "1500ms", "65536s"] {
        let uri = format!("rabbitmq://h/orders?keep_alive={value}");
        check_refused(&uri, "`keep_alive` must be whole seconds");
    }
}

#[test]
fn a_message_has_no_more_than_the_broker_takes() {
    assert_eq!(config("rabbitmq://h/orders?max_message=512MiB").unwrap().limits.payload, 512 << 20);
    check_refused("rabbitmq://h/orders?max_message=513MiB", "`max_message` is more than");
}

#[test]
fn what_is_for_tls_needs_it() {
    for scheme in ["rabbitmq+tls://h/orders?", "amqps://h/%2F?address=orders&"] {
        for more in ["ca=a", "server_name=b", "cert=c&key=k", "cert=c&key=k&sasl=external"] {
            assert!(config(&format!("{scheme}{more}")).unwrap().is_tls, "{scheme}{more}");
        }
        check_refused(&format!("{scheme}cert=c"), "`cert` and `key` need each other");
        check_refused(&format!("{scheme}key=k"), "`cert` and `key` need each other");
        check_refused(&format!("{scheme}sasl=external"), "give `cert` and `key`");
    }
    for name in ["ca", "cert", "key", "server_name"] {
        let native = format!("rabbitmq://h/orders?{name}=x");
        check_refused(&native, &format!("`{name}` needs TLS; write `rabbitmq+tls://`"));
        let amqp = format!("amqp://h/%2F?address=orders&{name}=x");
        check_refused(&amqp, &format!("`{name}` needs TLS; write `amqps://`"));
    }
    check_refused("rabbitmq://h/orders?sasl=external", "give `cert` and `key`, over TLS");
    check_refused("rabbitmq://h/orders?sasl=scram-sha-256", "plain or external");
}

#[test]
fn what_has_no_use_here_is_refused() {
    check_refused("rabbitmq://h/orders?role=dial", "has no use for parameter `role`");
    check_refused("rabbitmq://h/orders?from=earliest", "has no use for parameter `from`");
    check_refused("rabbitmq://h/orders?confirm=settled", "`confirm` must be stored");
    check_refused("rabbitmq://h/orders?queue_typ=classic", "queue_type");
    check_refused("rabbitmq://h/orders?order=id", "`order` must be key");
}

#[test]
fn no_secret_is_in_it() {
    let uri: Uri = "rabbitmq://seam:hunter2@h/orders".parse().unwrap();
    let endpoint = Endpoint::resolve(&uri, &SCHEMES[0]).unwrap();
    let config = Config::new(&endpoint).unwrap();
    assert!(!format!("{config:?}{endpoint}{endpoint:?}{uri}{uri:?}").contains("hunter2"));
}
