//! Names and IDs for containers.

use std::fs::File;
use std::io::{self, Read as _};

/// A new ID: 64 hexadecimal digits.
pub(crate) fn new_id() -> io::Result<String> {
    let random: [u8; 32] = random()?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0u8; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A name for a container that was given none; later tries have a number.
pub(crate) fn new_name(tries: u32) -> io::Result<String> {
    let [first, second, third, fourth]: [u8; 4] = random()?;
    let pick = |words: &'static [&'static str], high: u8, low: u8| {
        let number = usize::from(high) << 8 | usize::from(low);
        words.get(number % words.len()).copied().unwrap_or_default()
    };
    let quality = pick(&QUALITIES, first, second);
    let person = pick(&PEOPLE, third, fourth);
    Ok(match tries {
        0 => format!("{quality}_{person}"),
        tries => format!("{quality}_{person}{tries}"),
    })
}

/// Whether a container can have this name.
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    first && text.len() > 1 && bytes.all(rest)
}

/// What one likes to be called.
const QUALITIES: [&str; 96] = [
    "admiring", "agile", "amber", "ancient", "apt", "blithe", "bold", "brave", "breezy", "bright",
    "brisk", "busy", "calm", "candid", "careful", "cheerful", "clever", "cosmic", "cosy", "crisp",
    "curious", "daring", "dazzling", "deft", "eager", "earnest", "easy", "elegant", "epic", "fair",
    "fearless", "festive", "fond", "frank", "frosty", "gallant", "gentle", "gifted", "glad",
    "golden", "graceful", "happy", "hardy", "hasty", "hearty", "hopeful", "humble", "jolly",
    "jovial", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "modest",
    "nimble", "noble", "patient", "peaceful", "placid", "plucky", "polite", "proud", "quiet",
    "quick", "quirky", "rapid", "ready", "serene", "sharp", "silent", "sleepy", "sly", "smart",
    "snug", "sober", "steady", "still", "sturdy", "sunny", "swift", "tender", "tidy", "tranquil",
    "trusty", "upbeat", "vivid", "vigilant", "warm", "wise", "witty", "zealous", "zen",
];

/// Whom computing and science owe something.
const PEOPLE: [&str; 126] = [
    "abel",
    "agnesi",
    "archimedes",
    "babbage",
    "banach",
    "bardeen",
    "bell",
    "bernoulli",
    "bohr",
    "boole",
    "borg",
    "brahe",
    "cantor",
    "carson",
    "cauchy",
    "cerf",
    "church",
    "clarke",
    "colden",
    "cori",
    "curie",
    "dalton",
    "darwin",
    "davinci",
    "diffie",
    "dijkstra",
    "dirac",
    "easley",
    "einstein",
    "elion",
    "engelbart",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goldberg",
    "goodall",
    "gould",
    "hamilton",
    "haslett",
    "hawking",
    "hermann",
    "herschel",
    "hodgkin",
    "hopper",
    "hypatia",
    "jepsen",
    "johnson",
    "joliot",
    "kalam",
    "kepler",
    "khayyam",
    "kilby",
    "knuth",
    "lamarr",
    "lamport",
    "leakey",
    "leavitt",
    "lichterman",
    "liskov",
    "lovelace",
    "lumiere",
    "mahavira",
    "maxwell",
    "mayer",
    "mccarthy",
    "mcclintock",
    "meitner",
    "mendel",
    "mendeleev",
    "merkle",
    "mirzakhani",
    "morse",
    "moser",
    "napier",
    "nash",
    "neumann",
    "newton",
    "nightingale",
    "nobel",
    "noether",
    "northcutt",
    "noyce",
    "pascal",
    "pasteur",
    "payne",
    "perlman",
    "pike",
    "poincare",
    "ptolemy",
    "raman",
    "ramanujan",
    "ride",
    "ritchie",
    "roentgen",
    "rubin",
    "saha",
    "sammet",
    "shannon",
    "shaw",
    "shirley",
    "snyder",
    "sutherland",
    "swirles",
    "tesla",
    "thompson",
    "torvalds",
    "turing",
    "vaughan",
    "volhard",
    "wiles",
    "wilson",
    "wing",
    "wozniak",
    "wright",
    "wu",
    "yalow",
    "yonath",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        for (name, good) in [
            ("web", true),
            ("a.b-c_1", true),
            ("1a", true),
            ("a", false),
            ("-a", false),
            ("a b", false),
            ("a/b", false),
            ("", false),
        ] {
            assert_eq!(is_name(name), good, "{name:?}");
        }
        assert!(is_name(&new_name(0).unwrap()));
        assert_eq!(new_id().unwrap().len(), 64);
    }
}
