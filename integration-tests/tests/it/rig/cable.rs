//! Namespaces and the cable between them.

use std::io::ErrorKind;
use std::time::Duration;

use integration_tests::actors::Role;
use integration_tests::{Cable, End, Process};

use super::PATIENCE;

fn actor(cable: &Cable, end: End, role: &Role) -> Process {
    let mut command = cable.command(end, env!("CARGO_BIN_EXE_actor")).unwrap();
    command.arg(serde_json::to_string(role).unwrap());
    Process::spawn(command).unwrap()
}

#[tokio::test]
#[cfg_attr(not(namespaces), ignore = "no network namespaces here")]
async fn nothing_goes_through_a_pulled_cable_and_nobody_is_told() {
    let cable = Cable::lay().await.unwrap();
    let listen = Role::Echo((End::Right.address(), 0).into());
    let mut server = actor(&cable, End::Right, &listen);
    let address = server.line(PATIENCE).await.unwrap().parse().unwrap();
    let mut client = actor(&cable, End::Left, &Role::Ask(address));
    assert_eq!(client.line(PATIENCE).await.unwrap(), "connected");

    client.tell("before").await.unwrap();
    assert_eq!(client.line(PATIENCE).await.unwrap(), "before");

    for end in [End::Left, End::Right] {
        cable.pull(end).await.unwrap();
        client.tell("meanwhile").await.unwrap();
        let silence = client.line(Duration::from_millis(300)).await;
        assert_eq!(silence.unwrap_err().kind(), ErrorKind::TimedOut);
        cable.mend(end).await.unwrap();
        assert_eq!(client.line(PATIENCE).await.unwrap(), "meanwhile", "TCP sends it again");
    }
}

#[tokio::test]
#[cfg_attr(not(namespaces), ignore = "no network namespaces here")]
async fn two_cables_do_not_meet() {
    let (one, other) = (Cable::lay().await.unwrap(), Cable::lay().await.unwrap());
    let mut server = actor(&one, End::Right, &Role::Echo((End::Right.address(), 7000).into()));
    server.line(PATIENCE).await.unwrap();
    let mut client = actor(&other, End::Left, &Role::Ask((End::Right.address(), 7000).into()));
    assert!(!client.exit(PATIENCE).await.unwrap().success(), "nobody listens there");
}
