//! Sockets that listen: found again while connections of them stand, and known to be given back once the last has gone.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, ServerConfig, TokioRuntime, UdpPoller,
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::dialled::GOOD_BYE;

/// The sockets that a transport listens at, by their addresses.
#[derive(Default)]
pub(crate) struct Sockets(Mutex<HashMap<SocketAddr, Known>>);

/// One of them, and what ends once the operating system has it back.
struct Known {
    socket: Weak<Socket>,
    back: TaskTracker,
}

impl Sockets {
    /// A socket that listens at `address` from now on: one that did and still has connections, or else a new one.
    pub(crate) async fn listen(
        &self,
        address: SocketAddr,
        config: &ServerConfig,
        closing: &TaskTracker,
    ) -> io::Result<Arc<Socket>> {
        loop {
            let back = {
                let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                known.retain(|_, known| !known.back.is_empty());
                let Some(Known { socket, back }) = known.get(&address) else {
                    let (socket, back) = Socket::bind(address, config, closing.clone())?;
                    let known_as = socket.endpoint.local_addr()?;
                    known.insert(known_as, Known { socket: Arc::downgrade(&socket), back });
                    return Ok(socket);
                };
                match socket.upgrade() {
                    Some(socket) if socket.is_heard.swap(true, Ordering::SeqCst) => {
                        return Err(io::ErrorKind::AddrInUse.into());
                    }
                    Some(socket) => {
                        socket.endpoint.set_server_config(Some(config.clone()));
                        return Ok(socket);
                    }
                    None => back.clone(),
                }
            };
            // Good-byes are under way.
            back.wait().await;
        }
    }
}

/// A socket for as long as somebody listens at it or has a connection of it.
pub(crate) struct Socket {
    pub(crate) endpoint: Endpoint,
    line: Arc<Line>,
    /// Whether somebody listens.
    is_heard: AtomicBool,
    back: TaskTracker,
    closing: TaskTracker,
}

impl Socket {
    fn bind(
        address: SocketAddr,
        config: &ServerConfig,
        closing: TaskTracker,
    ) -> io::Result<(Arc<Self>, TaskTracker)> {
        let back = TaskTracker::new();
        back.close();
        let line = Arc::new(Line {
            socket: TokioRuntime.wrap_udp_socket(UdpSocket::bind(address)?)?,
            reader: AtomicWaker::new(),
            is_cut: AtomicBool::new(false),
            _out: back.token(),
        });
        let endpoint = Endpoint::new_with_abstract_socket(
            EndpointConfig::default(),
            Some(config.clone()),
            line.clone(),
            Arc::new(TokioRuntime),
        )?;
        let (is_heard, back_too) = (AtomicBool::new(true), back.clone());
        Ok((Arc::new(Self { endpoint, line, is_heard, back, closing }), back_too))
    }

    /// Nobody listens any more, though connections may stand. Whoever waits to be let in is told.
    pub(crate) fn leave(&self) {
        self.endpoint.set_server_config(None);
        while let Some(Some(incoming)) = self.endpoint.accept().now_or_never() {
            incoming.refuse();
        }
        self.is_heard.store(false, Ordering::SeqCst);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let (endpoint, line, back) = (self.endpoint.clone(), self.line.clone(), self.back.clone());
        self.closing.spawn(async move {
            if timeout(GOOD_BYE, endpoint.wait_idle()).await.is_err() {
                line.cut();
            }
            drop((endpoint, line));
            back.wait().await;
        });
    }
}

/// The socket of the operating system, told apart: when it is given back, and when nothing more is to come of it. Quinn keeps
/// one until the last of its connections is forgotten, which for a handshake whose first packet took itself back is as long
/// as silence may last.
#[derive(Debug)]
struct Line {
    socket: Arc<dyn AsyncUdpSocket>,
    reader: AtomicWaker,
    is_cut: AtomicBool,
    _out: TaskTrackerToken,
}

impl Line {
    /// Ends what reads it, and what lives by that.
    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.reader.wake();
    }
}

impl AsyncUdpSocket for Line {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let poller = self.socket.clone().create_io_poller();
        Box::pin(Writable { poller, _line: self })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.reader.register(cx.waker());
        if self.is_cut.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::Error::other("nobody has it any more")));
        }
        self.socket.poll_recv(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// Ready once more can be written, and a reason to keep the socket.
#[derive(Debug)]
struct Writable {
    poller: Pin<Box<dyn UdpPoller>>,
    _line: Arc<Line>,
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poller.as_mut().poll_writable(cx)
    }
}
