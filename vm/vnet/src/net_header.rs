//! Net header: the `virtio_net_hdr` before every frame, and the checksum it may leave to us.

/// Header with `num_buffers`: `VERSION_1` or `MRG_RXBUF`, virtio 1.2 section 5.1.6.
pub(crate) const LEN_MODERN: usize = 12;
/// Header of a legacy driver without mergeable buffers.
pub(crate) const LEN_LEGACY: usize = 10;

const FLAG_NEEDS_CSUM: u8 = 1;
const FLAG_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;

/// Why a transmitted frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadFrame {
    /// Shorter than header and Ethernet addresses.
    Short,
    /// Segmentation was asked for but never offered.
    Segmentation,
    /// The checksum lies outside the frame.
    Checksum,
}

/// The header of a frame for the guest. `valid` tells a driver with `GUEST_CSUM` that the checksums
/// need no look: the frame came from this process, not over a wire.
pub(crate) fn to_guest(buffers: u16, valid: bool) -> [u8; LEN_MODERN] {
    let mut header = [0; LEN_MODERN];
    header[0] = if valid { FLAG_DATA_VALID } else { 0 };
    header[10..].copy_from_slice(&buffers.to_le_bytes());
    header
}

/// Does what the header of a transmitted frame asks for: completes a partial checksum.
pub(crate) fn finish(header: &[u8], frame: &mut [u8]) -> Result<(), BadFrame> {
    if header.len() < LEN_LEGACY || frame.len() < crate::packet::ETHERNET_LEN {
        return Err(BadFrame::Short);
    }
    if header[1] != GSO_NONE {
        return Err(BadFrame::Segmentation);
    }
    if header[0] & FLAG_NEEDS_CSUM == 0 {
        return Ok(());
    }
    let start = usize::from(u16::from_le_bytes([header[6], header[7]]));
    let offset = usize::from(u16::from_le_bytes([header[8], header[9]]));
    let rest = frame.get_mut(start..).ok_or(BadFrame::Checksum)?;
    // The field itself holds the sum of the pseudo header and takes part.
    let sum = !fold(rest);
    let field = rest.get_mut(offset..offset + 2).ok_or(BadFrame::Checksum)?;
    // Zero means "no checksum" in UDP; its equal 0xffff is right for every protocol.
    let sum = if sum == 0 { 0xffff } else { sum };
    field.copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// The ones' complement sum of big-endian words (RFC 1071).
fn fold(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let last = words.remainder().first().map_or(0, |byte| u64::from(*byte) << 8);
    let mut sum = words.map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u64>();
    sum += last;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(start: u16, offset: u16) -> [u8; LEN_LEGACY] {
        let mut header = [0; LEN_LEGACY];
        header[0] = FLAG_NEEDS_CSUM;
        header[6..8].copy_from_slice(&start.to_le_bytes());
        header[8..].copy_from_slice(&offset.to_le_bytes());
        header
    }

    #[test]
    fn a_completed_checksum_and_the_pseudo_header_sum_to_all_ones() {
        // 54 bytes and odd lengths included: a pure acknowledgement must not be forgotten.
        for len in [54, 55, 60, 1514] {
            let mut frame: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            frame[50..52].copy_from_slice(&[0x12, 0x34]);
            finish(&header(34, 16), &mut frame).unwrap();
            assert_eq!(fold(&frame[34..]), 0xffff - 0x1234, "length {len}");
        }
    }

    #[test]
    fn a_checksum_outside_the_frame_is_refused() {
        let mut frame = [0; 60];
        for (start, offset) in [(61, 0), (60, 0), (34, 25), (0xffff, 0xffff), (34, 0xffff)] {
            assert_eq!(finish(&header(start, offset), &mut frame), Err(BadFrame::Checksum));
        }
        assert_eq!(finish(&header(34, 16), &mut frame[..13]), Err(BadFrame::Short));
    }

    #[test]
    fn segmentation_was_not_offered() {
        let mut header = header(34, 16);
        header[1] = 1;
        assert_eq!(finish(&header, &mut [0; 60]), Err(BadFrame::Segmentation));
    }
}
