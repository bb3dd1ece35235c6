//! What a server used of the CPUs between two readings, and whether all of it was seen.

use super::procfs::{self, CpuTime, ticks_per_second};
use std::collections::HashMap;

/// How a server's CPU time is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// By its control group, whatever came and went in it.
    #[default]
    Group,
    /// By the clocks of its processes, and of those that their parents waited for.
    Clocks,
}

impl Method {
    /// As it is recorded.
    pub fn name(self) -> &'static str {
        match self {
            Method::Group => "cgroup",
            Method::Clocks => "clock",
        }
    }
}

/// One reading.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    group: Option<CpuTime>,
    family: Family,
}

#[derive(Debug, Clone, Default)]
struct Family {
    sum: CpuTime,
    /// What each process has used itself and waited for, s.
    each: HashMap<u32, f64>,
    /// What all have waited for, s.
    waited_for_s: f64,
    /// The name of one that lets its children go unseen.
    forgets: Option<String>,
}

impl Reading {
    /// Of a control group that holds the whole family.
    pub fn of_group(time: CpuTime) -> Reading {
        Reading {
            group: Some(time),
            family: Family::default(),
        }
    }

    /// Of these processes, one by one.
    pub fn of_processes(pids: &[u32]) -> Reading {
        let mut family = Family {
            sum: procfs::cpu_of(pids),
            ..Family::default()
        };
        for &pid in pids {
            let waited_for_s = procfs::waited_for_s(pid);
            family.waited_for_s += waited_for_s;
            if let Some(own_s) = procfs::clock_of(pid) {
                family.each.insert(pid, own_s + waited_for_s);
            }
            if procfs::forgets_children(pid) {
                family.forgets.get_or_insert_with(|| procfs::name_of(pid));
            }
        }
        Reading {
            group: None,
            family,
        }
    }

    /// How this one was taken.
    pub fn method(&self) -> Method {
        match self.group {
            Some(_) => Method::Group,
            None => Method::Clocks,
        }
    }

    /// What was used since an earlier reading, or why that is not known.
    pub fn since(&self, then: &Reading) -> Result<CpuTime, String> {
        match (self.group, then.group) {
            (Some(now), Some(then)) => Ok(now.since(then)),
            (None, None) => self.family.since(&then.family),
            _ => {
                Err("processes of the server joined or left its control group in the window".into())
            }
        }
    }
}

impl Family {
    fn since(&self, then: &Family) -> Result<CpuTime, String> {
        if let Some(name) = self.forgets.as_ref().or(then.forgets.as_ref()) {
            return Err(format!(
                "{name} ignores SIGCHLD, so what its ended children used is counted nowhere"
            ));
        }
        let gone = then
            .each
            .iter()
            .filter(|(pid, _)| !self.each.contains_key(pid));
        let gone_s: f64 = gone.map(|(_, used_s)| used_s).sum();
        // Each count of children is cut off at a tick.
        let ticks = 2.0 * (self.each.len() + 1) as f64 / ticks_per_second();
        if self.waited_for_s - then.waited_for_s + ticks < gone_s {
            return Err("processes of the server ended that nobody waited for".into());
        }
        Ok(self.sum.since(then.sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::binaries::Binaries;
    use crate::trial::cgroup::Group;
    use crate::trial::identity;
    use servers::models::MODELS;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::process::{Command, Stdio};

    fn time(total_s: f64) -> CpuTime {
        CpuTime {
            total_s,
            ..CpuTime::default()
        }
    }

    fn family(sum_s: f64, waited_for_s: f64, each: &[(u32, f64)]) -> Reading {
        let each = each.iter().copied().collect();
        Reading {
            group: None,
            family: Family {
                sum: time(sum_s),
                each,
                waited_for_s,
                forgets: None,
            },
        }
    }

    #[test]
    fn what_was_not_seen_is_not_a_figure() {
        let then = family(3.0, 0.0, &[(1, 1.0), (2, 2.0)]);
        let waited_for = family(4.5, 2.5, &[(1, 4.5)]);
        assert_eq!(waited_for.since(&then), Ok(time(1.5)));
        let forgotten = family(1.5, 0.0, &[(1, 1.5)]);
        assert!(
            forgotten
                .since(&then)
                .unwrap_err()
                .contains("nobody waited for")
        );
        let mut ignoring = waited_for;
        ignoring.family.forgets = Some("forker".into());
        assert!(
            ignoring
                .since(&then)
                .unwrap_err()
                .contains("forker ignores SIGCHLD")
        );
        let grouped = Reading::of_group(time(7.0));
        assert_eq!(grouped.since(&Reading::of_group(time(5.0))), Ok(time(2.0)));
        assert!(grouped.since(&then).is_err());
    }

    /// New connections all the time, so that threads and processes end in large numbers.
    fn load(addr: &str) {
        for _ in 0..600 {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
        }
    }

    fn both(program: &std::path::Path, group: &Group) -> Option<(f64, f64)> {
        let join: Vec<String> = group
            .procs_files()
            .iter()
            .map(|file| format!("echo $$ > {}; ", file.display()))
            .collect();
        let script = format!(
            "{}exec {} --listen 127.0.0.1:0",
            join.concat(),
            program.display()
        );
        let mut command = Command::new("/bin/sh");
        let mut child = command
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let figures = line.trim().strip_prefix("listening ").map(|addr| {
            let read = || {
                (
                    group.cpu().unwrap(),
                    Reading::of_processes(&group.pids().unwrap()),
                )
            };
            let then = read();
            load(addr);
            // What ends last is still being waited for.
            std::thread::sleep(std::time::Duration::from_millis(200));
            let now = read();
            (
                now.0.since(then.0).total_s,
                now.1.since(&then.1).unwrap().total_s,
            )
        });
        child.kill().unwrap();
        child.wait().unwrap();
        figures
    }

    #[tokio::test]
    async fn both_methods_agree_on_every_model() {
        let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
        let binaries = Binaries::prepare(&names, true).await.unwrap();
        for name in names {
            let group = Group::create(&format!("{}cpu-{name}", identity::own_prefix()));
            if group.cpu().is_none() {
                return eprintln!(
                    "skipped: no control group that counts CPU time can be made here"
                );
            }
            let Some((by_group, by_clocks)) = both(&binaries.path(name), &group) else {
                eprintln!("{name} skipped: it does not run here");
                continue;
            };
            // Beside ten per cent: the ticks in which the ended are counted.
            let margin = 0.1 * by_group + 2.0 / ticks_per_second();
            assert!(
                (by_group - by_clocks).abs() < margin,
                "{name}: group {by_group} s, clocks {by_clocks} s"
            );
        }
    }
}
