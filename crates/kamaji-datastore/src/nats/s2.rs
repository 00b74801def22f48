//! Unpacks what kine's values are packed with: S2 in frames, which is Snappy with longer blocks and repeated offsets.
//!
//! Checksums are not looked at: `JetStream` has its own of every message.
//!
//! Sources: `framing_format.txt` and `format_description.txt` of Snappy, `s2/README.md` and `s2/decode_other.go` of
//! klauspost/compress.

/// The most that is unpacked, in bytes: more than any value that a server takes.
const MOST: usize = 16 * 1024 * 1024;

/// What was packed; nothing if it is no such frame, or too long.
pub(crate) fn unpack(mut packed: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while !packed.is_empty() {
        let (head, rest) = packed.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], 0]) as usize;
        let (chunk, rest) = rest.split_at_checked(length)?;
        match head[0] {
            // Behind four bytes of checksum.
            0x00 => block(chunk.get(4..)?, &mut all)?,
            0x01 => all.extend_from_slice(chunk.get(4..)?),
            // Names of the format, padding, and what may be skipped.
            0x80..=0xff => {}
            _ => return None,
        }
        if all.len() > MOST {
            return None;
        }
        packed = rest;
    }
    Some(all)
}

/// What is read from a block.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(usize::from(*first))
    }

    /// A number of so many bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        (0..bytes).try_fold(0, |sum, place| Some(sum | self.byte()? << (8 * place)))
    }

    fn varint(&mut self) -> Option<usize> {
        let mut sum = 0;
        for place in 0..5 {
            let byte = self.byte()?;
            sum |= (byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Some(sum);
            }
        }
        None
    }
}

/// One block is unpacked behind what there is.
fn block(packed: &[u8], all: &mut Vec<u8>) -> Option<()> {
    let mut source = Source(packed);
    let (begin, length) = (all.len(), source.varint()?);
    if begin + length > MOST {
        return None;
    }
    let (end, mut offset) = (begin + length, 0);
    while all.len() < end {
        let tag = source.byte()?;
        let copied = match tag & 3 {
            0 => {
                let literal = literal(&mut source, tag)?;
                if literal.len() > end - all.len() {
                    return None;
                }
                all.extend_from_slice(literal);
                continue;
            }
            1 => near(&mut source, tag, &mut offset)?,
            kind => {
                offset = source.number(if kind == 2 { 2 } else { 4 })?;
                1 + (tag >> 2)
            }
        };
        if offset == 0 || offset > all.len() - begin || copied > end - all.len() {
            return None;
        }
        // They may overlap: what is copied may be what was just written.
        for _ in 0..copied {
            all.push(all[all.len() - offset]);
        }
    }
    source.0.is_empty().then_some(())
}

fn literal<'a>(source: &mut Source<'a>, tag: usize) -> Option<&'a [u8]> {
    let length = match tag >> 2 {
        short @ 0..60 => short,
        long => source.number(long - 59)?,
    };
    let (literal, rest) = source.0.split_at_checked(length + 1)?;
    source.0 = rest;
    Some(literal)
}

/// How much is copied from not far away. In S2 an offset of nothing means the last one again, and a longer length follows.
fn near(source: &mut Source<'_>, tag: usize, offset: &mut usize) -> Option<usize> {
    let (low, length) = (source.byte()?, tag >> 2 & 7);
    let next = (tag & 0xe0) << 3 | low;
    if next != 0 {
        *offset = next;
        return Some(4 + length);
    }
    Some(match length {
        5 => 8 + source.number(1)?,
        6 => 4 + 256 + source.number(2)?,
        7 => 4 + 65536 + source.number(3)?,
        length => 4 + length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kine 0.17.5 has put for its own health.
    const OF_KINE: &[u8] = b"\xff\x06\x00\x00S2sTwO\x00\x97\x00\x00#w`\x8c\xab\x01\xf0Y{\"KV\":{\"Key\":\"/registry/health\",\"Value\":\"eyJoZWFsdGgiOiJ0cnVlIn0=\",\"Version\":0,\"CreateRevi\x15\x13\x08Mod2\x10\x008Lease\":0},\"Prev2\x1c\x00\t?T\":true,\"Delete\":false}";

    #[test]
    fn what_kine_packs_is_unpacked() {
        let json = r#"{"KV":{"Key":"/registry/health","Value":"eyJoZWFsdGgiOiJ0cnVlIn0=","Version":0,"CreateRevision":0,"ModRevision":0,"Lease":0},"PrevRevision":0,"Create":true,"Delete":false}"#;
        assert_eq!(unpack(OF_KINE).map(|all| String::from_utf8(all).expect("text")).as_deref(), Some(json));
    }

    #[test]
    fn an_offset_is_used_again_and_lengths_go_on() {
        // "ab", four more at offset two, then as many again as each kind of length says.
        let mut packed = vec![0; 4];
        packed.extend([0x90, 0x02, 0x04, b'a', b'b', 0x01, 0x02]);
        packed.extend([0x09, 0x00]);
        packed.extend([0x15, 0x00, 252]);
        let mut framed = vec![0x00, u8::try_from(packed.len()).expect("short"), 0, 0];
        framed.extend(packed);
        let all = unpack(&framed).expect("sound");
        assert_eq!((all.len(), &all[..6]), (2 + 4 + 6 + 260, b"ababab".as_slice()));
    }

    #[test]
    fn what_is_cut_off_or_odd_is_nothing() {
        for end in 11..OF_KINE.len() {
            assert_eq!(unpack(&OF_KINE[..end]), None, "{end}");
        }
        // Copied from before the beginning; longer than it says; a chunk of no known kind.
        for odd in [
            b"\x00\x08\x00\x00\0\0\0\0\x04\x00\x61\x05".as_slice(),
            b"\x00\x08\x00\x00\0\0\0\0\x01\x08\x61\x61\x61",
            b"\x02\x01\x00\x00\x00",
        ] {
            assert_eq!(unpack(odd), None, "{odd:?}");
        }
    }
}
