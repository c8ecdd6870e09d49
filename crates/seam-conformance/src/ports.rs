//! Ports for tests that listen.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of loopback that is free now, for TCP and UDP over IPv4 and IPv6, and that neither the operating system gives to a
/// connection by itself nor a broker of `integration-tests/brokers` has, which are all below 700 of a block of 1,000. Each
/// call gives another one.
///
/// # Panics
///
/// Never: a remainder of 3,600 fits.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = u16::try_from(std::process::id() % 3_600).expect("a small number");
    loop {
        let number = from.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 3_600;
        let port = 20_700 + number / 300 * 1_000 + number % 300;
        let ips: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        if ips.into_iter().all(|ip| is_free(ip, port)) {
            return port;
        }
    }
}

/// Where there is no such address, nobody can have the port there.
fn is_free(ip: IpAddr, port: u16) -> bool {
    let is_taken = |error: std::io::Error| error.kind() == ErrorKind::AddrInUse;
    !TcpListener::bind((ip, port)).is_err_and(is_taken)
        && !UdpSocket::bind((ip, port)).is_err_and(is_taken)
}
