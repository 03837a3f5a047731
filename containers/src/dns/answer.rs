//! From a question to an answer. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE,
};

use super::view::Names;

/// Seconds that an answer holds: docker's.
const TTL: u32 = 600;
/// What a datagram holds when who asks says nothing else, in bytes (RFC 1035, 4.2.1).
pub(super) const DATAGRAM: usize = 512;

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is answered.
    Answer(Vec<u8>),
    /// It is for other servers.
    Elsewhere,
    /// It is no question.
    Ignored,
}

/// Decides on one. `limit` are the bytes that an answer may have.
pub(super) fn decide(question: &[u8], names: &dyn Names, limit: usize) -> Decision {
    let Ok(packet) = Packet::parse(question) else {
        return Decision::Ignored;
    };
    if packet.has_flags(PacketFlag::RESPONSE) {
        return Decision::Ignored;
    }
    let [asked] = packet.questions.as_slice() else {
        return Decision::Elsewhere;
    };
    if packet.opcode() != OPCODE::StandardQuery || asked.qclass != QCLASS::CLASS(CLASS::IN) {
        return Decision::Elsewhere;
    }
    let name = asked.qname.to_string();
    match asked.qtype {
        QTYPE::TYPE(kind @ (TYPE::A | TYPE::AAAA)) => {
            let found = names.addresses(&name);
            if found.is_empty() {
                return Decision::Elsewhere;
            }
            // Who has no address of this kind is nobody's else all the same.
            let record = |(four, six): (Option<Ipv4Addr>, Option<Ipv6Addr>)| match kind {
                TYPE::AAAA => six.map(|six| {
                    RData::AAAA(AAAA {
                        address: u128::from(six),
                    })
                }),
                _ => four.map(|four| {
                    RData::A(A {
                        address: u32::from(four),
                    })
                }),
            };
            let mut records: Vec<RData<'_>> = found.into_iter().filter_map(record).collect();
            // Those of the same name get their share of calls.
            let first = usize::from(packet.id()) % records.len().max(1);
            records.rotate_left(first);
            answer(packet, records, limit)
        }
        QTYPE::TYPE(TYPE::PTR) => {
            let found = reversed(&name).and_then(|address| names.name_of(address));
            let Some(found) = found else {
                return Decision::Elsewhere;
            };
            match Name::new(&found) {
                Ok(found) => answer(packet, vec![RData::PTR(PTR(found.into_owned()))], limit),
                Err(_) => Decision::Elsewhere,
            }
        }
        _ => Decision::Elsewhere,
    }
}

/// The address of `4.3.2.1.in-addr.arpa`, or of 32 digits before `.ip6.arpa`.
fn reversed(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let mut octets: Vec<&str> = octets.split('.').collect();
        octets.reverse();
        return octets.join(".").parse().ok().map(IpAddr::V4);
    }
    let digits: Vec<&str> = name.strip_suffix(".ip6.arpa")?.split('.').collect();
    if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
        return None;
    }
    let digits: String = digits.into_iter().rev().collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some(IpAddr::V6(number.into()))
}

