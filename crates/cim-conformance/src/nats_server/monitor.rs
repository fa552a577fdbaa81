//! Asks a server's monitoring endpoint: HTTP, as little of it as that takes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::waiting::Deadline;

/// A server that is fine answers within milliseconds; one that is paused never.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// The status and the body. HTTP/1.0, so the body ends where the connection does.
pub(super) fn get(port: u16, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let deadline = Deadline::after(ANSWERS_WITHIN);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWERS_WITHIN)?;
    stream.set_write_timeout(Some(ANSWERS_WITHIN))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;

    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let left = deadline.left();
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_status_and_the_body_are_taken_from_an_answer() {
        let answer = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(answer), Some((503, b"{}".to_vec())));
    }

    #[test]
    fn what_is_no_http_is_no_answer() {
        assert_eq!(parse(b"INFO {}\r\n"), None);
        assert_eq!(parse(b"HTTP/1.0 abc\r\n\r\n"), None);
    }
}
