//! Lists of CPUs and memory nodes (cpuset(7), "List format"), and whether this host has them.

use std::collections::BTreeSet;

use crate::limits::Limits;

/// The highest number a list may hold: no kernel has more, and a range is counted out.
const MAX: u32 = 8191;

/// Checks that this host has the CPUs and memory nodes that limits name.
///
/// # Errors
/// Docker's sentences, which tell what is asked for and what there is.
pub fn check_sets(limits: &Limits) -> Result<(), String> {
    let online = |kind: &str, otherwise: &str| {
        let read = std::fs::read_to_string(format!("/sys/devices/system/{kind}"));
        read.map_or_else(|_| otherwise.to_owned(), |text| text.trim().to_owned())
    };
    if let Some(cpus) = &limits.cpuset_cpus {
        check("CPUs", "cpus", cpus, &online("cpu/online", "0"))?;
    }
    if let Some(nodes) = &limits.cpuset_mems {
        check("memory nodes", "mems", nodes, &online("node/online", "0"))?;
    }
    Ok(())
}

fn check(what: &str, file: &str, asked: &str, available: &str) -> Result<(), String> {
    let invalid =
        |part: &str| format!("Invalid value {asked} for cpuset {file}: invalid format: {part}");
    let wanted = parse(asked).map_err(|part| invalid(&part))?;
    // A host that tells nonsense does not decide: the kernel does.
    let Ok(there) = parse(available) else {
        return Ok(());
    };
    match wanted.is_subset(&there) {
        true => Ok(()),
        false => Err(format!(
            "Requested {what} are not available - requested {asked}, available: {available}"
        )),
    }
}

/// The numbers of a list; the list when it is none.
fn parse(list: &str) -> Result<BTreeSet<u32>, String> {
    let mut numbers = BTreeSet::new();
    if list.is_empty() {
        return Ok(numbers);
    }
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= MAX);
    for part in list.split(',') {
        let range = match part.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)),
            None => number(part).map(|only| (only, only)),
        };
        match range {
            Some((first, last)) if first <= last => numbers.extend(first..=last),
            _ => return Err(list.to_owned()),
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What dockerd 28 answers on a host with the CPUs 0-1.
    #[test]
    fn sets_as_docker_checks_them() {
        for (asked, answer) in [
            ("0", None),
            ("0-1", None),
            ("1,0", None),
            ("", None),
            (
                "99",
                Some("Requested CPUs are not available - requested 99, available: 0-1"),
            ),
            (
                "0,3-4",
                Some("Requested CPUs are not available - requested 0,3-4, available: 0-1"),
            ),
            (
                "1-x",
                Some("Invalid value 1-x for cpuset cpus: invalid format: 1-x"),
            ),
            (
                "0-4000000000",
                Some("Invalid value 0-4000000000 for cpuset cpus: invalid format: 0-4000000000"),
            ),
        ] {
            let told = check("CPUs", "cpus", asked, "0-1").err();
            assert_eq!(told.as_deref(), answer, "{asked}");
        }
        assert_eq!(
            check("memory nodes", "mems", "5", "0").unwrap_err(),
            "Requested memory nodes are not available - requested 5, available: 0"
        );
    }
}
