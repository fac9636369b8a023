//! Replies: whether what a guest sent left from where it had stored it.

use super::{Span, Verdict};

/// A part of a reply as the backend read it from guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Number of the connection.
    pub(crate) stream: usize,
    /// Position of its first byte in what the guest sent on the connection.
    pub(crate) position: u64,
    /// Length in bytes.
    pub(crate) len: u64,
    /// Where it lay in the NVDIMM's file; None: elsewhere.
    pub(crate) file: Option<u64>,
}

/// Whether every byte that left on a connection lay where the guest had stored it, and all of
/// the record left `times` times. `stored` holds the places of each connection's record, in
/// order. What was sent twice by TCP may be there twice.
pub(crate) fn judge_replies(stored: &[Vec<Span>], times: u64, taken: &[Taken]) -> Verdict {
    for piece in taken {
        let parts = stored.get(piece.stream).map_or(&[][..], Vec::as_slice);
        let name = format!("connection {} at byte {}", piece.stream, piece.position);
        let Some(mut file) = piece.file else {
            return Err(format!("{name}: a reply left from outside the NVDIMM"));
        };
        let (mut position, mut left) = (piece.position, piece.len);
        while left > 0 {
            let Some(place) = place(parts, position) else {
                return Err(format!("{name}: more was sent than is stored"));
            };
            if place.start != file {
                let start = place.start;
                return Err(format!("{name}: a reply left from {file:#x}, stored at {start:#x}"));
            }
            let step = left.min(place.len);
            (position, file, left) = (position + step, file + step, left - step);
        }
    }
    for (number, parts) in stored.iter().enumerate() {
        let len: u64 = parts.iter().map(|part| part.len).sum();
        let mut of_it: Vec<_> = taken.iter().filter(|piece| piece.stream == number).collect();
        of_it.sort_by_key(|piece| piece.position);
        let mut done = 0;
        for piece in of_it {
            if piece.position > done {
                return Err(format!("connection {number}: nothing was seen of byte {done}"));
            }
            done = done.max(piece.position + piece.len);
        }
        if done != len * times {
            return Err(format!("connection {number}: {done} of {} bytes left", len * times));
        }
    }
    Ok(())
}

/// Where the byte at `position` of the repeated record is stored, up to the end of its part.
fn place(parts: &[Span], position: u64) -> Option<Span> {
    let len: u64 = parts.iter().map(|part| part.len).sum();
    let mut into = position.checked_rem(len)?;
    for part in parts {
        if into < part.len {
            return Some(Span { start: part.start + into, len: part.len - into });
        }
        into -= part.len;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, len: u64) -> Span {
        Span { start, len }
    }

    fn taken(position: u64, len: u64, file: Option<u64>) -> Taken {
        Taken { stream: 0, position, len, file }
    }

    #[test]
    fn replies_from_their_places_pass() {
        let stored = [vec![span(1000, 10), span(3000, 5)]];
        let once = [taken(0, 10, Some(1000)), taken(10, 5, Some(3000))];
        assert_eq!(judge_replies(&stored, 1, &once), Ok(()));
        // In other segments, again by TCP, and the record twice.
        let twice = [
            taken(0, 4, Some(1000)),
            taken(2, 8, Some(1002)),
            taken(10, 5, Some(3000)),
            taken(15, 10, Some(1000)),
            taken(25, 3, Some(3000)),
            taken(28, 2, Some(3003)),
        ];
        assert_eq!(judge_replies(&stored, 2, &twice), Ok(()));
        // Parts that happen to lie side by side may leave as one.
        let side = [vec![span(1000, 10), span(1010, 5)]];
        assert_eq!(judge_replies(&side, 1, &[taken(0, 15, Some(1000))]), Ok(()));
    }

    #[test]
    fn replies_from_elsewhere_are_seen() {
        let stored = [vec![span(1000, 10), span(3000, 5)]];
        let judge = |pieces: &[Taken]| judge_replies(&stored, 1, pieces).unwrap_err();
        assert!(judge(&[taken(0, 10, None)]).contains("outside the NVDIMM"));
        let wrong = judge(&[taken(0, 10, Some(5000))]);
        assert_eq!(wrong, "connection 0 at byte 0: a reply left from 0x1388, stored at 0x3e8");
        assert!(judge(&[taken(0, 11, Some(1000))]).contains("stored at 0xbb8"));
        let none = Taken { stream: 1, ..taken(0, 1, Some(1000)) };
        assert!(judge(&[none]).contains("more was sent"));
    }

    #[test]
    fn missing_bytes_are_seen() {
        let stored = [vec![span(1000, 10)]];
        let some = [taken(0, 4, Some(1000)), taken(5, 5, Some(1005))];
        let hole = judge_replies(&stored, 1, &some).unwrap_err();
        assert_eq!(hole, "connection 0: nothing was seen of byte 4");
        let short = judge_replies(&stored, 2, &[taken(0, 10, Some(1000))]).unwrap_err();
        assert_eq!(short, "connection 0: 10 of 20 bytes left");
    }
}
