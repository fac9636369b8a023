//! Packet: what the frame log reads from a frame's headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

/// Length of an Ethernet header.
pub(crate) const ETHERNET_LEN: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const IPV6_LEN: usize = 40;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const TCP_OPTION_END: u8 = 0;
const TCP_OPTION_NOP: u8 = 1;
const TCP_OPTION_MSS: u8 = 2;
const TCP_OPTION_SCALE: u8 = 3;

/// The two ends of a TCP or UDP conversation, in the direction of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Who sent the frame.
    pub src: SocketAddr,
    /// Whom it is for.
    pub dst: SocketAddr,
}

/// The TCP header fields that are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) syn: bool,
    /// Largest segment the sender accepts, told in its SYN.
    pub(crate) mss: Option<u16>,
    /// How far its later windows are to be shifted, told in its SYN.
    pub(crate) scale: Option<u8>,
}

/// A frame, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) flow: Option<Flow>,
    pub(crate) tcp: Option<Tcp>,
    /// Where the TCP or UDP payload lies in the frame; empty for everything else.
    pub(crate) payload: Range<usize>,
}

impl Packet {
    /// Reads the headers. A frame that is cut short or unknown is one without a flow.
    pub(crate) fn parse(frame: &[u8]) -> Self {
        Self::parse_ip(frame).unwrap_or_default()
    }

    fn parse_ip(frame: &[u8]) -> Option<Self> {
        let network = frame.get(ETHERNET_LEN..)?;
        let (src, dst, protocol, transport) = match be16(frame, 12)? {
            ETHERTYPE_IPV4 => ipv4(network)?,
            ETHERTYPE_IPV6 => ipv6(network)?,
            _ => return None,
        };
        let start = ETHERNET_LEN + transport.start;
        let end = ETHERNET_LEN + transport.end;
        let segment = frame.get(start..end)?;
        let (header_len, tcp) = match protocol {
            PROTOCOL_TCP => tcp(segment)?,
            PROTOCOL_UDP => (8, None),
            _ => return None,
        };
        let payload = start + header_len..end;
        let flow = Flow {
            src: SocketAddr::new(src, be16(segment, 0)?),
            dst: SocketAddr::new(dst, be16(segment, 2)?),
        };
        (payload.start <= payload.end).then_some(Self { flow: Some(flow), tcp, payload })
    }
}

type Network = (IpAddr, IpAddr, u8, Range<usize>);

fn ipv4(network: &[u8]) -> Option<Network> {
    let header_len = usize::from(*network.first()? & 0xf) * 4;
    let total = usize::from(be16(network, 2)?);
    // A fragment other than the first has no transport header.
    let fragment_offset = be16(network, 6)? & 0x1fff;
    let address = |at: usize| {
        let bytes: [u8; 4] = network.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(bytes)))
    };
    let valid = fragment_offset < 1 && header_len >= 20 && total >= header_len;
    valid.then_some((address(12)?, address(16)?, *network.get(9)?, header_len..total))
}

fn ipv6(network: &[u8]) -> Option<Network> {
    let address = |at: usize| {
        let bytes: [u8; 16] = network.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(bytes)))
    };
    let end = IPV6_LEN + usize::from(be16(network, 4)?);
    Some((address(8)?, address(24)?, *network.get(6)?, IPV6_LEN..end))
}

fn tcp(segment: &[u8]) -> Option<(usize, Option<Tcp>)> {
    let header_len = usize::from(*segment.get(12)? >> 4) * 4;
    let options = segment.get(20..header_len)?;
    let mut tcp = Tcp {
        seq: be32(segment, 4)?,
        ack: be32(segment, 8)?,
        window: be16(segment, 14)?,
        syn: segment.get(13)? & 2 != 0,
        ..Tcp::default()
    };
    if tcp.syn {
        read_options(&mut tcp, options);
    }
    Some((header_len, Some(tcp)))
}

fn read_options(tcp: &mut Tcp, mut options: &[u8]) {
    while let [kind, ref rest @ ..] = *options {
        let len = match (kind, rest) {
            (TCP_OPTION_END, _) => return,
            (TCP_OPTION_NOP, _) => 1,
            (_, [len, ..]) if *len >= 2 => usize::from(*len),
            _ => return,
        };
        match *rest {
            [4, high, low, ..] if kind == TCP_OPTION_MSS => {
                tcp.mss = Some(u16::from_be_bytes([high, low]));
            }
            // More than 14 is to be taken as 14, RFC 7323 section 2.3.
            [3, scale, ..] if kind == TCP_OPTION_SCALE => tcp.scale = Some(scale.min(14)),
            _ => {}
        }
        options = options.get(len..).unwrap_or_default();
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().expect("4 bytes")))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A TCP frame from 10.0.0.2:1000 to 10.0.0.1:80 with 8 bytes of options.
    pub(crate) fn tcp_frame(payload: &[u8], flags: u8) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET_LEN];
        frame[12] = 8;
        let total = u16::try_from(48 + payload.len()).unwrap().to_be_bytes();
        frame.extend([0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend([10, 0, 0, 2, 10, 0, 0, 1]);
        frame.extend([0x03, 0xe8, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 0x70, flags, 1, 0, 0, 0, 0, 0]);
        frame.extend([2, 4, 5, 180, 1, 3, 3, 7]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_tcp_frame_has_flow_sequence_and_payload() {
        let mut frame = tcp_frame(b"hello", 0x18);
        frame.extend([0; 9]); // Ethernet padding is no payload.
        let packet = Packet::parse(&frame);
        assert_eq!(packet.flow.unwrap().src, "10.0.0.2:1000".parse().unwrap());
        assert_eq!(packet.flow.unwrap().dst, "10.0.0.1:80".parse().unwrap());
        assert_eq!(packet.tcp, Some(Tcp { seq: 7, ack: 9, window: 256, ..Tcp::default() }));
        assert_eq!(&frame[packet.payload], b"hello");
        let syn = Packet::parse(&tcp_frame(b"", 2));
        assert_eq!(
            syn.tcp,
            Some(Tcp { seq: 7, ack: 9, window: 256, syn: true, mss: Some(1460), scale: Some(7) })
        );
    }

    #[test]
    fn every_cut_of_a_frame_is_taken_without_a_panic() {
        let frame = tcp_frame(b"hello", 2);
        for len in 0..frame.len() {
            assert_eq!(Packet::parse(&frame[..len]), Packet::default(), "length {len}");
        }
        for at in 0..frame.len() {
            for value in [0, 0xff, 0x7f, 0x60] {
                let mut frame = frame.clone();
                frame[at] = value;
                assert!(Packet::parse(&frame).payload.end <= frame.len());
            }
        }
    }
}
