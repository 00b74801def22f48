//! Stores that know only the first words of their protocol: enough to hear who logs in, how, and to what.

use std::io;

use kamaji_api::v1alpha1::Driver;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What a client said of itself.
pub(crate) struct Login {
    pub(crate) user: String,
    /// The password, or what proves that it is known.
    pub(crate) proof: Vec<u8>,
    /// Database or bucket.
    pub(crate) schema: String,
}

pub(crate) async fn hear(driver: Driver, stream: TcpStream) -> io::Result<Login> {
    match driver {
        Driver::PostgreSql => postgres(stream).await,
        Driver::MySql => mysql(stream).await,
        _ => nats(stream).await,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// PostgreSQL, protocol 3.0: without TLS, and with the password in clear text.
async fn postgres(mut stream: TcpStream) -> io::Result<Login> {
    const TLS_PLEASE: [u8; 4] = 80_877_103_u32.to_be_bytes();
    const CLEAR_TEXT_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];
    let mut start = postgres_body(&mut stream).await?;
    if start == TLS_PLEASE {
        stream.write_all(b"N").await?;
        start = postgres_body(&mut stream).await?;
    }
    let words: Vec<&[u8]> = start[4..].split(|byte| *byte == 0).collect();
    let said = |name: &[u8]| {
        words.chunks(2).find(|pair| pair[0] == name).map(|pair| text(pair[1])).unwrap_or_default()
    };
    stream.write_all(&CLEAR_TEXT_PASSWORD).await?;
    assert_eq!(stream.read_u8().await?, b'p');
    let password = postgres_body(&mut stream).await?;
    Ok(Login {
        user: said(b"user"),
        schema: said(b"database"),
        proof: password.strip_suffix(b"\0").unwrap().to_vec(),
    })
}

/// A length that counts itself, and what follows.
async fn postgres_body(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut body = vec![0; usize::try_from(length).unwrap() - 4];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

const SCRAMBLE: &[u8; 20] = b"0123456789abcdefghij";

/// MySQL, `HandshakeV10` with `mysql_native_password`.
async fn mysql(mut stream: TcpStream) -> io::Result<Login> {
    // Protocol 4.1, a database by name, plugins, and the longer scramble.
    const CAPABILITIES: [u8; 4] = 0x0008_a209_u32.to_le_bytes();
    let greeting = [
        &b"\x0a8.0.0\0\x01\0\0\0"[..],
        &SCRAMBLE[..8],
        b"\0",
        &CAPABILITIES[..2],
        b"\x2d\x02\0",
        &CAPABILITIES[2..],
        b"\x15\0\0\0\0\0\0\0\0\0\0",
        &SCRAMBLE[8..],
        b"\0mysql_native_password\0",
    ]
    .concat();
    stream.write_all(&[u8::try_from(greeting.len()).unwrap(), 0, 0, 0]).await?;
    stream.write_all(&greeting).await?;
    let header = stream.read_u32_le().await?;
    let mut answer = vec![0; usize::try_from(header & 0x00ff_ffff).unwrap()];
    stream.read_exact(&mut answer).await?;
    // Capabilities, the largest packet, a character set and padding stand before the name.
    let (user, rest) = until_nul(&answer[32..]);
    let (length, rest) = rest.split_first().unwrap();
    let (proof, rest) = rest.split_at((*length).into());
    Ok(Login { user, proof: proof.to_vec(), schema: until_nul(rest).0 })
}

fn until_nul(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    (text(&bytes[..end]), &bytes[end + 1..])
}

/// What `mysql_native_password` answers.
pub(crate) fn mysql_proof(password: &str) -> Vec<u8> {
    let sha1 = |parts: &[&[u8]]| {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    };
    let once = sha1(&[password.as_bytes()]);
    let mask = sha1(&[SCRAMBLE, &sha1(&[&once])]);
    once.iter().zip(mask).map(|(left, right)| left ^ right).collect()
}

/// NATS: greets, answers pings, says nothing to every question, and listens until `JetStream` is asked for a bucket.
async fn nats(stream: TcpStream) -> io::Result<Login> {
    const GREETING: &[u8] =
        b"INFO {\"server_id\":\"x\",\"version\":\"2.9.0\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n";
    let (reader, mut writer) = stream.into_split();
    writer.write_all(GREETING).await?;
    let mut lines = BufReader::new(reader).lines();
    let mut login = Value::Null;
    let mut inbox = String::new();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["CONNECT", ..] => login = serde_json::from_str(&line["CONNECT ".len()..]).unwrap(),
            ["PING"] => writer.write_all(b"PONG\r\n").await?,
            ["SUB", _, id] => (*id).clone_into(&mut inbox),
            [_, question, back, ..] if question.starts_with("$JS.API.") => {
                if let Some((_, bucket)) = question.split_once(".KV_") {
                    let said = |name: &str| login[name].as_str().unwrap_or_default().to_owned();
                    return Ok(Login {
                        user: said("user"),
                        proof: said("pass").into_bytes(),
                        schema: bucket.to_owned(),
                    });
                }
                writer.write_all(format!("MSG {back} {inbox} 2\r\n{{}}\r\n").as_bytes()).await?;
            }
            _ => {}
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
