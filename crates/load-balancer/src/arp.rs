//! ARP over Ethernet: who has an address, and we do.

use std::net::Ipv4Addr;

use netlink::MacAddress;

pub const ETHERTYPE: u16 = 0x0806;
const FRAME_LEN: usize = 42;
/// Ethernet hardware, IPv4 protocol, address lengths 6 and 4.
const PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const BROADCAST: MacAddress = MacAddress([0xff; 6]);

/// A question who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub wanted: Ipv4Addr,
    pub asker: Ipv4Addr,
    pub asker_mac: MacAddress,
}

/// Reads a frame; anything but a question is none of ours.
pub fn question(frame: &[u8]) -> Option<Question> {
    let frame: &[u8; FRAME_LEN] = frame.get(..FRAME_LEN)?.try_into().ok()?;
    let is_question =
        frame[12..14] == ETHERTYPE.to_be_bytes() && frame[14..20] == PREFIX && frame[20..22] == REQUEST.to_be_bytes();
    is_question.then(|| Question { wanted: address(frame, 38), asker: address(frame, 28), asker_mac: mac(frame, 22) })
}

/// "The address is at `own`", to the one who asked.
pub fn reply(question: &Question, own: MacAddress) -> Vec<u8> {
    frame(REPLY, (question.asker_mac, question.asker), (own, question.wanted), question.asker_mac)
}

/// Tells everybody that the address is at `own` now. Some listen to replies only, some to requests only.
pub fn announcements(address: Ipv4Addr, own: MacAddress) -> [Vec<u8>; 2] {
    [
        frame(REQUEST, (MacAddress([0; 6]), address), (own, address), BROADCAST),
        frame(REPLY, (BROADCAST, address), (own, address), BROADCAST),
    ]
}

fn frame(operation: u16, target: (MacAddress, Ipv4Addr), sender: (MacAddress, Ipv4Addr), to: MacAddress) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_LEN);
    frame.extend(to.0);
    frame.extend(sender.0.0);
    frame.extend(ETHERTYPE.to_be_bytes());
    frame.extend(PREFIX);
    frame.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        frame.extend(mac.0);
        frame.extend(address.octets());
    }
    frame
}

fn address(frame: &[u8; FRAME_LEN], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3])
}

fn mac(frame: &[u8; FRAME_LEN], at: usize) -> MacAddress {
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&frame[at..at + 6]);
    MacAddress(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

    #[test]
    fn a_question_is_read_and_answered_to_its_asker() {
        let address = Ipv4Addr::new(172, 28, 128, 200);
        let asked = Question {
            wanted: address,
            asker: Ipv4Addr::new(172, 28, 128, 1),
            asker_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        };
        let on_the_wire = frame(REQUEST, (MacAddress([0; 6]), address), (asked.asker_mac, asked.asker), BROADCAST);
        assert_eq!(question(&on_the_wire), Some(asked));
        let answer = reply(&asked, OWN);
        assert_eq!(
            (answer.len(), &answer[..6], &answer[22..32]),
            (42, &asked.asker_mac.0[..], &[2, 0, 0, 0, 0, 9, 172, 28, 128, 200][..])
        );
        assert_eq!(question(&answer), None, "an answer is no question");
        assert_eq!(question(&on_the_wire[..41]), None, "a cut frame");
    }

    #[test]
    fn an_announcement_names_the_address_twice() {
        let [request, _] = announcements(Ipv4Addr::new(10, 0, 0, 1), OWN);
        let asked = question(&request).unwrap();
        assert_eq!((asked.asker, asked.wanted, asked.asker_mac), (asked.wanted, Ipv4Addr::new(10, 0, 0, 1), OWN));
    }
}
