//! Header blocks: names and values, compressed with a dictionary that both sides know.

use std::collections::HashMap;
use std::io;

use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::broken;

const HEADERS_SIZE_MAX: usize = 1 << 20;
const CHUNK: usize = 4096;

/// By name, in small letters.
pub type Headers = HashMap<String, String>;

/// The words that both sides' compressors know beforehand: each with its length before it, then a run of text.
fn dictionary() -> Vec<u8> {
    const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
        accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
        content-length content-location content-md5 content-range content-type date etag expect expires from host \
        if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards \
        pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding \
        upgrade user-agent vary via warning www-authenticate method get status";
    const MORE: [&str; 8] = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];
    const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
        Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 \
        Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May \
        Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,\
        image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,\
        deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut bytes = Vec::new();
    for word in WORDS.split_whitespace().chain(MORE) {
        bytes.put_u32(u32::try_from(word.len()).expect("a word is short"));
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TEXT.as_bytes());
    bytes
}

/// The reading end of header compression; one for the whole connection, and it must see every block.
pub struct HeaderReader(Decompress);

impl HeaderReader {
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub fn read(&mut self, block: &[u8]) -> io::Result<Headers> {
        let (mut plain, mut rest) = (Vec::new(), block);
        loop {
            let (used, made) = self.step(rest, &mut plain)?;
            rest = &rest[used..];
            if plain.len() > HEADERS_SIZE_MAX {
                return Err(broken("headers too large"));
            }
            // With nothing left to read, a chunk that was not filled was the last.
            match (rest.is_empty(), made < CHUNK) {
                (true, true) => return parse(&plain),
                (false, _) if used == 0 && made == 0 => return Err(broken("unfinished headers")),
                _ => {}
            }
        }
    }

    /// How much was read, and how much became of it.
    fn step(&mut self, input: &[u8], plain: &mut Vec<u8>) -> io::Result<(usize, usize)> {
        let mut chunk = [0; CHUNK];
        let (mut used, mut made) = self.decompress(input, &mut chunk)?;
        if used < input.len() && made == 0 {
            let (more, out) = self.decompress(&input[used..], &mut chunk)?;
            (used, made) = (used + more, out);
        }
        plain.extend_from_slice(&chunk[..made]);
        Ok((used, made))
    }

    /// The first block says that it wants the dictionary.
    fn decompress(&mut self, input: &[u8], chunk: &mut [u8]) -> io::Result<(usize, usize)> {
        let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
        match self.0.decompress(input, chunk, FlushDecompress::Sync) {
            Err(error) if error.needs_dictionary().is_some() => {
                self.0.set_dictionary(&dictionary()).map_err(|_| broken("header dictionary"))?;
            }
            Err(_) if !input.is_empty() => return Err(broken("compressed headers")),
            _ => {}
        }
        let size = |count: u64| usize::try_from(count).map_err(|_| broken("headers too large"));
        Ok((size(self.0.total_in() - before_in)?, size(self.0.total_out() - before_out)?))
    }
}

fn parse(mut plain: &[u8]) -> io::Result<Headers> {
    let count = take_u32(&mut plain)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_text(&mut plain)?;
        headers.insert(name.to_ascii_lowercase(), take_text(&mut plain)?);
    }
    Ok(headers)
}

fn take_u32(data: &mut &[u8]) -> io::Result<u32> {
    data.try_get_u32().map_err(|_| broken("a cut header"))
}

fn take_text(data: &mut &[u8]) -> io::Result<String> {
    let length = take_u32(data)? as usize;
    let (text, rest) = data.split_at_checked(length).ok_or_else(|| broken("a cut header"))?;
    *data = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// The writing end; its blocks must reach the wire in the order in which they were made.
pub struct HeaderWriter(Compress);

impl HeaderWriter {
    pub fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&dictionary()).expect("a new compressor takes a dictionary");
        Self(compress)
    }

    pub fn write(&mut self, headers: &Headers) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let length = |length: usize| u32::try_from(length).map_err(|_| broken("a long header"));
        plain.put_u32(length(headers.len())?);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(length(text.len())?);
            plain.extend_from_slice(text.as_bytes());
        }
        self.compress(&plain)
    }

    fn compress(&mut self, mut plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            out.reserve(plain.len() + 64);
            let before = self.0.total_in();
            self.0.compress_vec(plain, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
            let used = usize::try_from(self.0.total_in() - before).map_err(|_| broken("a long header"))?;
            plain = &plain[used..];
            if plain.is_empty() && out.len() < out.capacity() {
                return Ok(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adler32(data: &[u8]) -> u32 {
        let (mut a, mut b) = (1u32, 0u32);
        for byte in data {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        b << 16 | a
    }

    #[test]
    fn the_dictionary_is_the_published_one() {
        assert_eq!((dictionary().len(), adler32(&dictionary())), (1423, 0xe3c6_a7c2));
    }

    /// One word after the other through the same connection, as small headers and as some that fill many chunks.
    #[test]
    fn headers_survive_the_way_there() {
        let (mut writer, mut reader) = (HeaderWriter::new(), HeaderReader::new());
        let long: String = (0..20_000u32).map(|number| number.wrapping_mul(2_654_435_761).to_string()).collect();
        for value in ["80", "8080", &"x".repeat(CHUNK), &"y".repeat(100_000), &long, ""] {
            let headers = Headers::from([("streamtype".into(), "data".into()), ("port".into(), value.into())]);
            let block = writer.write(&headers).expect("a block");
            assert_eq!(reader.read(&block).expect("headers"), headers);
        }
    }

    #[test]
    fn names_are_read_in_small_letters() {
        let block =
            HeaderWriter::new().write(&[("streamType".to_owned(), "error".to_owned())].into()).expect("a block");
        assert_eq!(HeaderReader::new().read(&block).expect("headers")["streamtype"], "error");
    }

    #[test]
    fn what_is_no_block_is_refused() {
        assert!(HeaderReader::new().read(b"not compressed").is_err());
        let block = HeaderWriter::new().write(&Headers::new()).expect("a block");
        assert!(HeaderReader::new().read(&block[..block.len() / 2]).is_err());
    }
}
