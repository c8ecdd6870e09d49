//! What users of the real broker may do, told to it in Kafka's own protocol: `rdkafka` has no words for it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::stage::variable;

/// What a right is about.
#[derive(Clone, Copy)]
pub(crate) enum On<'a> {
    Topic(&'a str),
    Group(&'a str),
}

/// What may be done.
#[derive(Clone, Copy)]
pub(crate) enum May {
    Read,
    Write,
    Create,
    Delete,
    Describe,
}

impl May {
    fn number(self) -> u8 {
        match self {
            Self::Read => 3,
            Self::Write => 4,
            Self::Create => 5,
            Self::Delete => 6,
            Self::Describe => 8,
        }
    }
}

/// Lets `user` do this, and waits until the broker knows.
pub(crate) fn allow(user: &str, right: May, on: On<'_>) {
    let mut body = 1_i32.to_be_bytes().to_vec();
    resource(&mut body, on);
    rule(&mut body, user, right);
    // Behind the time for which it was throttled come how many results there are, and the code of the first.
    assert_eq!(ask(CREATE, &body)[8..10], [0, 0], "the broker refuses the right");
    until(user, right, on, true);
}

/// Takes this from `user` again, and waits until the broker knows.
pub(crate) fn forbid(user: &str, right: May, on: On<'_>) {
    let mut body = 1_i32.to_be_bytes().to_vec();
    resource(&mut body, on);
    rule(&mut body, user, right);
    assert_eq!(ask(DELETE, &body)[8..10], [0, 0], "the broker keeps the right");
    until(user, right, on, false);
}

/// A right is stored by the controller, and known to the broker a little later.
fn until(user: &str, right: May, on: On<'_>, known: bool) {
    let mut body = Vec::new();
    resource(&mut body, on);
    rule(&mut body, user, right);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask(DESCRIBE, &body);
        assert_eq!(answer[4..6], [0, 0], "the broker does not tell its rights");
        // Behind the code comes no message, then how many resources there are.
        if (answer[8..12] != [0; 4]) == known {
            return;
        }
        assert!(Instant::now() < deadline, "the broker does not learn of the right");
        std::thread::yield_now();
    }
}

/// Requests of the protocol, in their version 1.
const DESCRIBE: i16 = 29;
const CREATE: i16 = 30;
const DELETE: i16 = 31;

fn ask(request: i16, body: &[u8]) -> Vec<u8> {
    let mut message = request.to_be_bytes().to_vec();
    message.extend(1_i16.to_be_bytes());
    message.extend(7_i32.to_be_bytes());
    text(&mut message, "rights");
    message.extend(body);
    let mut broker = TcpStream::connect(variable("SEAM_TEST_KAFKA_URL")).unwrap();
    broker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    broker.write_all(&u32::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
    broker.write_all(&message).unwrap();
    let mut size = [0; 4];
    broker.read_exact(&mut size).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
    broker.read_exact(&mut answer).unwrap();
    answer.split_off(4)
}

/// Of exactly this name, which is `LITERAL`, 3.
fn resource(body: &mut Vec<u8>, on: On<'_>) {
    let (kind, name) = match on {
        On::Topic(name) => (2, name),
        On::Group(name) => (3, name),
    };
    body.push(kind);
    text(body, name);
    body.push(3);
}

/// This user, from any host, is allowed it, which is 3.
fn rule(body: &mut Vec<u8>, user: &str, right: May) {
    text(body, &format!("User:{user}"));
    text(body, "*");
    body.extend([right.number(), 3]);
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend(text.as_bytes());
}
