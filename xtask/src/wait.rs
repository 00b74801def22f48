//! Waiting for a condition.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const PERIOD: Duration = Duration::from_millis(100);

/// Looks until there is something, and returns it; an error ends the waiting at once.
///
/// # Errors
/// When `limit` is over, naming `what` was waited for, or when `look` fails.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() >= limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        thread::sleep(PERIOD);
    }
}

/// Whether a plain HTTP server at this address answers 200 for this path.
pub fn http_ok(address: SocketAddr, path: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        // In one piece: a server that answers before it has read everything may reset the connection.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.take(1 << 16).read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn waiting_ends_when_there_is_something() {
        let mut looks = 0;
        let found = until("a third look", Duration::from_mins(1), || {
            looks += 1;
            Ok((looks == 3).then_some("here"))
        });
        assert_eq!(found.unwrap(), "here");
    }

    #[test]
    fn waiting_in_vain_names_the_thing() {
        let error = until::<()>("rain", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s in vain for rain");
    }

    #[test]
    fn a_failed_look_ends_the_waiting() {
        let error = until::<()>("rain", Duration::from_mins(1), || bail!("the gauge broke")).unwrap_err();
        assert_eq!(error.to_string(), "the gauge broke");
    }

    #[test]
    fn only_200_is_ok() {
        for (status, expected) in [("200 OK", true), ("503 Service Unavailable", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let _ = stream.read(&mut request).unwrap();
                write!(stream, "HTTP/1.0 {status}\r\n\r\n").unwrap();
            });
            assert_eq!(http_ok(address, "/healthz"), expected, "{status}");
            server.join().unwrap();
        }
    }
}
