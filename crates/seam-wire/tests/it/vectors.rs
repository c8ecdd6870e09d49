//! The test vectors of `docs/vectors/`, both ways.

use std::time::Duration;

use seam_core::{Datagram, json};
use seam_wire::{
    Ack, EnvelopeLimits, Fault, Frame, Group, Header, Hello, Offers, Open, Ping, Pong, Progress,
    Proof, Prove, Receiving, Reject, Released, ResumeProof, ResumeToken, Role, Welcome, Window,
    WireError, header, plain,
};
use serde_json::Value;

use super::peer::{Got, on_bytes, parcel};

fn read(name: &str) -> Value {
    let path = format!("{}/../../docs/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name}");
    list
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn length(value: &Value, name: &str) -> usize {
    usize::try_from(number(value, name)).unwrap()
}

fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn millis(value: &Value, name: &str) -> Duration {
    Duration::from_millis(number(value, name))
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.is_ascii() && text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn bytes<const N: usize>(value: &Value, name: &str) -> [u8; N] {
    unhex(text(value, name)).try_into().unwrap()
}

fn optional<const N: usize>(value: &Value, name: &str) -> Option<[u8; N]> {
    (!value[name].is_null()).then(|| bytes(value, name))
}

fn frame_of(value: &Value) -> Frame {
    match text(value, "type") {
        "OPEN" => Frame::Open(Box::new(open_of(value))),
        "PROVE" => Frame::Prove(Prove { proof: bytes(value, "proof") }),
        "HELLO" => Frame::Hello(hello_of(value)),
        "WELCOME" => Frame::Welcome(Welcome {
            epoch: number(value, "epoch"),
            next: number(value, "next"),
            max_frame: number(value, "max_frame"),
            expiry: millis(value, "expiry_ms"),
            token: optional(value, "token").map(ResumeToken::issued),
            ack: ack_of(&value["ack"]),
        }),
        "REJECT" => Frame::Reject(match text(value, "code") {
            "UNKNOWN" => Reject::Unknown,
            "STALE" => Reject::Stale,
            "FENCED" => Reject::Fenced,
            "BUSY" => Reject::Busy { after: millis(value, "after_ms") },
            "VERSION" => Reject::Version,
            "GAP" => Reject::Gap,
            code => panic!("{code}"),
        }),
        "ACK" => Frame::Ack(ack_of(value)),
        "PING" => {
            Frame::Ping(Ping { opaque: number(value, "opaque"), seen: number(value, "seen") })
        }
        "PONG" => {
            let progress =
                Some(&value["progress"]).filter(|progress| !progress.is_null()).map(progress_of);
            Frame::Pong(Pong { opaque: number(value, "opaque"), progress })
        }
        "FIN" => Frame::Fin { last: number(value, "last") },
        "FIN_ACK" => Frame::FinAck,
        "LEAVE" => Frame::Leave,
        "FAULT" => {
            let code = u8::try_from(number(value, "code")).unwrap();
            let Ok(Frame::Fault(Fault { code, .. })) = Frame::decode(13, &[code, 0]) else {
                panic!()
            };
            Frame::Fault(Fault { code, text: text(value, "text").to_owned() })
        }
        other => panic!("{other}"),
    }
}

fn open_of(value: &Value) -> Open {
    let envelope = &value["envelope"];
    Open {
        highest: u16::try_from(number(value, "highest")).unwrap(),
        nonce: bytes(value, "nonce"),
        instance: bytes(value, "instance"),
        offers: Offers {
            sends: flag(value, "sends"),
            receives: flag(value, "receives"),
            calls: flag(value, "calls"),
            accepts: flag(value, "accepts"),
        },
        token: flag(value, "token"),
        address: text(value, "address").into(),
        group: match &value["group"] {
            Value::String(form) if form == "default" => Group::Default,
            Value::String(form) if form == "private" => Group::Private,
            named => Group::Named(text(named, "named").into()),
        },
        max_message: number(value, "max_message"),
        max_frame: number(value, "max_frame"),
        envelope: EnvelopeLimits {
            slot: length(envelope, "slot"),
            key: length(envelope, "key"),
            headers: length(envelope, "headers"),
            header_name: length(envelope, "header_name"),
            header_bytes: length(envelope, "header_bytes"),
            header_depth: length(envelope, "header_depth"),
        },
    }
}

fn hello_of(value: &Value) -> Hello {
    Hello {
        sid: bytes(value, "sid"),
        owner: bytes(value, "owner"),
        attempt: number(value, "attempt"),
        resume: flag(value, "resume"),
        acked: number(value, "acked"),
        next: number(value, "next"),
        next_bytes: number(value, "next_bytes"),
        expiry: millis(value, "expiry_ms"),
        proof: optional(value, "proof"),
    }
}

fn progress_of(value: &Value) -> Progress {
    Progress {
        settled: number(value, "settled"),
        received: number(value, "received"),
        limit_seq: number(value, "limit_seq"),
        limit_bytes: number(value, "limit_bytes"),
    }
}

fn ack_of(value: &Value) -> Ack {
    let released = value["released"].as_array().unwrap().iter().map(|released| Released {
        number: number(released, "number"),
        attempt: u32::try_from(number(released, "attempt")).unwrap(),
        after: millis(released, "after_ms"),
    });
    let done = value["done"].as_array().unwrap().iter();
    Ack {
        progress: progress_of(value),
        released: released.collect(),
        done: done
            .map(|range| range[0].as_u64().unwrap()..range[1].as_u64().unwrap() + 1)
            .collect(),
    }
}

#[test]
fn every_frame_is_written_and_read_as_specified() {
    for vector in list(&read("v2.json"), "frames") {
        let (frame, expected) = (frame_of(&vector["frame"]), unhex(text(vector, "hex")));
        let channel = u8::try_from(number(vector, "channel")).unwrap();
        let mut written = vec![9, 9];
        frame.encode(channel, &mut written);
        assert_eq!(written[2..], expected, "{}", vector["name"]);
        let header = header(&expected, 1 << 20).unwrap().unwrap();
        assert_eq!((header.version, header.channel), (2, channel));
        assert_eq!(Header::SIZE + header.body, expected.len());
        let body = &expected[Header::SIZE..];
        assert_eq!(Frame::decode(header.kind, body).unwrap(), frame, "{}", vector["name"]);
    }
}

/// Each cut and each flipped bit is refused, or is another frame that is written exactly so.
#[test]
fn no_other_bytes_are_the_same_frame() {
    for vector in list(&read("v2.json"), "frames") {
        let whole = unhex(text(vector, "hex"));
        let (kind, body) = (whole[6], &whole[Header::SIZE..]);
        let check = |body: &[u8]| {
            if let Ok(frame) = Frame::decode(kind, body) {
                let mut again = Vec::new();
                frame.encode(0, &mut again);
                assert_eq!(&again[Header::SIZE..], body, "{}", vector["name"]);
            }
        };
        (0..body.len()).for_each(|length| check(&body[..length]));
        for bit in 0..8 * body.len() {
            let mut damaged = body.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            check(&damaged);
        }
    }
}

#[test]
fn data_is_written_and_read_as_specified() {
    for vector in list(&read("v2.json"), "data") {
        let name = text(vector, "name");
        let read = |datagram: &Value| json::decode(&datagram.to_string()).unwrap();
        let content: Vec<Datagram> = list(vector, "datagrams").iter().map(read).collect();
        let attempt = u32::try_from(number(vector, "attempt")).unwrap();
        let possible_duplicate = flag(vector, "possible_duplicate");
        let numbers: Vec<u64> =
            list(vector, "numbers").iter().map(|number| number.as_u64().unwrap()).collect();
        let frames: Vec<Vec<u8>> =
            list(vector, "hex").iter().map(|hex| unhex(hex.as_str().unwrap())).collect();

        let (mut sending, mut receiving) = begun_at(number(vector, "first"));
        let mut own = parcel(1, &content);
        own.attempt = attempt;
        own.possible_duplicate = possible_duplicate;
        assert_eq!(sending.admit(own), content.len(), "{name}");
        let mut out = seam_wire::Outgoing::new();
        sending.transmit(u8::try_from(number(vector, "channel")).unwrap(), &mut out, usize::MAX);
        assert_eq!(super::peer::drain(&mut out), frames.concat(), "{name}");

        let mut got = Got::default();
        on_bytes(&mut receiving, &frames.concat(), &mut got).unwrap();
        let expected = content.into_iter().zip(numbers);
        let expected: Vec<_> = expected
            .map(|(datagram, number)| (number, datagram, attempt, possible_duplicate))
            .collect();
        assert_eq!(got.datagrams, expected, "{name}");
    }
}

/// Both halves of a session whose next number is `first`.
fn begun_at(first: u64) -> (seam_wire::Sending, Receiving) {
    let mut pair = super::peer::Pair::new(Window::new(1 << 20, 1 << 30));
    let before = vec![Datagram::new(""); usize::try_from(first - 1).unwrap()];
    pair.pass(0, &before);
    pair.receiving.done(1..first);
    pair.ack();
    (pair.sending, pair.receiving)
}

#[test]
fn proofs_are_as_specified() {
    let vectors = read("v2.json");
    for vector in list(&vectors, "proofs") {
        let hex = |name| unhex(text(vector, name));
        let (token, dialler, acceptor, exporter) =
            (text(vector, "token"), hex("dialler"), hex("acceptor"), hex("exporter"));
        let proof = Proof {
            token: token.as_bytes(),
            dialler: &dialler,
            acceptor: &acceptor,
            exporter: &exporter,
        };
        let (ours, theirs) = (proof.prove(Role::Dialler), proof.prove(Role::Acceptor));
        assert_eq!(ours.proof, bytes(vector, "dialler_proof"));
        assert_eq!(theirs.proof, bytes(vector, "acceptor_proof"));
        proof.verify(Role::Acceptor, &theirs).unwrap();
        assert_eq!(proof.verify(Role::Dialler, &theirs), Err(WireError::Unproven), "reflected");
        let other = Proof { token: b"another token", ..proof };
        assert_eq!(other.verify(Role::Dialler, &ours), Err(WireError::Unproven));
    }
    for vector in list(&vectors, "resume_proofs") {
        let token = ResumeToken::derived(text(vector, "token").as_bytes(), &bytes(vector, "sid"));
        assert_eq!(*token.expose(), bytes(vector, "resume_token"));
        let connection = unhex(text(vector, "connection"));
        let proof = ResumeProof { token: &token, connection: &connection };
        let mut hello = Hello {
            sid: bytes(vector, "sid"),
            owner: bytes(vector, "owner"),
            attempt: number(vector, "attempt"),
            resume: true,
            acked: 0,
            next: 1,
            next_bytes: 0,
            expiry: Duration::ZERO,
            proof: None,
        };
        assert!(!proof.verify(&hello), "a missing proof");
        proof.sign(&mut hello);
        assert_eq!(hello.proof, optional(vector, "proof"));
        assert!(proof.verify(&hello));
        assert!(!ResumeProof { token: &token, connection: b"another" }.verify(&hello), "replayed");
        hello.attempt += 1;
        assert!(!proof.verify(&hello), "for another attempt");
    }
}

#[test]
fn everything_refused_is_refused_with_its_reason() {
    for vector in list(&read("v2.json"), "refused") {
        let error = read_all(&unhex(text(vector, "hex"))).expect_err(text(vector, "name"));
        let reason = text(vector, "reason");
        assert!(error.to_string().contains(reason), "{}: {error}", vector["name"]);
    }
}

/// Reads a single frame, as `refused_with` of the vectors says.
fn read_all(bytes: &[u8]) -> Result<(), WireError> {
    let header = header(bytes, 4096)?.expect("it has a header");
    let body = &bytes[Header::SIZE..];
    assert_eq!(body.len(), header.body);
    if header.kind != Frame::DATA {
        return Frame::decode(header.kind, body).map(|_| ());
    }
    let mut pair = super::peer::Pair::new(Window::new(4, 1000));
    pair.deliver(bytes)
}

#[test]
fn version_1_is_as_connect_wrote_it() {
    let vectors = read("v1.json");
    for vector in list(&vectors, "datagrams") {
        let (tag, payload) =
            (u16::try_from(number(vector, "tag")).unwrap(), unhex(text(vector, "payload")));
        let expected = unhex(text(vector, "hex"));
        let header = plain::header(tag, payload.len()).unwrap();
        assert_eq!([&header[..], &payload].concat(), expected);
        let read = plain::parse(&expected, 1000).unwrap().unwrap();
        assert_eq!((read.tag, read.payload, read.size()), (tag, &payload[..], expected.len()));
        for length in 0..expected.len() {
            assert_eq!(plain::parse(&expected[..length], 1000).unwrap(), None);
        }
    }
    for vector in list(&vectors, "streams") {
        let all = unhex(text(vector, "hex"));
        let mut rest = &all[..];
        for (tag, payload) in list(vector, "tags").iter().zip(list(vector, "payloads")) {
            let read = plain::parse(rest, 1000).unwrap().unwrap();
            assert_eq!(u64::from(read.tag), tag.as_u64().unwrap());
            assert_eq!(read.payload, unhex(payload.as_str().unwrap()));
            rest = &rest[read.size()..];
        }
        assert!(rest.is_empty());
    }
    for vector in list(&vectors, "headers") {
        let tag = u16::try_from(number(vector, "tag")).unwrap();
        let header = plain::header(tag, length(vector, "length")).unwrap();
        assert_eq!(header, bytes(vector, "hex"));
        assert_eq!(plain::parse(&header, plain::MAX_PAYLOAD).unwrap(), None);
    }
}

#[test]
fn version_1_refuses_lying_sizes_by_the_header_alone() {
    let vectors = read("v1.json");
    for vector in list(&vectors, "refused") {
        let refused = unhex(text(vector, "hex"));
        let error =
            plain::parse(&refused, length(vector, "limit")).expect_err(text(vector, "name"));
        assert!(error.to_string().contains(text(vector, "reason")), "{error}");
    }
    for vector in list(&vectors, "unsendable") {
        let error = plain::header(0, length(vector, "length")).unwrap_err();
        assert!(error.to_string().contains(text(vector, "reason")), "{error}");
    }
}
