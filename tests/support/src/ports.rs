//! Free ports for servers that are told where to listen.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Returns a port that no server listens on.
///
/// The port is below the kernel's range for outgoing connections, so that a node that is killed finds its port free
/// again when it restarts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        // Test binaries run side by side: each starts its search at a different port.
        let port = FIRST + (std::process::id().wrapping_mul(97) + next) % COUNT;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Returns a loopback address with a free port.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}
