//! A chunked body (RFC 9112 §7.1): sizes and trailers are read, data is counted and thrown away.

use super::{Framing, MAX_HEAD, Place, Step, broken};

/// What a line meant: whether the response ends with it, or the rule it breaks.
type Meaning = Result<bool, &'static str>;

pub(super) fn chunk(framing: &mut Framing, left: u64, available: usize) -> Step {
    let taken = left.min(available as u64);
    framing.http.place = if taken == left {
        Place::ChunkEnd
    } else {
        Place::Chunk(left - taken)
    };
    Step::Take(taken as usize)
}

/// Gathers one line of a chunked body and hands it, without its CRLF, to `act`.
pub(super) fn line(
    framing: &mut Framing,
    input: &[u8],
    act: fn(&mut Framing, &[u8]) -> Meaning,
) -> Step {
    let kept = usize::from(framing.http.kept);
    let end = input.iter().position(|byte| *byte == b'\n');
    let piece = &input[..end.unwrap_or(input.len())];
    let mut held = std::mem::take(&mut framing.held);
    held.extend_from_slice(&piece[..piece.len().min(MAX_HEAD + 1)]);
    let whole = &held[kept..];
    if whole.len() > MAX_HEAD {
        return broken(
            framing,
            "a line of a chunked body of more than 16384 bytes",
            whole,
        );
    }
    let Some(end) = end else {
        framing.held = held;
        return Step::Wait;
    };
    let meaning = match whole.strip_suffix(b"\r") {
        Some(whole) => act(framing, whole),
        None => Err("a line of a chunked body that does not end with CR LF"),
    };
    if let Err(rule) = meaning {
        return broken(framing, rule, whole.strip_suffix(b"\r").unwrap_or(whole));
    }
    held.truncate(kept);
    framing.held = held;
    match meaning {
        Ok(true) => Step::End(end + 1),
        _ => Step::Take(end + 1),
    }
}

/// The CRLF after a chunk: anything else means that the chunk is longer than its size says.
pub(super) fn end(framing: &mut Framing, input: &[u8]) -> Step {
    const CRLF: &[u8] = b"\r\n";
    let kept = usize::from(framing.http.kept);
    let known = framing.held.len() - kept;
    let wanted = &CRLF[known..];
    let piece = &input[..input.len().min(wanted.len())];
    if *piece != wanted[..piece.len()] {
        return broken(
            framing,
            "a chunk that is longer than its size says, by",
            input,
        );
    }
    if piece.len() < wanted.len() {
        framing.held.extend_from_slice(piece);
        return Step::Wait;
    }
    framing.held.truncate(kept);
    framing.http.place = Place::ChunkSize;
    Step::Take(piece.len())
}

pub(super) fn size(framing: &mut Framing, line: &[u8]) -> Meaning {
    const RULE: &str = "a chunk size that is no hexadecimal number";
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    // A sign would be none of the digits that from_str_radix accepts beside it.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(RULE);
    }
    let size = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(RULE)?;
    framing.http.place = match size {
        0 => Place::Trailer,
        size => Place::Chunk(size),
    };
    Ok(false)
}

pub(super) fn trailer(_: &mut Framing, line: &[u8]) -> Meaning {
    match line {
        [] => Ok(true),
        [b' ' | b'\t', ..] => Err("a trailer folded over two lines, which RFC 9112 §5.2 forbids"),
        _ if !line.contains(&b':') => Err("a trailer line without a colon"),
        _ => Ok(false),
    }
}
