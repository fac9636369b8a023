//! Frames: what the stand-in guest sends.

use super::{GUEST_IP, GUEST_MAC, HOST_IP, HOST_MAC};

/// Asks who has the host's address.
pub fn arp_request() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(GUEST_MAC);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(GUEST_MAC);
    frame.extend(GUEST_IP.octets());
    frame.extend([0; 6]);
    frame.extend(HOST_IP.octets());
    frame
}

/// Whether `frame` is the host's answer.
pub fn is_arp_reply(frame: &[u8]) -> bool {
    frame.len() == 42
        && frame[..6] == GUEST_MAC
        && frame[12..14] == [8, 6]
        && frame[20..22] == [0, 2]
        && frame[22..28] == HOST_MAC
}

/// A datagram from the guest's port 7000 to the host's port 9, without a checksum.
pub fn udp(payload: &[u8]) -> Vec<u8> {
    let mut frame = HOST_MAC.to_vec();
    frame.extend(GUEST_MAC);
    frame.extend([8, 0]);
    let total = u16::try_from(28 + payload.len()).unwrap().to_be_bytes();
    let mut ip = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 17, 0, 0];
    ip.extend(GUEST_IP.octets());
    ip.extend(HOST_IP.octets());
    let sum = !checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    let len = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    frame.extend([0x1b, 0x58, 0, 9, len[0], len[1], 0, 0]);
    frame.extend(payload);
    frame
}

/// `len` bytes that nobody else has, reproducible from `seed`.
pub fn needle(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next().to_le_bytes()[3]).collect()
}

/// A small generator (splitmix64), so that a failure can be replayed from its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// An ICMP echo request of the guest to the host.
pub fn echo_request(data: &[u8]) -> Vec<u8> {
    let mut frame = udp(&data[..0]);
    let mut icmp = vec![8, 0, 0, 0, 0, 1, 0, 1];
    icmp.extend(data);
    let sum = !checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    frame.truncate(34);
    frame.extend(&icmp);
    let total = u16::try_from(20 + icmp.len()).unwrap();
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[23] = 1;
    frame[24..26].copy_from_slice(&[0, 0]);
    let sum = !checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}
