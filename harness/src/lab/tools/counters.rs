//! The counters of this process's network namespace (proc_net(5): netstat and snmp).

use crate::lab::trouble::{During, Trouble};
use std::collections::HashMap;
use std::fs;

/// Every counter, by its group and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(HashMap<(String, String), i64>);

impl Counters {
    /// Reads them.
    pub fn read() -> Result<Counters, Trouble> {
        let mut all = Counters::default();
        for file in ["netstat", "snmp"] {
            let path = format!("/proc/thread-self/net/{file}");
            all.add(&fs::read_to_string(path).during("read the network's counters")?);
        }
        Ok(all)
    }

    /// Pairs of lines: names, then values, both after the same group.
    fn add(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let Some((group, names)) = pair[0].split_once(':') else {
                continue;
            };
            let values = pair[1].split_once(':').map_or("", |(_, values)| values);
            let named = names.split_whitespace().zip(values.split_whitespace());
            for (name, value) in named {
                if let Ok(value) = value.parse() {
                    self.0.insert((group.into(), name.into()), value);
                }
            }
        }
    }

    /// One of them, such as `TcpExt` `ListenOverflows`; 0 where this kernel does not count it.
    pub fn get(&self, group: &str, name: &str) -> u64 {
        let value = self.0.get(&(group.to_string(), name.to_string()));
        value.map_or(0, |value| u64::try_from(*value).unwrap_or(0))
    }

    /// What was counted since an earlier reading.
    pub fn since(&self, then: &Counters) -> Counters {
        let more = |(key, now): (&(String, String), &i64)| {
            let before = then.0.get(key).copied().unwrap_or(0);
            (key.clone(), now - before)
        };
        Counters(self.0.iter().map(more).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_group_and_name() {
        let of = |overflows: u32| {
            let mut counters = Counters::default();
            counters.add(&format!(
                "TcpExt: A ListenOverflows\nTcpExt: 1 {overflows}\nTcp: MaxConn A\nTcp: -1 7\n"
            ));
            counters
        };
        assert_eq!(of(15).since(&of(4)).get("TcpExt", "ListenOverflows"), 11);
        assert_eq!((of(0).get("Tcp", "A"), of(0).get("Tcp", "MaxConn")), (7, 0));
        assert_eq!(of(0).get("TcpExt", "Missing"), 0);
        let here = Counters::read().unwrap();
        assert!(
            here.0
                .contains_key(&("TcpExt".into(), "ListenOverflows".into()))
        );
    }
}
