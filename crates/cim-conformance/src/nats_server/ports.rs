//! Free ports that stay free while a server is down.
//!
//! A port that the system would hand out (by binding port 0) is one it also gives to outgoing
//! connections: a client that keeps trying to reach a dead server can then connect to itself, and
//! the server does not get its port back. So ports are taken below the range for those
//! (`/proc/sys/net/ipv4/ip_local_port_range` on Linux, 49152 and up elsewhere by RFC 6335).

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::ServerError;

const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// A port that nobody listens on. Within a process no port is given out twice until all were.
pub(super) fn free_port() -> Result<u16, ServerError> {
    // Test programs that run at the same time begin at different places.
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        let random = RandomState::new().hash_one(std::process::id());
        AtomicU32::new((random % u64::from(COUNT)) as u32)
    });
    (0..COUNT)
        .map(|_| FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(ServerError::NoPort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_in_use_is_not_given_out() {
        let first = free_port().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        for _ in 0..100 {
            assert_ne!(free_port().unwrap(), taken.local_addr().unwrap().port());
        }
    }

    #[test]
    fn ports_lie_below_those_of_outgoing_connections() {
        let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|range| range.split_whitespace().next()?.parse::<u32>().ok())
            .unwrap_or(49_152);
        assert!(FIRST + COUNT <= lowest, "{lowest}");
    }
}
