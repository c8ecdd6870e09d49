//! Two actors without a transport, to see whether bytes go through.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Sends back what comes on each connection to `address`, for ever; calls `ready` with the port once it
/// listens.
///
/// # Errors
///
/// Those of listening.
pub async fn echo(address: SocketAddr, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    ready(listener.local_addr()?);
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await?;
        connections.spawn(async move {
            let (mut input, mut output) = stream.split();
            // Whoever dialled sees for himself how it ended.
            let _ = tokio::io::copy(&mut input, &mut output).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Sends each line of standard input to `address`, and says the line that comes back.
///
/// # Errors
///
/// Those of the connection, its early end included.
pub async fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let (input, mut output) = stream.split();
    let mut answers = BufReader::new(input).lines();
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    println!("connected");
    while let Some(question) = questions.next_line().await? {
        output.write_all(format!("{question}\n").as_bytes()).await?;
        let answer = answers.next_line().await?;
        println!("{}", answer.ok_or(io::ErrorKind::UnexpectedEof)?);
    }
    Ok(())
}
