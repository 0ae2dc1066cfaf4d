//! Load on a service: requests one after the other, each on its own connection, counted.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Between two requests: a steady load that does not use up the client's ports.
const PACE: Duration = Duration::from_millis(4);
const RUN_MAX: Duration = Duration::from_secs(300);

/// What became of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub succeeded: u64,
    pub failed: u64,
    /// The longest time without an answer.
    pub longest_gap_ms: u64,
    pub first_failure: Option<String>,
}

impl Tally {
    fn to_json(&self) -> Value {
        json!({
            "succeeded": self.succeeded,
            "failed": self.failed,
            "longestGapMs": self.longest_gap_ms,
            "firstFailure": self.first_failure,
        })
    }

    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).with_context(|| format!("no tally: {text:?}"))?;
        let number = |name: &str| value[name].as_u64().with_context(|| format!("no {name} in {text}"));
        Ok(Self {
            succeeded: number("succeeded")?,
            failed: number("failed")?,
            longest_gap_ms: number("longestGapMs")?,
            first_failure: value["firstFailure"].as_str().map(str::to_owned),
        })
    }
}

/// Asks until standard input ends, but at least so often, and never more than so often; prints the tally.
pub fn http(address: SocketAddr, at_least: u64, at_most: u64) -> Result<()> {
    let tally = ask_until(address, at_least, at_most, &input_ends());
    writeln!(std::io::stdout(), "{}", tally.to_json()).context("tell the tally")
}

/// Told when standard input ends.
fn input_ends() -> Receiver<()> {
    let (ended, ends) = sync_channel(1);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    ends
}

fn ask_until(address: SocketAddr, at_least: u64, at_most: u64, stop: &Receiver<()>) -> Tally {
    let began = Instant::now();
    let (mut tally, mut answered, mut stopped) = (Tally::default(), began, false);
    for asked in 0..at_most {
        if (stopped && asked >= at_least) || began.elapsed() > RUN_MAX {
            break;
        }
        tally.count(get(address), &mut answered, began);
        stopped |= !matches!(stop.recv_timeout(PACE), Err(RecvTimeoutError::Timeout));
    }
    tally.note_gap(answered);
    tally
}

impl Tally {
    fn count(&mut self, answer: Result<String>, answered: &mut Instant, began: Instant) {
        match answer {
            Ok(_) => {
                self.note_gap(*answered);
                *answered = Instant::now();
                self.succeeded += 1;
            }
            Err(error) => {
                self.failed += 1;
                let when = began.elapsed().as_millis();
                self.first_failure.get_or_insert_with(|| format!("after {when} ms: {error:#}"));
            }
        }
    }

    fn note_gap(&mut self, answered: Instant) {
        let gap = u64::try_from(answered.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.longest_gap_ms = self.longest_gap_ms.max(gap);
    }
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX).context("connect")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    // In one piece: a server may answer and close as soon as it has seen the first one.
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("send")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read the answer")?;
    let status = answer.split_whitespace().nth(1);
    ensure!(status == Some("200"), "the answer is {answer:?}");
    Ok(answer)
}

/// Asks a DNS server for a name from several sockets at a time; prints how many answers a second came.
pub fn dns(server: SocketAddr, name: &str, sockets: usize, duration: Duration) -> Result<()> {
    let question = question(name);
    let began = Instant::now();
    let answers = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..sockets).map(|_| scope.spawn(|| ask_names(server, &question, duration))).collect();
        asking.into_iter().map(|thread| thread.join().expect("the thread does not panic")).sum::<Result<u64>>()
    })?;
    println!("{:.0}", answers as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

fn ask_names(server: SocketAddr, question: &[u8], duration: Duration) -> Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (began, mut answers, mut buffer) = (Instant::now(), 0, [0; 512]);
    while began.elapsed() < duration {
        socket.send(question)?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                ensure!(length > question.len() && buffer[3] & 15 == 0, "not an answer: {:?}", &buffer[..length]);
                answers += 1;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("wait for the DNS"),
        }
    }
    Ok(answers)
}

/// A question for the IPv4 addresses of a name (RFC 1035, section 4).
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a label has 63 bytes at most"));
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answering(answers: Vec<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 512]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn what_fails_is_counted_and_told() {
        let address =
            answering(vec!["HTTP/1.1 200 OK\r\n\r\nx", "HTTP/1.1 503 Busy\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"]);
        let (_open, stop) = sync_channel(1);
        let tally = ask_until(address, 3, 3, &stop);
        assert_eq!((tally.succeeded, tally.failed), (2, 1));
        assert!(tally.first_failure.as_ref().unwrap().contains("503"));
        assert_eq!(Tally::parse(&tally.to_json().to_string()).unwrap(), tally);
    }

    #[test]
    fn a_question_is_as_the_standard_has_it() {
        assert_eq!(question("a.bc")[12..], [1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1]);
    }
}