fn answer(question: Packet<'_>, records: Vec<RData<'_>>, limit: usize) -> Decision {
    let wants_recursion = question.has_flags(PacketFlag::RECURSION_DESIRED);
    let limit = match question.opt() {
        Some(opt) => limit.max(usize::from(opt.udp_packet_size)),
        None => limit,
    };
    let mut reply = bare(question);
    if wants_recursion {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    let Some(name) = reply.questions.first().map(|asked| asked.qname.clone()) else {
        return Decision::Ignored;
    };
    for data in records {
        let record = ResourceRecord::new(name.clone(), CLASS::IN, TTL, data);
        reply.answers.push(record);
    }
    loop {
        match reply.build_bytes_vec_compressed() {
            Ok(bytes) if bytes.len() <= limit => return Decision::Answer(bytes),
            Ok(_) if !reply.answers.is_empty() => {
                reply.answers.pop();
                reply.set_flags(PacketFlag::TRUNCATION);
            }
            _ => return Decision::Ignored,
        }
    }
}

fn bare(question: Packet<'_>) -> Packet<'_> {
    let mut reply = question.into_reply();
    reply.answers.clear();
    reply.name_servers.clear();
    reply.additional_records.clear();
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    reply
}

/// Says that nobody could answer.
pub(super) fn failed(question: &[u8]) -> Option<Vec<u8>> {
    let mut reply = bare(Packet::parse(question).ok()?);
    *reply.rcode_mut() = RCODE::ServerFailure;
    reply.build_bytes_vec_compressed().ok()
}

#[cfg(test)]
mod tests {
    use simple_dns::Question;

    use super::*;

    struct Known;

    const SIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x12);

    impl Names for Known {
        fn addresses(&self, name: &str) -> Vec<(Option<Ipv4Addr>, Option<Ipv6Addr>)> {
            match name.to_ascii_lowercase().as_str() {
                "db" => vec![(Some([10, 0, 0, 2].into()), None)],
                "six" => vec![(Some([10, 0, 0, 3].into()), Some(SIX))],
                "only6" => vec![(None, Some(SIX))],
                "many" => (1..=100)
                    .map(|n| (Some(Ipv4Addr::new(10, 0, 1, n)), None))
                    .collect(),
                _ => Vec::new(),
            }
        }

        fn name_of(&self, address: IpAddr) -> Option<String> {
            match address {
                IpAddr::V4(address) if address == Ipv4Addr::new(10, 0, 0, 2) => {
                    Some("db.n1".to_owned())
                }
                IpAddr::V6(SIX) => Some("six.n1".to_owned()),
                _ => None,
            }
        }
    }

    fn question(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).unwrap();
        let class = QCLASS::CLASS(CLASS::IN);
        let asked = Question::new(name, QTYPE::TYPE(kind), class, false);
        packet.questions.push(asked);
        packet.build_bytes_vec().unwrap()
    }

    fn answered(name: &str, kind: TYPE, limit: usize) -> Vec<u8> {
        match decide(&question(name, kind), &Known, limit) {
            Decision::Answer(bytes) => bytes,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn names_of_ours_are_answered_and_all_else_is_for_others() {
        let bytes = answered("DB", TYPE::A, DATAGRAM);
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!((reply.id(), reply.rcode()), (7, RCODE::NoError));
        assert!(reply.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_AVAILABLE));
        assert_eq!(reply.answers[0].ttl, TTL);
        let address = u32::from_be_bytes([10, 0, 0, 2]);
        assert_eq!(reply.answers[0].rdata, RData::A(A { address }));
        // It is there, and has no such address.
        let bytes = answered("db", TYPE::AAAA, DATAGRAM);
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!((reply.answers.len(), reply.rcode()), (0, RCODE::NoError));
        let bytes = answered("only6", TYPE::A, DATAGRAM);
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!((reply.answers.len(), reply.rcode()), (0, RCODE::NoError));
        let bytes = answered("six", TYPE::AAAA, DATAGRAM);
        let reply = Packet::parse(&bytes).unwrap();
        let address = u128::from(SIX);
        assert_eq!(reply.answers[0].rdata, RData::AAAA(AAAA { address }));
        let zeros = "0.".repeat(26);
        let reversed = format!("2.1.{zeros}0.0.d.f.ip6.arpa");
        let bytes = answered(&reversed, TYPE::PTR, DATAGRAM);
        let reply = Packet::parse(&bytes).unwrap();
        let name = Name::new("six.n1").unwrap();
        assert_eq!(reply.answers[0].rdata, RData::PTR(PTR(name)));
        let bytes = answered("2.0.0.10.in-addr.arpa", TYPE::PTR, DATAGRAM);
        let reply = Packet::parse(&bytes).unwrap();
        let name = Name::new("db.n1").unwrap();
        assert_eq!(reply.answers[0].rdata, RData::PTR(PTR(name)));
        for (name, kind) in [
            ("example.org", TYPE::A),
            ("db", TYPE::MX),
            ("3.0.0.10.in-addr.arpa", TYPE::PTR),
        ] {
            let decided = decide(&question(name, kind), &Known, DATAGRAM);
            assert_eq!(decided, Decision::Elsewhere, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_off_and_says_so() {
        let bytes = answered("many", TYPE::A, DATAGRAM);
        assert!(bytes.len() <= DATAGRAM);
        let reply = Packet::parse(&bytes).unwrap();
        assert!(reply.has_flags(PacketFlag::TRUNCATION));
        let bytes = answered("many", TYPE::A, 65535);
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!(reply.answers.len(), 100);
        assert!(!reply.has_flags(PacketFlag::TRUNCATION));
    }

    #[test]
    fn what_is_no_question_is_ignored() {
        assert_eq!(decide(b"", &Known, DATAGRAM), Decision::Ignored);
        assert_eq!(decide(&[0xff; 40], &Known, DATAGRAM), Decision::Ignored);
        let answer = answered("db", TYPE::A, DATAGRAM);
        assert_eq!(decide(&answer, &Known, DATAGRAM), Decision::Ignored);
        let failed = failed(&question("x", TYPE::A)).unwrap();
        assert_eq!(
            Packet::parse(&failed).unwrap().rcode(),
            RCODE::ServerFailure
        );
    }
}
